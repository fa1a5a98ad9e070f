/** Writes MQTT's data types (5.0 section 1.5). */
import { utf8Encode } from "../../../sdk/encoding/text.js";

export class WireWriter {
  readonly #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  /** A writer whose bytes are put in later, once their length is known. */
  nested(): WireWriter {
    return new WireWriter();
  }

  u8(value: number): void {
    this.#bytes.push(value & 0xff);
  }

  u16(value: number): void {
    this.#bytes.push((value >> 8) & 0xff, value & 0xff);
  }

  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }

  varint(value: number): void {
    let rest = value;
    do {
      const low = rest % 0x80;
      rest = Math.floor(rest / 0x80);
      this.u8(rest > 0 ? low | 0x80 : low);
    } while (rest > 0);
  }

  bytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.#bytes.push(byte);
  }

  binary(bytes: Uint8Array): void {
    this.u16(bytes.length);
    this.bytes(bytes);
  }

  text(text: string): void {
    this.binary(utf8Encode(text));
  }

  take(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}
