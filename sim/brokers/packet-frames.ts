/** Where MQTT packets begin and end in a byte stream (MQTT 3.1.1 section 2.2), without parsing what is in them. */

export type RemainingLength = { value: number; nextOffset: number } | "incomplete" | "malformed";

/** Reads the 1..4 byte variable length at `offset` (section 2.2.3). */
export function readRemainingLength(bytes: Uint8Array, offset: number): RemainingLength {
  let value = 0;
  for (let index = 0; index < 4; index += 1) {
    const byte = bytes[offset + index];
    if (byte === undefined) return "incomplete";
    value += (byte & 0x7f) << (7 * index);
    if (byte < 0x80) return { value, nextOffset: offset + index + 1 };
  }
  return "malformed";
}

/** Reads fields off the front of a packet's body; every read past its end gives undefined. */
export class FieldReader {
  #offset = 0;

  constructor(private readonly bytes: Uint8Array) {}

  byte(): number | undefined {
    return this.bytes[this.#offset++];
  }

  uint16(): number | undefined {
    const high = this.byte();
    const low = this.byte();
    return high === undefined || low === undefined ? undefined : high * 256 + low;
  }

  /** A UTF-8 string after its 16-bit length (section 1.5.3); undefined too when it is not UTF-8 or holds NUL. */
  text(): string | undefined {
    const length = this.uint16();
    if (length === undefined || this.#offset + length > this.bytes.length) return undefined;
    const raw = this.bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    try {
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
      return text.includes("\0") ? undefined : text;
    } catch {
      return undefined;
    }
  }
}

const PUBLISH = 3;
const DISCONNECT = 14;

/** Follows the packets of one connection chunk by chunk and keeps count. */
export class FrameScanner {
  /** PUBLISH packets begun so far. */
  publishCount = 0;
  sawDisconnect = false;
  #headerBytes: number[] = [];
  #bodyBytesLeft = 0;

  constructor(private readonly maxPacketBytes: number) {}

  /** Looks at the next bytes; from the first answer other than "ok" on, the stream is not to be trusted. */
  scan(chunk: Uint8Array): "ok" | "too-large" | "malformed" {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#bodyBytesLeft > 0) {
        const skipped = Math.min(this.#bodyBytesLeft, chunk.length - offset);
        this.#bodyBytesLeft -= skipped;
        offset += skipped;
        continue;
      }
      this.#headerBytes.push(chunk[offset++] ?? 0);
      const verdict = this.#headerVerdict();
      if (verdict !== "ok") return verdict;
    }
    return "ok";
  }

  #headerVerdict(): "ok" | "too-large" | "malformed" {
    if (this.#headerBytes.length === 1) return "ok";
    const length = readRemainingLength(Uint8Array.from(this.#headerBytes), 1);
    if (length === "incomplete") return "ok";
    if (length === "malformed") return "malformed";
    if (length.nextOffset + length.value > this.maxPacketBytes) return "too-large";
    const packetType = (this.#headerBytes[0] ?? 0) >> 4;
    if (packetType === PUBLISH) this.publishCount += 1;
    if (packetType === DISCONNECT) this.sawDisconnect = true;
    this.#headerBytes = [];
    this.#bodyBytesLeft = length.value;
    return "ok";
  }
}
