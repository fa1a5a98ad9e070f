/**
 * Messages as storage records: a head of nine bytes and the message as a PUBLISH packet of 5.0, cut into parts that a flash page takes.
 * The head's part is written last, so that one atomic put decides whether the message is there.
 */
import { ByteWriter } from "../codec/byte-writer.js";
import { FrameReader } from "../codec/frame-reader.js";
import type { OutgoingMessage } from "./outgoing-message.js";
import type { PublishPacket } from "../codec/packet-types.js";
import { writePublish } from "../codec/publish-codec.js";

/** What a record holds at most; NVS takes no blob across pages without splitting it again. */
export const MAX_RECORD_BYTES = 4_000;
const MAX_PARTS = 255;
const FORMAT = 1;
const HEAD_BYTES = 9;
const NO_EXPIRY = 0;

/**
 * How far a message has come:
 * - 0: the broker has not confirmed that it has it.
 * - 1: QoS 2 after PUBREC. The content stays: the broker may lose it before PUBCOMP.
 * - 2: the broker lost the session after PUBREC; the record is kept for the application.
 */
export type Stage = 0 | 1 | 2;

export interface StoredMessage {
  readonly packet: PublishPacket;
  readonly stage: Stage;
  readonly parts: number;
  /** Milliseconds since the Unix epoch; undefined: it never expires, or the clock was not trusted then. */
  readonly expiresWallMs: number | undefined;
}

/** The records of a message, head first. Undefined where it is too large to be stored. */
export function messageRecords(message: OutgoingMessage, stage: Stage, expiresWallMs: number | undefined): Uint8Array[] | undefined {
  const writer = new ByteWriter(64);
  const { topic, qos, messageId, retain, payload, properties } = message;
  writePublish(writer, { topic, qos, messageId, retain, dup: false, payload, properties }, 5);
  const body = writer.take();
  const parts = Math.max(1, Math.ceil((body.length + HEAD_BYTES) / MAX_RECORD_BYTES));
  if (parts > MAX_PARTS) return undefined;
  const whole = new Uint8Array(HEAD_BYTES + body.length);
  const expiry = expiresWallMs ?? NO_EXPIRY;
  whole.set([FORMAT, stage, parts]);
  for (let i = 0; i < 6; i++) whole[3 + i] = Math.floor(expiry / 2 ** (8 * (5 - i))) & 0xff;
  whole.set(body, HEAD_BYTES);
  return Array.from({ length: parts }, (_, part) => whole.slice(part * MAX_RECORD_BYTES, (part + 1) * MAX_RECORD_BYTES));
}

/** Puts a message together again; undefined where the records are not what {@link messageRecords} wrote. */
export function readMessage(head: Uint8Array, part: (index: number) => Uint8Array | undefined): StoredMessage | undefined {
  const [format, state, parts = 0] = head;
  if (head.length < HEAD_BYTES || format !== FORMAT || (state !== 0 && state !== 1 && state !== 2) || parts === 0) return undefined;
  const pieces = [head.subarray(HEAD_BYTES)];
  for (let index = 1; index < parts; index++) {
    const piece = part(index);
    if (piece === undefined) return undefined;
    pieces.push(piece);
  }
  const packet = readPacket(pieces);
  if (packet === undefined || packet.topic === "" || packet.qos === 0 || (state !== 0 && packet.qos !== 2)) return undefined;
  let expiry = 0;
  for (let i = 3; i < HEAD_BYTES; i++) expiry = expiry * 256 + (head[i] as number);
  return { packet, stage: state, parts, expiresWallMs: expiry === NO_EXPIRY ? undefined : expiry };
}

function readPacket(pieces: readonly Uint8Array[]): PublishPacket | undefined {
  const packets: PublishPacket[] = [];
  const sizeBytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const reader = new FrameReader(5, sizeBytes, { packet: (packet) => packet.cmd === "publish" && packets.push(packet) });
  try {
    for (const piece of pieces) reader.feed(piece);
  } catch {
    return undefined;
  }
  return packets.length === 1 && !reader.isWithinPacket ? packets[0] : undefined;
}
