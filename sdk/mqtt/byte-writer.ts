/** A growing piece of memory that packets are written into, one behind the other, so that a turn's output is one array. */
import { writeUtf8, utf8Length } from "./utf8.js";

export class ByteWriter {
  #bytes: Uint8Array;
  #start = 0;
  #end = 0;
  readonly #capacityBytes: number;
  // The same few topics are written again and again: the last one's bytes are kept.
  #lastText = "";
  #lastTextBytes = 0;

  /** @param capacityBytes what is taken at first and again after each {@link take} that used it up */
  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
    this.#bytes = new Uint8Array(0);
  }

  get sizeBytes(): number {
    return this.#end - this.#start;
  }

  /** Makes room for `sizeBytes` more; each of the writing methods needs it made before. */
  reserve(sizeBytes: number): void {
    if (this.#bytes.length - this.#end >= sizeBytes) return;
    const used = this.#end - this.#start;
    let capacity = Math.max(this.#capacityBytes, used * 2);
    if (capacity < used + sizeBytes) capacity = used + sizeBytes;
    const grown = new Uint8Array(capacity);
    if (used > 0) grown.set(this.#bytes.subarray(this.#start, this.#end));
    this.#bytes = grown;
    this.#start = 0;
    this.#end = used;
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

  /** Hands over what was written; the array is the caller's for good. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(this.#start, this.#end);
    this.#start = this.#end;
    // A rest too small for a packet, or a large one left by a burst, is not worth keeping.
    if (this.#bytes.length - this.#end < 64 || this.#bytes.length > this.#capacityBytes) {
      this.#bytes = new Uint8Array(0);
      this.#start = 0;
      this.#end = 0;
    }
    return taken;
  }
}
