/** Packets of a client to bytes (MQTT 3.1.1 and 5.0, section 3). PUBLISH and its acknowledgements are in `publish-codec.ts`. */
import { utf8Length } from "../../encoding/utf8.js";
import { HawserError } from "../../errors.js";
import { ByteWriter } from "./byte-writer.js";
import type {
  ConnectPacket,
  DisconnectPacket,
  OutboundPacket,
  Properties,
  ProtocolVersion,
  SubscribePacket,
  UnsubscribePacket,
  UserProperties,
} from "./packet-types.js";
import { propertiesSize, varintSize, writeProperties } from "./properties.js";
import { writeAck, writePublish } from "./publish-codec.js";

/** The longest string or binary value: its length is two bytes (section 1.5.4). */
const MAX_FIELD_BYTES = 65_535;

/**
 * The bytes of one packet.
 * @throws HawserError `INVALID_PACKET` where the packet cannot be written
 */
export function encode(packet: OutboundPacket, version: ProtocolVersion): Uint8Array {
  const writer = new ByteWriter(64);
  writePacket(writer, packet, version);
  return writer.take();
}

/** Writes one packet behind what the writer holds. See {@link encode}. */
export function writePacket(writer: ByteWriter, packet: OutboundPacket, version: ProtocolVersion): void {
  switch (packet.cmd) {
    case "publish":
      return writePublish(writer, packet, version);
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return writeAck(writer, packet.cmd, packet.messageId, version === 5 ? packet.reasonCode : 0);
    case "pingreq":
    case "pingresp":
      writer.reserve(2);
      return writer.u16(packet.cmd === "pingreq" ? 0xc000 : 0xd000);
    case "disconnect":
    case "auth":
      return writeDisconnect(writer, packet, version);
    case "connect":
      return writeConnect(writer, packet, version);
    case "subscribe":
      return writeSubscribe(writer, packet, version);
    case "unsubscribe":
      return writeUnsubscribe(writer, packet, version);
  }
}

/** CONNECT (section 3.1). A password may stand without a user name in 5.0 (section 3.1.2.9). */
function writeConnect(writer: ByteWriter, packet: ConnectPacket, version: ProtocolVersion): void {
  const { clientId, clean, keepalive, username, password, will } = packet;
  const propertySize = version === 5 ? sizeOf(packet.properties) : 0;
  const willPropertySize = version === 5 ? sizeOf(will?.properties) : 0;
  let remaining = 10 + 2 + fieldSize(clientId);
  if (version === 5) remaining += varintSize(propertySize) + propertySize;
  if (will !== undefined) {
    remaining += 4 + fieldSize(will.topic) + fieldSize(will.payload);
    if (version === 5) remaining += varintSize(willPropertySize) + willPropertySize;
  }
  if (username !== undefined) remaining += 2 + fieldSize(username);
  if (password !== undefined) remaining += 2 + fieldSize(password);
  writeHead(writer, 0x10, remaining);
  writer.u16(4);
  writer.text("MQTT", 4);
  writer.u8(version);
  writer.u8(
    (username !== undefined ? 0x80 : 0) |
      (password !== undefined ? 0x40 : 0) |
      (will !== undefined ? (will.retain ? 0x20 : 0) | (will.qos << 3) | 4 : 0) |
      (clean ? 2 : 0),
  );
  writer.u16(keepalive);
  if (version === 5) writeList(writer, packet.properties, propertySize);
  writeField(writer, clientId);
  if (will !== undefined) {
    if (version === 5) writeList(writer, will.properties, willPropertySize);
    writeField(writer, will.topic);
    writeField(writer, will.payload);
  }
  if (username !== undefined) writeField(writer, username);
  if (password !== undefined) writeField(writer, password);
}

/** SUBSCRIBE (section 3.8). */
function writeSubscribe(writer: ByteWriter, packet: SubscribePacket, version: ProtocolVersion): void {
  const { subscriptionIdentifier: identifier, userProperties } = packet.properties ?? {};
  const pairs: Properties | undefined = userProperties && { userProperties };
  const propertySize = sizeOf(pairs) + (identifier === undefined ? 0 : 1 + varintSize(identifier));
  let remaining = 2 + (version === 5 ? varintSize(propertySize) + propertySize : 0);
  for (const { topic } of packet.subscriptions) remaining += 3 + fieldSize(topic);
  writeHead(writer, 0x82, remaining);
  writer.u16(packet.messageId);
  if (version === 5) {
    writer.varint(propertySize);
    if (identifier !== undefined) {
      writer.u8(0x0b);
      writer.varint(identifier);
    }
    if (pairs !== undefined) writeProperties(writer, pairs);
  }
  for (const { topic, qos, nl, rap, rh = 0 } of packet.subscriptions) {
    writeField(writer, topic);
    writer.u8(version === 5 ? qos | (nl === true ? 4 : 0) | (rap === true ? 8 : 0) | (rh << 4) : qos);
  }
}

/** UNSUBSCRIBE (section 3.10). */
function writeUnsubscribe(writer: ByteWriter, packet: UnsubscribePacket, version: ProtocolVersion): void {
  const propertySize = version === 5 ? sizeOf(packet.properties) : 0;
  let remaining = 2 + (version === 5 ? varintSize(propertySize) + propertySize : 0);
  for (const filter of packet.unsubscriptions) remaining += 2 + fieldSize(filter);
  writeHead(writer, 0xa2, remaining);
  writer.u16(packet.messageId);
  if (version === 5) writeList(writer, packet.properties, propertySize);
  for (const filter of packet.unsubscriptions) writeField(writer, filter);
}

/** DISCONNECT and AUTH in their shortest forms (MQTT 5.0, sections 3.14.2.1 and 3.15.2.1). */
function writeDisconnect(writer: ByteWriter, packet: DisconnectPacket, version: ProtocolVersion): void {
  const propertySize = version === 5 ? sizeOf(packet.properties) : 0;
  const remaining = propertySize > 0 ? 1 + varintSize(propertySize) + propertySize : version === 5 && packet.reasonCode !== 0 ? 1 : 0;
  writeHead(writer, packet.cmd === "disconnect" ? 0xe0 : 0xf0, remaining);
  if (remaining > 0) writer.u8(packet.reasonCode);
  if (propertySize > 0) writeList(writer, packet.properties, propertySize);
}

/** The fixed header, with room made for the whole packet. */
function writeHead(writer: ByteWriter, first: number, remaining: number): void {
  writer.reserve(5 + remaining);
  writer.u8(first);
  writer.varint(remaining);
}

function sizeOf(properties: Properties | { userProperties?: UserProperties } | undefined): number {
  return properties === undefined ? 0 : propertiesSize(properties);
}

/** A property list with its length. */
function writeList(writer: ByteWriter, properties: Properties | undefined, sizeBytes: number): void {
  writer.varint(sizeBytes);
  if (sizeBytes > 0) writeProperties(writer, properties as Properties);
}

/** @throws HawserError `INVALID_PACKET` for a string or binary value whose length does not fit into two bytes */
function fieldSize(value: string | Uint8Array): number {
  const size = typeof value === "string" ? utf8Length(value) : value.length;
  if (size <= MAX_FIELD_BYTES) return size;
  throw new HawserError(
    "INVALID_PACKET",
    `a field of ${size} bytes does not fit into an MQTT packet`,
    `Strings and binary values hold at most ${MAX_FIELD_BYTES} bytes.`,
  );
}

function writeField(writer: ByteWriter, value: string | Uint8Array): void {
  const size = fieldSize(value);
  writer.u16(size);
  if (typeof value === "string") writer.text(value, size);
  else writer.raw(value);
}
