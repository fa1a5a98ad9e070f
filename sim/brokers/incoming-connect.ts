/** The first packet of an MQTT connection, read before the broker proper sees a byte of it (MQTT 3.1.1 section 3.1). */
import { FieldReader, readRemainingLength } from "./packet-frames.js";

/** What the front of the broker must know of a CONNECT. */
export interface ConnectHead {
  protocolName: string;
  /** 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
  protocolLevel: number;
  cleanSession: boolean;
  /** Empty where the protocol level is not 4: other versions place it elsewhere. */
  clientId: string;
}

export type ConnectReading =
  { kind: "incomplete" } | { kind: "malformed" } | { kind: "too-large" } | { kind: "connect"; head: ConnectHead; sizeBytes: number };

/** Reads a CONNECT off the start of `bytes`. */
export function readConnect(bytes: Uint8Array, maxPacketBytes: number): ConnectReading {
  if (bytes.length === 0) return { kind: "incomplete" };
  if (bytes[0] !== 0x10) return { kind: "malformed" };
  const length = readRemainingLength(bytes, 1);
  if (length === "malformed") return { kind: "malformed" };
  if (length === "incomplete") return { kind: "incomplete" };
  const sizeBytes = length.nextOffset + length.value;
  if (sizeBytes > maxPacketBytes) return { kind: "too-large" };
  if (bytes.length < sizeBytes) return { kind: "incomplete" };
  const head = readHead(new FieldReader(bytes.subarray(length.nextOffset, sizeBytes)));
  return head === undefined ? { kind: "malformed" } : { kind: "connect", head, sizeBytes };
}

function readHead(body: FieldReader): ConnectHead | undefined {
  const protocolName = body.text();
  const protocolLevel = body.byte();
  const flags = body.byte();
  const keepalive = body.uint16();
  if (protocolName === undefined || protocolLevel === undefined || flags === undefined || keepalive === undefined) return undefined;
  const clientId = protocolLevel === 4 ? body.text() : "";
  if (clientId === undefined) return undefined;
  return { protocolName, protocolLevel, cleanSession: (flags & 0x02) !== 0, clientId };
}

/** CONNACK return codes of MQTT 3.1.1 (table 3.1) that the front of the broker gives by itself. */
export const RETURN_CODE = { unacceptableProtocol: 1, identifierRejected: 2, serverUnavailable: 3, notAuthorized: 5 } as const;

/**
 * A refusing CONNACK in a form that the client's protocol version can read.
 * A 5.0 client that is refused for its version gets the 3.1.1 form, as section 3.1.2.2 of 5.0 foresees.
 */
export function refusingConnack(returnCode: number, protocolLevel: number): Uint8Array {
  const asVersion5 = protocolLevel === 5 && returnCode === RETURN_CODE.notAuthorized;
  return asVersion5 ? Uint8Array.of(0x20, 3, 0, 0x87, 0) : Uint8Array.of(0x20, 2, 0, returnCode);
}
