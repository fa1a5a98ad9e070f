/** The properties of MQTT 5.0 (table 2-4): which there are, of which type, in which packet, and how they are read and written. */
import type { ByteReader } from "./byte-reader.js";
import type { ByteWriter } from "./byte-writer.js";
import type { Properties } from "./packet-types.js";
import { malformed, protocolError } from "./packet-error.js";
import { utf8Length } from "../../encoding/utf8.js";

/** The packets with properties that a broker may send, and the will of CONNECT, as bits. */
export const IN_CONNACK = 1;
export const IN_PUBLISH = 2;
export const IN_ACK = 4;
export const IN_SUBACK = 8;
export const IN_DISCONNECT = 16;
export const IN_AUTH = 32;

type Kind = "flag" | "byte" | "u16" | "u32" | "varint" | "string" | "binary" | "pair";

interface PropertyType {
  id: number;
  name: keyof Properties | "subscriptionIdentifier";
  kind: Kind;
  allowedIn: number;
  /** True where a zero breaks the protocol. */
  notZero?: boolean | undefined;
}

const EVERYWHERE = IN_CONNACK | IN_PUBLISH | IN_ACK | IN_SUBACK | IN_DISCONNECT | IN_AUTH;

const NOT_ZERO = true;

/** Rows, not objects: they take 0.5 KB less of a device's flash. */
const ROWS: readonly (readonly [PropertyType["id"], PropertyType["name"], Kind, PropertyType["allowedIn"], PropertyType["notZero"]?])[] = [
  [0x01, "payloadFormatIndicator", "flag", IN_PUBLISH],
  [0x02, "messageExpiryInterval", "u32", IN_PUBLISH],
  [0x03, "contentType", "string", IN_PUBLISH],
  [0x08, "responseTopic", "string", IN_PUBLISH],
  [0x09, "correlationData", "binary", IN_PUBLISH],
  [0x0b, "subscriptionIdentifier", "varint", IN_PUBLISH, NOT_ZERO],
  [0x11, "sessionExpiryInterval", "u32", IN_CONNACK],
  [0x12, "assignedClientIdentifier", "string", IN_CONNACK],
  [0x13, "serverKeepAlive", "u16", IN_CONNACK],
  [0x15, "authenticationMethod", "string", IN_CONNACK | IN_AUTH],
  [0x16, "authenticationData", "binary", IN_CONNACK | IN_AUTH],
  [0x17, "requestProblemInformation", "flag", 0],
  [0x18, "willDelayInterval", "u32", 0],
  [0x19, "requestResponseInformation", "flag", 0],
  [0x1a, "responseInformation", "string", IN_CONNACK],
  [0x1c, "serverReference", "string", IN_CONNACK | IN_DISCONNECT],
  [0x1f, "reasonString", "string", EVERYWHERE & ~IN_PUBLISH],
  [0x21, "receiveMaximum", "u16", IN_CONNACK, NOT_ZERO],
  [0x22, "topicAliasMaximum", "u16", IN_CONNACK],
  [0x23, "topicAlias", "u16", IN_PUBLISH],
  [0x24, "maximumQoS", "byte", IN_CONNACK],
  [0x25, "retainAvailable", "flag", IN_CONNACK],
  [0x26, "userProperties", "pair", EVERYWHERE],
  [0x27, "maximumPacketSize", "u32", IN_CONNACK, NOT_ZERO],
  [0x28, "wildcardSubscriptionAvailable", "flag", IN_CONNACK],
  [0x29, "subscriptionIdentifiersAvailable", "flag", IN_CONNACK],
  [0x2a, "sharedSubscriptionAvailable", "flag", IN_CONNACK],
];
const TYPES = ROWS.map(([id, name, kind, allowedIn, notZero]): PropertyType => ({ id, name, kind, allowedIn, notZero }));

const BY_ID: readonly (PropertyType | undefined)[] = Array.from({ length: 0x2b }, (_, id) => TYPES.find((type) => type.id === id));
const BY_NAME: ReadonlyMap<string, PropertyType> = new Map(TYPES.map((type) => [type.name, type]));

/** Properties under construction. */
type Draft = Record<string, unknown>;

/**
 * Reads a property list, its length included.
 * @param packet one of the IN_ bits: where the list stands
 * @returns undefined for an empty list
 * @throws PacketError for whatever MQTT 5.0 does not allow there
 */
export function readProperties(reader: ByteReader, packet: number): Properties | undefined {
  const length = reader.varint();
  if (length === 0) return undefined;
  if (length > reader.remaining) throw malformed("the properties reach past its end");
  // What comes behind the list is no part of a value: a property that is cut short is malformed, whatever those bytes would mean in it.
  const packetEnd = reader.limit(reader.position + length);
  const draft: Draft = {};
  while (reader.remaining > 0) readProperty(reader, packet, draft);
  reader.limit(packetEnd);
  return draft;
}

function readProperty(reader: ByteReader, packet: number, draft: Draft): void {
  const id = reader.u8();
  const type = BY_ID[id];
  if (type === undefined) throw malformed(`unknown property ${id}`);
  if (type.kind === "pair") {
    ((draft.userProperties ??= []) as [string, string][]).push([reader.string(), reader.string()]);
    return;
  }
  const value = readValue(reader, type.kind);
  if ((type.allowedIn & packet) === 0) throw protocolError(`property ${type.name} does not belong in this packet`);
  if (type.notZero === true && value === 0) throw protocolError(`property ${type.name} is 0`);
  if (type.name === "subscriptionIdentifier") {
    ((draft.subscriptionIdentifiers ??= []) as number[]).push(value as number);
    return;
  }
  if (type.name === "maximumQoS" && (value as number) > 1) throw protocolError(`property ${type.name} is neither 0 nor 1`);
  if (type.name in draft) throw protocolError(`property ${type.name} comes twice`);
  draft[type.name] = value;
}

function readValue(reader: ByteReader, kind: Kind): unknown {
  switch (kind) {
    case "flag": {
      const value = reader.u8();
      if (value > 1) throw protocolError("a property that is 0 or 1 has another value");
      return value === 1;
    }
    case "byte":
      return reader.u8();
    case "u16":
      return reader.u16();
    case "u32":
      return reader.u32();
    case "varint":
      return reader.varint();
    case "binary":
      return reader.binary();
    default:
      return reader.string();
  }
}

/** The bytes the properties take, without the length before them. */
export function propertiesSize(properties: Properties): number {
  let size = 0;
  for (const name in properties) {
    const value = properties[name as keyof Properties];
    if (value === undefined) continue;
    if (name === "userProperties") for (const [key, text] of value as [string, string][]) size += 5 + utf8Length(key) + utf8Length(text);
    else if (name === "subscriptionIdentifiers") for (const id of value as number[]) size += 1 + varintSize(id);
    else size += 1 + valueSize(name, value);
  }
  return size;
}

function valueSize(name: string, value: unknown): number {
  switch (BY_NAME.get(name)?.kind) {
    case "flag":
    case "byte":
      return 1;
    case "u16":
      return 2;
    case "u32":
      return 4;
    case "string":
      return 2 + utf8Length(value as string);
    case "binary":
      return 2 + (value as Uint8Array).length;
    default:
      return -1;
  }
}

export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  return value < 0x200000 ? 3 : 4;
}

/** Writes the properties without the length before them; the room is made. */
export function writeProperties(writer: ByteWriter, properties: Properties): void {
  for (const name in properties) {
    const value = properties[name as keyof Properties];
    if (value === undefined) continue;
    if (name === "userProperties") {
      for (const [key, text] of value as [string, string][]) {
        writer.u8(0x26);
        writeString(writer, key);
        writeString(writer, text);
      }
    } else if (name === "subscriptionIdentifiers") {
      for (const id of value as number[]) {
        writer.u8(0x0b);
        writer.varint(id);
      }
    } else writeProperty(writer, name, value);
  }
}

function writeProperty(writer: ByteWriter, name: string, value: unknown): void {
  const type = BY_NAME.get(name);
  if (type === undefined) return;
  writer.u8(type.id);
  switch (type.kind) {
    case "flag":
    case "byte":
      return writer.u8(Number(value));
    case "u16":
      return writer.u16(value as number);
    case "u32":
      return writer.u32(value as number);
    case "binary":
      writer.u16((value as Uint8Array).length);
      return writer.raw(value as Uint8Array);
    default:
      return writeString(writer, value as string);
  }
}

function writeString(writer: ByteWriter, text: string): void {
  const size = utf8Length(text);
  writer.u16(size);
  writer.text(text, size);
}
