/**
 * PUBLISH and the four acknowledgements, which are nearly all that a connection carries: read in place and written behind one another into
 * one array. `packet-encoder.ts` and `packet-decoder.ts` do the other packets.
 */
import type { ByteReader } from "./byte-reader.js";
import type { ByteWriter } from "./byte-writer.js";
import type { AckPacket, PublishPacket, PublishProperties, ProtocolVersion, QoS } from "./packet-types.js";
import { malformed, protocolError } from "./packet-error.js";
import { IN_ACK, IN_PUBLISH, propertiesSize, readProperties, varintSize, writeProperties } from "./properties.js";

/** The fields of a PUBLISH to be written. */
export interface PublishFields {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 1..65535; not looked at when qos is 0. */
  readonly messageId: number;
  readonly properties?: PublishProperties | undefined;
}

/** The size of a PUBLISH packet in bytes, its fixed header included. */
export function publishSize(fields: PublishFields, topicSize: number, version: ProtocolVersion): number {
  const remaining = publishRemaining(fields, topicSize, version, propertyBytes(fields, version));
  return 1 + varintSize(remaining) + remaining;
}

function propertyBytes(fields: PublishFields, version: ProtocolVersion): number {
  return version === 5 && fields.properties !== undefined ? propertiesSize(fields.properties) : 0;
}

function publishRemaining(fields: PublishFields, topicSize: number, version: ProtocolVersion, propertySize: number): number {
  return 2 + topicSize + (fields.qos > 0 ? 2 : 0) + (version === 5 ? varintSize(propertySize) + propertySize : 0) + fields.payload.length;
}

/** Writes a PUBLISH (section 3.3). Properties are left out in 3.1.1, which has none. */
export function writePublish(writer: ByteWriter, fields: PublishFields, version: ProtocolVersion): void {
  const topicSize = writer.textSize(fields.topic);
  const propertySize = propertyBytes(fields, version);
  const remaining = publishRemaining(fields, topicSize, version, propertySize);
  writer.reserve(5 + remaining);
  writer.u8(0x30 | (fields.dup ? 8 : 0) | (fields.qos << 1) | (fields.retain ? 1 : 0));
  writer.varint(remaining);
  writer.u16(topicSize);
  writer.text(fields.topic, topicSize);
  if (fields.qos > 0) writer.u16(fields.messageId);
  if (version === 5) {
    writer.varint(propertySize);
    if (propertySize > 0) writeProperties(writer, fields.properties as PublishProperties);
  }
  writer.raw(fields.payload);
}

const ACK_HEADER = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;
const ACK_NAMES = ["puback", "pubrec", "pubrel", "pubcomp"] as const;

/** Writes an acknowledgement in its shortest form: no reason code 0, no empty property list (MQTT 5.0, section 3.4.2.2.1). */
export function writeAck(writer: ByteWriter, cmd: AckPacket["cmd"], messageId: number, reasonCode: number): void {
  writer.reserve(5);
  writer.u8(ACK_HEADER[cmd]);
  writer.u8(reasonCode === 0 ? 2 : 3);
  writer.u16(messageId);
  if (reasonCode !== 0) writer.u8(reasonCode);
}

/** Reads the body of a PUBLISH; `flags` are the low four bits of its first byte. */
export function readPublish(reader: ByteReader, flags: number, version: ProtocolVersion): PublishPacket {
  const qos = (flags >> 1) & 3;
  if (qos === 3) throw malformed("PUBLISH with QoS 3");
  const dup = (flags & 8) !== 0;
  if (dup && qos === 0) throw malformed("PUBLISH with DUP at QoS 0");
  const topic = reader.topic();
  if (topic.includes("+") || topic.includes("#")) throw malformed("PUBLISH with a wildcard in its topic");
  const messageId = qos === 0 ? 0 : readPacketId(reader);
  const properties = version === 5 ? readProperties(reader, IN_PUBLISH) : undefined;
  if (topic === "" && properties?.topicAlias === undefined) throw protocolError("PUBLISH without a topic");
  const answerTo = properties?.responseTopic;
  // Whoever answers would publish to it (section 3.3.2.3.5).
  if (answerTo !== undefined && (answerTo === "" || answerTo.includes("+") || answerTo.includes("#")))
    throw protocolError("PUBLISH with an invalid response topic");
  const packet: PublishPacket = {
    cmd: "publish",
    topic,
    payload: reader.rest(),
    qos: qos as QoS,
    retain: (flags & 1) !== 0,
    dup,
    messageId,
  };
  if (properties !== undefined) packet.properties = properties;
  return packet;
}

/** Reads the body of an acknowledgement; `type` is its packet type, 4..7. */
export function readAck(reader: ByteReader, type: number, version: ProtocolVersion): AckPacket {
  const packet: AckPacket = { cmd: ACK_NAMES[type - 4] as AckPacket["cmd"], messageId: readPacketId(reader), reasonCode: 0 };
  if (version === 5 && reader.remaining > 0) {
    packet.reasonCode = reader.u8();
    const properties = reader.remaining > 0 ? readProperties(reader, IN_ACK) : undefined;
    if (properties !== undefined) packet.properties = properties;
  }
  if (reader.remaining > 0) throw malformed(`${packet.cmd.toUpperCase()} is too long`);
  return packet;
}

/** A packet identifier: never 0 (section 2.2.1). */
export function readPacketId(reader: ByteReader): number {
  const id = reader.u16();
  if (id === 0) throw malformed("packet identifier 0");
  return id;
}
