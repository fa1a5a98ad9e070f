/**
 * Frames on a serial line: `00 COBS(payload, CRC-32 of it big-endian) 00`. COBS (Cheshire and Baker, 1999) leaves no zero within a frame,
 * so that a zero always is a border: whoever listens finds the next frame after any garbage, the text of a boot loader included. The zero
 * before a frame ends such garbage.
 */
import { HawserError } from "../errors.js";

/** No frame carries more, bytes. A decoder may be given a lower bound. */
export const MAX_PAYLOAD_BYTES = 4_096;

/** What a frame costs beside its payload when that is below 250 bytes: two borders, a COBS code, the CRC. */
export const FRAME_OVERHEAD_BYTES = 7;

const CRC_BYTES = 4;
const FULL_GROUP = 0xff;

/**
 * - `BAD_CRC`: damaged on the way, or never a frame.
 * - `TOO_LONG`: more than the decoder takes; what came was dropped as it came.
 * - `MALFORMED`: cut off, or too short to hold a CRC.
 */
export type FrameFault = "BAD_CRC" | "TOO_LONG" | "MALFORMED";

export type Frame = { readonly payload: Uint8Array } | { readonly fault: FrameFault };

const NIBBLES = Array.from({ length: 16 }, (_, nibble) => {
  let register = nibble;
  for (let bit = 0; bit < 4; bit++) register = register & 1 ? (register >>> 1) ^ 0xedb88320 : register >>> 1;
  return register;
});

/** CRC-32 of IEEE 802.3, of `bytes[0..end)`. "123456789" gives 0xCBF43926. */
export function crc32(bytes: Uint8Array, end = bytes.length): number {
  let register = -1;
  for (let i = 0; i < end; i++) {
    register ^= bytes[i] as number;
    // By half bytes: 16 words of table instead of 256, a quarter of the steps of doing it by bits.
    register = (register >>> 4) ^ (NIBBLES[register & 15] as number);
    register = (register >>> 4) ^ (NIBBLES[register & 15] as number);
  }
  return ~register >>> 0;
}

/**
 * The frame for a payload, borders included.
 * @throws HawserError `FRAME_TOO_LONG` above {@link MAX_PAYLOAD_BYTES}
 */
export function encodeFrame(payload: Uint8Array): Uint8Array {
  if (payload.length > MAX_PAYLOAD_BYTES) {
    throw new HawserError(
      "FRAME_TOO_LONG",
      `the frame has ${payload.length} bytes; the maximum is ${MAX_PAYLOAD_BYTES}`,
      "Send it in parts.",
    );
  }
  const body = new Uint8Array(payload.length + CRC_BYTES);
  body.set(payload);
  new DataView(body.buffer).setUint32(payload.length, crc32(payload));
  const frame = new Uint8Array(body.length + Math.floor(body.length / 254) + 3);
  let codeAt = 1;
  let at = 2;
  for (const byte of body) {
    if (byte !== 0) frame[at++] = byte;
    const isFull = at - codeAt === FULL_GROUP;
    if (byte !== 0 && !isFull) continue;
    frame[codeAt] = at - codeAt;
    codeAt = at++;
  }
  frame[codeAt] = at - codeAt;
  return frame.slice(0, at + 1);
}

/** Finds the frames in a byte stream that comes in any pieces. Never throws, and holds one frame at most. */
export class FrameDecoder {
  readonly #body: Uint8Array;
  #length = 0;
  /** Bytes still to come of the COBS group at hand. */
  #left = 0;
  /** The group at hand stands for its bytes alone: it is the first, or follows a full one. */
  #noZero = true;
  #isEmpty = true;
  #isTooLong = false;

  /** @param maxPayloadBytes longer frames are dropped, with a fault */
  constructor(maxPayloadBytes: number = MAX_PAYLOAD_BYTES) {
    this.#body = new Uint8Array(maxPayloadBytes + CRC_BYTES);
  }

  /** Takes the next bytes; returns the frames, good and bad, that end in them. */
  feed(bytes: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    for (const byte of bytes) {
      if (byte !== 0) this.#take(byte);
      else if (!this.#isEmpty) frames.push(this.#end());
    }
    return frames;
  }

  #take(byte: number): void {
    this.#isEmpty = false;
    if (this.#isTooLong) return;
    if (this.#left > 0) {
      this.#left--;
      this.#put(byte);
      return;
    }
    if (!this.#noZero) this.#put(0);
    this.#left = byte - 1;
    this.#noZero = byte === FULL_GROUP;
  }

  #put(byte: number): void {
    if (this.#length === this.#body.length) this.#isTooLong = true;
    else this.#body[this.#length++] = byte;
  }

  #end(): Frame {
    const frame = this.#judge();
    this.#length = 0;
    this.#left = 0;
    this.#noZero = true;
    this.#isEmpty = true;
    this.#isTooLong = false;
    return frame;
  }

  #judge(): Frame {
    if (this.#isTooLong) return { fault: "TOO_LONG" };
    const end = this.#length - CRC_BYTES;
    if (this.#left > 0 || end < 0) return { fault: "MALFORMED" };
    const isGood = new DataView(this.#body.buffer).getUint32(end) === crc32(this.#body, end);
    return isGood ? { payload: this.#body.slice(0, end) } : { fault: "BAD_CRC" };
  }
}
