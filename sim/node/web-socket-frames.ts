/** The frames of WebSocket (RFC 6455, section 5): written masked, as a client must, and read without waiting for the end of a frame. */
import { randomFillSync } from "node:crypto";

export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const FINAL = 0x80;
const MASKED = 0x80;
const LONGEST_CONTROL_BYTES = 125;

/** The peer broke the protocol; `status` is what to close with. */
export class FrameError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const PROTOCOL_ERROR = 1_002;
const UNSUPPORTED_DATA = 1_003;
const TOO_BIG = 1_009;

/** A whole message in one frame. */
export function frame(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const out = Buffer.allocUnsafe(2 + lengthBytes + 4 + length);
  out[0] = FINAL | opcode;
  if (lengthBytes === 0) out[1] = MASKED | length;
  else if (lengthBytes === 2) {
    out[1] = MASKED | 126;
    out.writeUInt16BE(length, 2);
  } else {
    out[1] = MASKED | 127;
    out.writeBigUInt64BE(BigInt(length), 2);
  }
  const maskAt = 2 + lengthBytes;
  randomFillSync(out, maskAt, 4);
  for (let at = 0; at < length; at++) out[maskAt + 4 + at] = (payload[at] as number) ^ (out[maskAt + (at & 3)] as number);
  return out;
}

export interface FrameHandlers {
  /** A piece of a message's payload. The bytes are the receiver's only until it returns. */
  data(bytes: Uint8Array): void;
  control(opcode: number, payload: Uint8Array): void;
}

/** Longest: 2 bytes, and 8 of a length. */
const LONGEST_HEAD_BYTES = 10;

export class FrameReader {
  readonly #head = Buffer.alloc(LONGEST_HEAD_BYTES);
  #headBytes = 0;
  #opcode = 0;
  /** Of the frame at hand; undefined between frames. */
  #left: number | undefined;
  #control = Buffer.alloc(0);
  /** A message of several frames is under way. */
  #isFragmented = false;

  constructor(private readonly handlers: FrameHandlers) {}

  /** @throws FrameError */
  read(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length || this.#left === 0) {
      if (this.#left === undefined) {
        this.#head[this.#headBytes++] = bytes[at++] as number;
        this.#begin();
        continue;
      }
      const piece = bytes.subarray(at, at + this.#left);
      at += piece.length;
      this.#left -= piece.length;
      if (this.#opcode < Opcode.close) {
        if (piece.length > 0) this.handlers.data(piece);
      } else this.#control = Buffer.concat([this.#control, piece]);
      if (this.#left === 0) this.#finish();
    }
  }

  /** Goes from the head to the payload once the head is complete. */
  #begin(): void {
    if (this.#headBytes < 2) return;
    const [first = 0, second = 0] = this.#head;
    const short = second & 0x7f;
    const opcode = first & 0x0f;
    if (this.#headBytes === 2) this.#check(first, opcode, second);
    if (this.#headBytes < 2 + (short === 127 ? 8 : short === 126 ? 2 : 0)) return;
    const length = short === 127 ? this.#head.readBigUInt64BE(2) : BigInt(short === 126 ? this.#head.readUInt16BE(2) : short);
    if (length > BigInt(Number.MAX_SAFE_INTEGER)) throw new FrameError("a frame of more than 2^53 bytes", TOO_BIG);
    this.#headBytes = 0;
    this.#opcode = opcode;
    this.#left = Number(length);
  }

  #check(first: number, opcode: number, second: number): void {
    const isFinal = (first & FINAL) !== 0;
    if ((first & 0x70) !== 0) throw new FrameError("a reserved bit is set", PROTOCOL_ERROR);
    if ((second & MASKED) !== 0) throw new FrameError("a server masks nothing", PROTOCOL_ERROR);
    if (opcode >= Opcode.close) {
      if (opcode > Opcode.pong) throw new FrameError(`unknown opcode ${opcode}`, PROTOCOL_ERROR);
      if (!isFinal || (second & 0x7f) > LONGEST_CONTROL_BYTES)
        throw new FrameError("a control frame in pieces or too long", PROTOCOL_ERROR);
      return;
    }
    // MQTT 5.0, section 6: binary frames alone.
    if (opcode === Opcode.text) throw new FrameError("a text frame", UNSUPPORTED_DATA);
    if (opcode > Opcode.binary) throw new FrameError(`unknown opcode ${opcode}`, PROTOCOL_ERROR);
    if ((opcode === Opcode.continuation) !== this.#isFragmented) throw new FrameError("frames of two messages are mixed", PROTOCOL_ERROR);
    this.#isFragmented = !isFinal;
  }

  #finish(): void {
    this.#left = undefined;
    if (this.#opcode < Opcode.close) return;
    const payload = this.#control;
    this.#control = Buffer.alloc(0);
    this.handlers.control(this.#opcode, payload);
  }
}
