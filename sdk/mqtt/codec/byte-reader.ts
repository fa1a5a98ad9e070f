/**
 * Reads the fields of one packet, strictly: whatever reaches past the packet's end or breaks MQTT 5.0 section 1.5 is a {@link PacketError}.
 */
import { malformed } from "./packet-error.js";
import { decodeUtf8 } from "../../encoding/utf8.js";

export class ByteReader {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  // Messages come on few topics: the last one is compared before it is decoded again.
  #lastTopic = "";
  #lastTopicBytes: Uint8Array = new Uint8Array(0);

  /** Reads from `bytes[start..end)` from now on. */
  reset(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get position(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  /** Reads no further than `end` from now on. @returns the end before */
  limit(end: number): number {
    const before = this.#end;
    this.#end = end;
    return before;
  }

  u8(): number {
    if (this.#at >= this.#end) throw malformed("it ends too early");
    return this.#bytes[this.#at++] as number;
  }

  u16(): number {
    if (this.#at + 2 > this.#end) throw malformed("it ends too early");
    const value = ((this.#bytes[this.#at] as number) << 8) | (this.#bytes[this.#at + 1] as number);
    this.#at += 2;
    return value;
  }

  u32(): number {
    return this.u16() * 0x10000 + this.u16();
  }

  /** A variable byte integer in its shortest form. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.u8();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed("a variable byte integer is longer than needed");
        return value;
      }
    }
    throw malformed("a variable byte integer has more than four bytes");
  }

  /** Bytes with a 16-bit length before them, as a copy. */
  binary(): Uint8Array {
    const start = this.#skipCounted();
    return this.#bytes.slice(start, this.#at);
  }

  string(): string {
    const start = this.#skipCounted();
    return checkedText(this.#bytes, start, this.#at);
  }

  topic(): string {
    const start = this.#skipCounted();
    const length = this.#at - start;
    const last = this.#lastTopicBytes;
    let same = length === last.length;
    for (let i = 0; same && i < length; i++) same = this.#bytes[start + i] === last[i];
    if (same) return this.#lastTopic;
    const topic = checkedText(this.#bytes, start, this.#at);
    this.#lastTopicBytes = this.#bytes.slice(start, this.#at);
    this.#lastTopic = topic;
    return topic;
  }

  /** The rest, as a copy. */
  rest(): Uint8Array {
    const start = this.#at;
    this.#at = this.#end;
    return this.#bytes.slice(start, this.#end);
  }

  #skipCounted(): number {
    const length = this.u16();
    const start = this.#at;
    if (start + length > this.#end) throw malformed("a field reaches past its end");
    this.#at = start + length;
    return start;
  }
}

function checkedText(bytes: Uint8Array, start: number, end: number): string {
  const text = decodeUtf8(bytes, start, end);
  if (text === undefined) throw malformed("a string is not UTF-8");
  if (text.includes("\0")) throw malformed("a string contains U+0000");
  return text;
}
