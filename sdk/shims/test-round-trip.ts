/**
 * Test material: every packet type of MQTT 3.1.1 and 5.0, written and read back by mqtt-packet, as lines of text. The same function runs
 * with Node's own parts and with the shims, in Node and on XS; the lines must be equal.
 */
import mqttPacket from "mqtt-packet";
import { hexEncode } from "../encoding/text.js";

type Packet = Record<string, unknown> & { cmd: string };

const TEXT = "müß/🚢/x";
const PAYLOAD = Uint8Array.from({ length: 300 }, (_, i) => (i * 7) & 0xff);
const BufferClass = mqttPacket.generate({ cmd: "pingreq" }).constructor as unknown as { from(bytes: ArrayLike<number>): Uint8Array };

const BOTH: readonly Packet[] = [
  { cmd: "connect", protocolId: "MQTT", clientId: "dev-1", clean: true, keepalive: 60 },
  { cmd: "connect", protocolId: "MQTT", clientId: "dev-1", clean: false, keepalive: 0, username: TEXT, password: BufferClass.from([0, 255, 1]) },
  { cmd: "connect", protocolId: "MQTT", clientId: "", clean: true, keepalive: 5, will: { topic: "w", payload: BufferClass.from(PAYLOAD), qos: 2, retain: true } },
  { cmd: "connack", sessionPresent: true, returnCode: 0, reasonCode: 0 },
  { cmd: "connack", sessionPresent: false, returnCode: 5, reasonCode: 135 },
  { cmd: "publish", topic: TEXT, payload: BufferClass.from(PAYLOAD), qos: 0, dup: false, retain: true },
  { cmd: "publish", topic: "t", payload: "", qos: 1, dup: true, retain: false, messageId: 65535 },
  { cmd: "publish", topic: "t", payload: TEXT, qos: 2, dup: false, retain: false, messageId: 1 },
  { cmd: "puback", messageId: 2 },
  { cmd: "pubrec", messageId: 258 },
  { cmd: "pubrel", messageId: 3 },
  { cmd: "pubcomp", messageId: 4 },
  { cmd: "subscribe", messageId: 7, subscriptions: [{ topic: "a/+", qos: 1 }, { topic: "$share/g/#", qos: 2 }] },
  { cmd: "suback", messageId: 7, granted: [0, 1, 2, 128] },
  { cmd: "unsubscribe", messageId: 8, unsubscriptions: ["a/+", TEXT] },
  { cmd: "unsuback", messageId: 8, granted: [0, 17] },
  { cmd: "pingreq" },
  { cmd: "pingresp" },
  { cmd: "disconnect" },
];

const ONLY_5: readonly Packet[] = [
  {
    cmd: "connect",
    protocolId: "MQTT",
    clientId: "d",
    clean: true,
    keepalive: 1,
    properties: { sessionExpiryInterval: 86400, receiveMaximum: 20, maximumPacketSize: 65536, topicAliasMaximum: 10, requestResponseInformation: true, userProperties: { a: "1", b: TEXT } },
    will: { topic: "w", payload: BufferClass.from([1]), qos: 1, retain: false, properties: { willDelayInterval: 30, payloadFormatIndicator: true, messageExpiryInterval: 60 } },
  },
  { cmd: "connack", sessionPresent: false, reasonCode: 0, properties: { assignedClientIdentifier: "x", serverKeepAlive: 30, maximumQoS: 1, retainAvailable: false, reasonString: TEXT } },
  {
    cmd: "publish",
    topic: "",
    payload: BufferClass.from(PAYLOAD),
    qos: 1,
    dup: false,
    retain: false,
    messageId: 9,
    properties: { topicAlias: 3, messageExpiryInterval: 4294967295, contentType: "text/plain", responseTopic: "r", correlationData: BufferClass.from([9, 8]), subscriptionIdentifier: [1, 268435455] },
  },
  { cmd: "puback", messageId: 2, reasonCode: 135, properties: { reasonString: "no" } },
  { cmd: "subscribe", messageId: 7, properties: { subscriptionIdentifier: 145 }, subscriptions: [{ topic: "a", qos: 1, nl: true, rap: true, rh: 2 }] },
  { cmd: "disconnect", reasonCode: 156, properties: { serverReference: "other:8883", sessionExpiryInterval: 0 } },
  { cmd: "auth", reasonCode: 24, properties: { authenticationMethod: "m", authenticationData: BufferClass.from([1, 2, 3]) } },
];

/** One line a packet: its version, its bytes, and what a parser makes of them when they come in pieces of `pieceBytes`. */
export function roundTripAll(): string[] {
  mqttPacket.writeToStream.cacheNumbers = false;
  const lines: string[] = [];
  for (const [version, packets] of [[4, BOTH], [5, [...BOTH, ...ONLY_5]]] as const) {
    for (const packet of packets) {
      for (const pieceBytes of [1, 7, 1024]) lines.push(roundTrip({ ...packet, protocolVersion: version }, version, pieceBytes));
    }
  }
  return lines;
}

function roundTrip(packet: Packet, version: number, pieceBytes: number): string {
  const bytes = mqttPacket.generate(packet as never, { protocolVersion: version });
  const parser = mqttPacket.parser({ protocolVersion: version });
  let read = "nothing";
  parser.on("packet", (value) => (read = describe(value)));
  parser.on("error", (error: Error) => (read = `error ${error.message}`));
  for (let at = 0; at < bytes.length; at += pieceBytes) parser.parse(bytes.slice(at, at + pieceBytes));
  return `v${version} ${packet.cmd} ${hexEncode(bytes)} -> ${read}`;
}

/** JSON with keys in order and bytes as hexadecimal text, whatever class they are. */
function describe(value: unknown): string {
  if (value instanceof Uint8Array) return `0x${hexEncode(value)}`;
  if (Array.isArray(value)) return `[${value.map(describe).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return `{${fields.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, field]) => `${name}:${describe(field)}`).join(",")}}`;
}
