/** Reads MQTT's data types (5.0 section 1.5) and trusts nothing. */
import { utf8Decode } from "../../../sdk/encoding/text.js";
import { WireError } from "./wire-error.js";

export class WireReader {
  #at = 0;

  constructor(private readonly source: Uint8Array) {}

  get left(): number {
    return this.source.length - this.#at;
  }

  u8(): number {
    const byte = this.source[this.#at++];
    if (byte === undefined) throw new WireError("a packet that ends too soon");
    return byte;
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8();
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16();
  }

  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.u8();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte >= 0x80) continue;
      if (byte === 0 && shift > 0) throw new WireError("a variable byte integer longer than needed");
      return value;
    }
    throw new WireError("a variable byte integer of more than four bytes");
  }

  bytes(sizeBytes: number): Uint8Array {
    if (sizeBytes > this.left) throw new WireError("a packet that ends too soon");
    this.#at += sizeBytes;
    return this.source.slice(this.#at - sizeBytes, this.#at);
  }

  binary(): Uint8Array {
    return this.bytes(this.u16());
  }

  text(): string {
    const bytes = this.binary();
    try {
      const text = utf8Decode(bytes);
      if (!text.includes("\0")) return text;
    } catch {
      // reported below
    }
    throw new WireError("text that is not well-formed UTF-8");
  }

  /** A reader of the next `sizeBytes` only. */
  part(sizeBytes: number): WireReader {
    return new WireReader(this.bytes(sizeBytes));
  }
}
