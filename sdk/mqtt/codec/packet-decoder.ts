/**
 * Bytes of a broker to packets.
 *
 * Strict where a general-purpose parser is not: unknown reason codes pass on to the session, wrong lengths, repeated properties and text
 * that is not UTF-8 are refused, and user properties keep their order.
 */
import { ByteReader } from "./byte-reader.js";
import { malformed, protocolError } from "./packet-error.js";
import type { ConnackPacket, DisconnectPacket, InboundPacket, ProtocolVersion, SubackPacket } from "./packet-types.js";
import { IN_AUTH, IN_CONNACK, IN_DISCONNECT, IN_SUBACK, readProperties } from "./properties.js";
import { readAck, readPacketId, readPublish } from "./publish-codec.js";

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

// Made at the first packet, not with the module: of an object preloaded into flash, XS 13.3 copies only the first private field when it
// changes.
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
  // An UNSUBACK without one is short, and clear.
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
