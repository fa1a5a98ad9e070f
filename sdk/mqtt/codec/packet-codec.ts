/**
 * Packets to bytes and back: the one place that knows mqtt-packet.
 *
 * mqtt-packet writes CONNECT, SUBSCRIBE and UNSUBSCRIBE. DISCONNECT and AUTH are written here because it has no short forms for them, PUBLISH and
 * acknowledgements in `publish-codec.ts` for speed. What a broker sends is read here: mqtt-packet would refuse reason codes it does not know, accept
 * wrong lengths, repeated properties and text that is not UTF-8, and lose the order of user properties.
 */
import mqttPacketModule from "mqtt-packet";
import { HawserError } from "../../errors.js";
import { ByteReader } from "./byte-reader.js";
import { ByteWriter } from "./byte-writer.js";
import { malformed, protocolError } from "./packet-error.js";
import type {
  ConnackPacket,
  ConnectPacket,
  DisconnectPacket,
  InboundPacket,
  OutboundPacket,
  Properties,
  ProtocolVersion,
  SubackPacket,
  UserProperties,
} from "./packet-types.js";
import { IN_AUTH, IN_CONNACK, IN_DISCONNECT, IN_SUBACK, propertiesSize, readProperties, varintSize, writeProperties } from "./properties.js";
import { readAck, readPacketId, readPublish, writeAck, writePublish } from "./publish-codec.js";

/** mqtt-packet's own declarations want Node's streams and Buffers; this is the part used here. */
interface MqttPacket {
  generate(packet: object): Uint8Array;
  writeToStream: ((packet: object, stream: object, options: { protocolVersion: number }) => boolean) & { cacheNumbers: boolean };
}

const mqttPacket = mqttPacketModule as unknown as MqttPacket;
// Before the first use: the default makes 65,536 Buffers, 9 MB on a microcontroller.
mqttPacket.writeToStream.cacheNumbers = false;

/** mqtt-packet takes a binary password as its own Buffer only; this is the way to that class without asking the engine for it. */
const BufferClass = mqttPacket.generate({ cmd: "pingreq" }).constructor as unknown as { from(bytes: ArrayLike<number>): Uint8Array };

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
      if (packet.password !== undefined && packet.username === undefined) return writePasswordAlone(writer, packet, version);
      return writeByLibrary(writer, packet, version);
    default:
      return writeByLibrary(writer, packet, version);
  }
}

const USERNAME_FLAG = 0x80;

/** A password without a user name, as 5.0 allows (section 3.1.2.9) and mqtt-packet does not: an empty one, which is taken out again. */
function writePasswordAlone(writer: ByteWriter, packet: ConnectPacket, version: ProtocolVersion): void {
  const whole = encode({ ...packet, username: "" }, version);
  let head = 1;
  while ((whole[head++] as number) >= 0x80);
  const flagsAt = head + 7;
  const passwordAt = whole.length - 2 - (packet.password as Uint8Array).length;
  whole[flagsAt] = (whole[flagsAt] as number) & ~USERNAME_FLAG;
  writer.reserve(whole.length);
  writer.u8(0x10);
  writer.varint(whole.length - head - 2);
  writer.raw(whole.subarray(head, passwordAt - 2));
  writer.raw(whole.subarray(passwordAt));
}

/** DISCONNECT and AUTH in their shortest forms, which mqtt-packet does not write (MQTT 5.0, sections 3.14.2.1 and 3.15.2.1). */
function writeDisconnect(writer: ByteWriter, packet: DisconnectPacket, version: ProtocolVersion): void {
  const propertySize = version === 5 && packet.properties !== undefined ? propertiesSize(packet.properties) : 0;
  const remaining = propertySize > 0 ? 1 + varintSize(propertySize) + propertySize : version === 5 && packet.reasonCode !== 0 ? 1 : 0;
  writer.reserve(5 + remaining);
  writer.u8(packet.cmd === "disconnect" ? 0xe0 : 0xf0);
  writer.varint(remaining);
  if (remaining > 0) writer.u8(packet.reasonCode);
  if (propertySize > 0) {
    writer.varint(propertySize);
    writeProperties(writer, packet.properties as Properties);
  }
}

function writeByLibrary(writer: ByteWriter, packet: OutboundPacket, version: ProtocolVersion): void {
  let problem: string | undefined;
  const target = {
    write(chunk: Uint8Array | string): boolean {
      const size = typeof chunk === "string" ? writer.textSize(chunk) : chunk.length;
      writer.reserve(size);
      if (typeof chunk === "string") writer.text(chunk, size);
      else writer.raw(chunk);
      return true;
    },
    destroy(error: Error): void {
      problem ??= error.message;
    },
  };
  if (!mqttPacket.writeToStream(forLibrary(packet), target, { protocolVersion: version })) problem ??= "a property is not valid";
  if (problem !== undefined) {
    throw new HawserError("INVALID_PACKET", `the ${packet.cmd.toUpperCase()} packet cannot be written: ${problem}`, "Check the options given to the client.");
  }
}

function forLibrary(packet: OutboundPacket): object {
  const copy: Record<string, unknown> = { ...packet };
  if ("properties" in packet && packet.properties !== undefined) copy.properties = propertiesForLibrary(packet.properties as Properties);
  if (packet.cmd === "connect") Object.assign(copy, connectForLibrary(packet));
  return copy;
}

function connectForLibrary(packet: ConnectPacket): object {
  const changes: Record<string, unknown> = {};
  if (packet.password !== undefined) changes.password = BufferClass.from(packet.password);
  if (packet.will !== undefined) {
    const { properties, ...will } = packet.will;
    changes.will = { ...will, payload: BufferClass.from(will.payload), ...(properties && { properties: propertiesForLibrary(properties) }) };
  }
  return changes;
}

/** As a list of single pairs, mqtt-packet keeps user properties in order; names it must not mistake for its own get no prototype. */
function propertiesForLibrary(properties: Properties): object {
  const { userProperties = [], ...others } = properties;
  // An empty list would make it write nothing at all.
  return userProperties.length === 0 ? others : { ...others, userProperties: userProperties.map(pairForLibrary) };
}

function pairForLibrary([name, value]: UserProperties[number]): object {
  const pair = Object.create(null) as Record<string, string>;
  pair[name] = value;
  return pair;
}

/** First bytes that a broker may send, but PUBLISH, which has flags of its own (table 2-2). */
const FIRST_BYTES: readonly number[] = [0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xd0, 0xe0, 0xf0];
/** First bytes of packets that only a client may send. */
const CLIENTS_FIRST_BYTES: readonly number[] = [0x10, 0x82, 0xa2, 0xc0];

/**
 * Refuses what cannot begin a packet of a broker, so that whatever else answers on the port is found out at once.
 * @throws PacketError
 */
export function checkFirstByte(first: number): void {
  if (first >> 4 === 3 || FIRST_BYTES.includes(first)) return;
  if (CLIENTS_FIRST_BYTES.includes(first)) throw protocolError(`a packet that only clients send (first byte ${first})`);
  throw malformed(`no packet begins with byte ${first}`);
}

// Made at the first packet, not with the module: of an object preloaded into flash, XS 13.3 copies only the first private field when it changes.
let reader: ByteReader;

/**
 * Reads one packet of a broker: `first` is its first byte, its body is `bytes[start..end)`. Nothing of `bytes` is kept.
 * @throws PacketError for whatever a broker may not send
 */
export function decode(first: number, bytes: Uint8Array, start: number, end: number, version: ProtocolVersion): InboundPacket {
  const type = first >> 4;
  reader ??= new ByteReader();
  reader.reset(bytes, start, end);
  if (type === 3) return readPublish(reader, first & 0x0f, version);
  checkFirstByte(first);
  if (type >= 4 && type <= 7) return readAck(reader, type, version);
  const packet = readOther(type, version);
  if (reader.remaining > 0) throw malformed(`${packet.cmd.toUpperCase()} is too long`);
  return packet;
}

function readOther(type: number, version: ProtocolVersion): InboundPacket {
  switch (type) {
    case 2:
      return readConnack(version);
    case 9:
    case 11:
      return readSuback(type === 9 ? "suback" : "unsuback", version);
    case 13:
      return { cmd: "pingresp" };
    default:
      if (version === 5) return readDisconnect(type === 14 ? "disconnect" : "auth");
      throw protocolError(`packet type ${type} from a broker of MQTT 3.1.1`);
  }
}

/** A broker that does not know 5.0 answers in the form of 3.1.1, and one that knows only 5.0 in its own: both are read in both. */
function readConnack(version: ProtocolVersion): ConnackPacket {
  const legacyForm = reader.remaining === 2;
  const flags = reader.u8();
  if (flags > 1) throw malformed("CONNACK with reserved flags");
  const packet: ConnackPacket = { cmd: "connack", sessionPresent: flags === 1, reasonCode: reader.u8(), legacyForm };
  if (legacyForm !== (version === 4) && packet.reasonCode === 0) throw malformed("CONNACK of another protocol version");
  if (!legacyForm) {
    const properties = readProperties(reader, IN_CONNACK);
    if (properties !== undefined) packet.properties = properties;
  }
  return packet;
}

function readSuback(cmd: SubackPacket["cmd"], version: ProtocolVersion): SubackPacket {
  const packet: SubackPacket = { cmd, messageId: readPacketId(reader), granted: [] };
  if (version === 5) {
    const properties = readProperties(reader, IN_SUBACK);
    if (properties !== undefined) packet.properties = properties;
  }
  if (cmd === "unsuback" && version === 4) return packet;
  // An UNSUBACK without is short, and clear.
  if (reader.remaining === 0 && cmd === "suback") throw malformed("SUBACK without a reason code");
  while (reader.remaining > 0) packet.granted.push(reader.u8());
  return packet;
}

function readDisconnect(cmd: DisconnectPacket["cmd"]): DisconnectPacket {
  const packet: DisconnectPacket = { cmd, reasonCode: reader.remaining > 0 ? reader.u8() : 0 };
  const properties = reader.remaining > 0 ? readProperties(reader, cmd === "disconnect" ? IN_DISCONNECT : IN_AUTH) : undefined;
  if (properties !== undefined) packet.properties = properties;
  return packet;
}
