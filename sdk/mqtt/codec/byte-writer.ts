/** A growing piece of memory that packets are written into, one behind the other, so that a turn's output is one array. */
import { writeUtf8, utf8Length } from "../../encoding/utf8.js";

const NOTHING = new Uint8Array(0);
/** The most that is taken at once because the last piece was large. */
const MAX_FIRST_BYTES = 4_096;

export class ByteWriter {
  #bytes: Uint8Array = NOTHING;
  #end = 0;
  #capacityBytes: number;
  // The same few topics are written again and again: the last one's bytes are kept.
  #lastText = "";
  #lastTextBytes = 0;

  /** @param smallestBytes the least memory taken at once */
  constructor(private readonly smallestBytes: number) {
    this.#capacityBytes = smallestBytes;
  }

  get sizeBytes(): number {
    return this.#end;
  }

  /** Makes room for `sizeBytes` more; each of the writing methods needs it made before. */
  reserve(sizeBytes: number): void {
    if (this.#bytes.length - this.#end >= sizeBytes) return;
    const used = this.#end;
    let capacity = Math.max(this.#capacityBytes, used * 2);
    if (capacity < used + sizeBytes) capacity = used + sizeBytes;
    const grown = new Uint8Array(capacity);
    if (used > 0) grown.set(this.#bytes.subarray(0, used));
    this.#bytes = grown;
  }

  /** Takes back what was written behind `sizeBytes`. */
  rewind(sizeBytes: number): void {
    this.#end = sizeBytes;
  }

  u8(value: number): void {
    this.#bytes[this.#end++] = value;
  }

  u16(value: number): void {
    this.#bytes[this.#end++] = value >> 8;
    this.#bytes[this.#end++] = value;
  }

  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }

  /** A variable byte integer (MQTT 5.0, section 1.5.5): at most four bytes. */
  varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#end++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#end++] = rest;
  }

  raw(bytes: Uint8Array): void {
    // A loop beats the call for what telemetry sends.
    if (bytes.length <= 48) for (let i = 0; i < bytes.length; i++) this.#bytes[this.#end + i] = bytes[i] as number;
    else this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** Text of `sizeBytes` in UTF-8, without a length before it. */
  text(text: string, sizeBytes: number): void {
    const target = this.#bytes;
    // Plain ASCII, and short: what topics are.
    if (sizeBytes === text.length && sizeBytes <= 128) {
      for (let i = 0; i < sizeBytes; i++) target[this.#end + i] = text.charCodeAt(i);
      this.#end += sizeBytes;
    } else this.#end = writeUtf8(text, target, this.#end);
  }

  /** The size of a text that is likely to be the same as last time. */
  textSize(text: string): number {
    if (text !== this.#lastText) {
      this.#lastText = text;
      this.#lastTextBytes = utf8Length(text);
    }
    return this.#lastTextBytes;
  }

  /** Hands over what was written; the array is the caller's for good. Between two pieces no memory is held. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#end);
    // The next piece is likely to be as large as this one.
    this.#capacityBytes = Math.min(MAX_FIRST_BYTES, Math.max(this.smallestBytes, this.#end));
    this.#bytes = NOTHING;
    this.#end = 0;
    return taken;
  }
}
