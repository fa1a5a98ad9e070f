/** Bytes of the packets a broker sends. */
import { writeProperties, type Properties } from "./wire-properties.js";
import type { Ack, Publish, SubscribeAck, ToClient, Version } from "./wire-packets.js";
import { WireWriter } from "./wire-writer.js";

const TYPE = {
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  suback: 9,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;

export function encode(packet: ToClient, version: Version): Uint8Array {
  const body = new WireWriter();
  let flags = 0;
  switch (packet.type) {
    case "publish":
      flags = writePublish(body, packet, version);
      break;
    case "connack":
      body.u8(packet.sessionPresent ? 1 : 0);
      body.u8(packet.reasonCode);
      if (version === 5) writeProperties(body, packet.properties);
      break;
    case "suback":
    case "unsuback":
      writeSubscribeAck(body, packet, version);
      break;
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      flags = packet.type === "pubrel" ? 2 : 0;
      writeAck(body, packet, version);
      break;
    case "disconnect":
    case "auth":
      writeReason(body, packet.reasonCode, packet.properties, version);
      break;
    case "pingreq":
    case "pingresp":
      break;
  }
  return framed((TYPE[packet.type] << 4) | flags, body.take());
}

/** A packet of any first byte and body; also for injecting what no broker should send. */
export function framed(firstByte: number, body: Uint8Array): Uint8Array {
  const writer = new WireWriter();
  writer.u8(firstByte);
  writer.varint(body.length);
  writer.bytes(body);
  return writer.take();
}

function writePublish(body: WireWriter, packet: Publish, version: Version): number {
  body.text(packet.topic);
  if (packet.qos > 0) body.u16(packet.id);
  if (version === 5) writeProperties(body, packet.properties);
  body.bytes(packet.payload);
  return (packet.dup ? 8 : 0) | (packet.qos << 1) | (packet.retain ? 1 : 0);
}

function writeAck(body: WireWriter, packet: Ack, version: Version): void {
  body.u16(packet.id);
  writeReason(body, packet.reasonCode, packet.properties, version);
}

function writeSubscribeAck(body: WireWriter, packet: SubscribeAck, version: Version): void {
  body.u16(packet.id);
  if (version === 5) writeProperties(body, packet.properties);
  if (version === 5 || packet.type === "suback") body.bytes(Uint8Array.from(packet.reasonCodes));
}

function writeReason(body: WireWriter, reasonCode: number, properties: Properties, version: Version): void {
  const empty = Object.keys(properties).length === 0;
  if (version === 4 || (reasonCode === 0 && empty)) return;
  body.u8(reasonCode);
  if (!empty) writeProperties(body, properties);
}
