/** The properties of MQTT 5.0 (section 2.2.2.2), read and written. */
import type { WireReader } from "./wire-reader.js";
import type { WireWriter } from "./wire-writer.js";
import { WireError } from "./wire-error.js";

type Kind = "byte" | "u16" | "u32" | "varint" | "text" | "bytes" | "pairs" | "varints";

const TABLE = {
  payloadFormatIndicator: [0x01, "byte"],
  messageExpiryInterval: [0x02, "u32"],
  contentType: [0x03, "text"],
  responseTopic: [0x08, "text"],
  correlationData: [0x09, "bytes"],
  subscriptionIdentifiers: [0x0b, "varints"],
  sessionExpiryInterval: [0x11, "u32"],
  assignedClientIdentifier: [0x12, "text"],
  serverKeepAlive: [0x13, "u16"],
  authenticationMethod: [0x15, "text"],
  authenticationData: [0x16, "bytes"],
  requestProblemInformation: [0x17, "byte"],
  willDelayInterval: [0x18, "u32"],
  requestResponseInformation: [0x19, "byte"],
  responseInformation: [0x1a, "text"],
  serverReference: [0x1c, "text"],
  reasonString: [0x1f, "text"],
  receiveMaximum: [0x21, "u16"],
  topicAliasMaximum: [0x22, "u16"],
  topicAlias: [0x23, "u16"],
  maximumQos: [0x24, "byte"],
  retainAvailable: [0x25, "byte"],
  userProperties: [0x26, "pairs"],
  maximumPacketSize: [0x27, "u32"],
  wildcardSubscriptionAvailable: [0x28, "byte"],
  subscriptionIdentifierAvailable: [0x29, "byte"],
  sharedSubscriptionAvailable: [0x2a, "byte"],
} as const satisfies Record<string, readonly [number, Kind]>;

type PropertyName = keyof typeof TABLE;
interface ValueOf {
  byte: number;
  u16: number;
  u32: number;
  varint: number;
  text: string;
  bytes: Uint8Array;
  pairs: [string, string][];
  varints: number[];
}
export type Properties = { -readonly [N in PropertyName]?: ValueOf[(typeof TABLE)[N][1]] };

const NAME_OF = new Map<number, PropertyName>((Object.keys(TABLE) as PropertyName[]).map((name) => [TABLE[name][0], name]));

/** Reads one property list with its length. */
export function readProperties(reader: WireReader): Properties {
  const sizeBytes = reader.varint();
  const list = reader.part(sizeBytes);
  const properties: Record<string, unknown> = {};
  while (list.left > 0) {
    const name = NAME_OF.get(list.varint());
    if (name === undefined) throw new WireError("an unknown property");
    const kind: Kind = TABLE[name][1];
    if (kind === "pairs") ((properties[name] ??= []) as [string, string][]).push([list.text(), list.text()]);
    else if (kind === "varints") ((properties[name] ??= []) as number[]).push(list.varint());
    else if (properties[name] !== undefined) throw new WireError(`property ${name} twice`);
    else properties[name] = readValue(list, kind);
  }
  return properties as Properties;
}

function readValue(reader: WireReader, kind: Exclude<Kind, "pairs" | "varints">): unknown {
  if (kind === "byte") return reader.u8();
  if (kind === "u16") return reader.u16();
  if (kind === "u32") return reader.u32();
  if (kind === "varint") return reader.varint();
  return kind === "text" ? reader.text() : reader.binary();
}

/** Writes one property list with its length. */
export function writeProperties(writer: WireWriter, properties: Properties): void {
  const list = writer.nested();
  for (const name of Object.keys(properties) as PropertyName[]) {
    const [id, kind] = TABLE[name];
    const value = properties[name];
    if (value === undefined) continue;
    if (kind === "pairs") {
      for (const [key, text] of value as [string, string][]) {
        list.u8(id);
        list.text(key);
        list.text(text);
      }
    } else if (kind === "varints") {
      for (const one of value as number[]) {
        list.u8(id);
        list.varint(one);
      }
    } else {
      list.u8(id);
      writeValue(list, kind, value);
    }
  }
  writer.varint(list.length);
  writer.bytes(list.take());
}

function writeValue(writer: WireWriter, kind: Kind, value: unknown): void {
  if (kind === "text") writer.text(value as string);
  else if (kind === "bytes") writer.binary(value as Uint8Array);
  else if (kind === "byte") writer.u8(value as number);
  else if (kind === "u16") writer.u16(value as number);
  else if (kind === "u32") writer.u32(value as number);
  else writer.varint(value as number);
}
