/**
 * The part of Node's Buffer that mqtt-packet uses, for engines without Node. Bundled in place of `buffer` for the device.
 *
 * A plain subclass of Uint8Array; every Uint8Array passes for one, since on a device there is nothing else to tell apart.
 */
import { utf8Decode, utf8Encode } from "../encoding/text.js";

export class Buffer extends Uint8Array {
  static isBuffer(value: unknown): value is Uint8Array {
    return value instanceof Uint8Array;
  }

  /** From numbers or from text. */
  static override from(source: unknown): Buffer {
    const values = typeof source === "string" ? utf8Encode(source) : (source as ArrayLike<number>);
    const buffer = new Buffer(values.length);
    buffer.set(values);
    return buffer;
  }

  static alloc(sizeBytes: number): Buffer {
    return new Buffer(sizeBytes);
  }

  static allocUnsafe(sizeBytes: number): Buffer {
    return new Buffer(sizeBytes);
  }

  static byteLength(value: string | Uint8Array): number {
    return typeof value === "string" ? utf8Encode(value).length : value.length;
  }

  write(text: string, offset: number): void {
    this.set(utf8Encode(text), offset);
  }

  copy(target: Uint8Array, offset: number): void {
    target.set(this, offset);
  }

  writeUInt8(value: number, offset: number): void {
    this[offset] = value;
  }

  writeUInt32BE(value: number, offset: number): void {
    for (let i = 0; i < 4; i++) this[offset + i] = value >>> (24 - 8 * i);
  }

  /** @throws HawserError `BAD_ENCODING` where Node would put U+FFFD: MQTT wants the connection closed for it (5.0 section 1.5.4). */
  override toString(): string {
    return utf8Decode(this);
  }
}
