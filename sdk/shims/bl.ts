/** The part of `bl` (a list of buffers read as one) that mqtt-packet's parser uses, for engines without Node. Bundled in its place. */
import { Buffer } from "./buffer.js";

class BufferList {
  length = 0;
  #parts: Uint8Array[] = [];

  append(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#parts.push(part);
    this.length += part.length;
  }

  consume(sizeBytes: number): void {
    let rest = Math.min(sizeBytes, this.length);
    this.length -= rest;
    while (rest > 0) {
      const first = this.#parts[0] as Uint8Array;
      if (first.length > rest) this.#parts[0] = first.subarray(rest);
      else this.#parts.shift();
      rest -= Math.min(rest, first.length);
    }
  }

  /** A view where the bytes lie in one part, else a copy. */
  slice(start = 0, end = this.length): Uint8Array {
    const from = Math.min(start, this.length);
    const to = Math.max(from, Math.min(end, this.length));
    let at = 0;
    for (const part of this.#parts) {
      if (from >= at && to <= at + part.length) return part.subarray(from - at, to - at);
      at += part.length;
    }
    return this.#join(from, to);
  }

  #join(from: number, to: number): Uint8Array {
    const joined = new Uint8Array(to - from);
    let at = 0;
    for (const part of this.#parts) {
      const piece = part.subarray(Math.max(0, from - at), Math.max(0, to - at));
      if (piece.length > 0) joined.set(piece, Math.max(0, at - from));
      at += part.length;
    }
    return joined;
  }

  readUInt8(offset = 0): number {
    let at = offset;
    for (const part of this.#parts) {
      const value = part[at];
      if (value !== undefined) return value;
      at -= part.length;
    }
    throw new RangeError("read behind the end of the list");
  }

  readUInt16BE(offset = 0): number {
    return (this.readUInt8(offset) << 8) | this.readUInt8(offset + 1);
  }

  readUInt32BE(offset = 0): number {
    return this.readUInt16BE(offset) * 0x10000 + this.readUInt16BE(offset + 2);
  }

  toString(_encoding: string, start: number, end: number): string {
    return Buffer.from(this.slice(start, end)).toString();
  }
}

export default function bl(): BufferList {
  return new BufferList();
}
