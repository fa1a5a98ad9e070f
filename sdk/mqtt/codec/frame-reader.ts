/** Cuts the byte stream of a broker into packets: in place where a packet came in one piece, collected within a bound where it did not. */
import type { InboundPacket, ProtocolVersion, PublishPacket } from "./packet-types.js";
import { malformed, PacketError } from "./packet-error.js";
import { checkFirstByte, decode } from "./packet-decoder.js";

/** Who gets the packets. */
export interface FrameReaderOwner {
  packet(packet: InboundPacket): void;
  /**
   * A PUBLISH that is too large to be taken: its payload is passed over. Without this method it is an error, as every other packet of such
   * a size.
   */
  oversized?(packet: PublishPacket, sizeBytes: number): void;
}

const NOTHING = new Uint8Array(0);
const NO_HEADER: readonly number[] = Object.freeze([]);

export class FrameReader {
  readonly #version: ProtocolVersion;
  readonly #maximumPacketSizeBytes: number;
  readonly #owner: FrameReaderOwner;
  /** The start of a packet whose size is known but whose end has not come; empty between packets. */
  #partial: Uint8Array = NOTHING;
  #collected = 0;
  /** A fixed header cut in two, at most four bytes of it. */
  #header: readonly number[] = NO_HEADER;
  /** What is still to be passed over of a PUBLISH that is too large. */
  #skipBytes = 0;
  #stopped = false;
  #isPaused = false;
  /** What came while paused. */
  #rest: Uint8Array = NOTHING;

  constructor(version: ProtocolVersion, maximumPacketSizeBytes: number, owner: FrameReaderOwner) {
    this.#version = version;
    this.#maximumPacketSizeBytes = maximumPacketSizeBytes;
    this.#owner = owner;
  }

  /** The bytes so far end in the middle of a packet. */
  get isWithinPacket(): boolean {
    return this.#partial.length > 0 || this.#header.length > 0 || this.#skipBytes > 0;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** No packets until {@link resume}, not even those of the piece at hand, which is kept. */
  pause(): void {
    this.#isPaused = true;
  }

  /** @throws PacketError as {@link feed} */
  resume(): void {
    this.#isPaused = false;
    const rest = this.#rest;
    this.#rest = NOTHING;
    if (rest.length > 0) this.feed(rest);
  }

  /** No more packets from now on, not even those of the piece at hand. */
  stop(): void {
    this.#stopped = true;
    this.#rest = NOTHING;
    this.#partial = NOTHING;
    this.#header = NO_HEADER;
    this.#skipBytes = 0;
  }

  /**
   * Takes the next bytes and reports each packet they complete.
   * @throws PacketError; nothing may be fed after that
   */
  feed(chunk: Uint8Array): void {
    // Node's Buffer is a Uint8Array whose `slice` copies nothing: payloads would change with the link's memory.
    const bytes = chunk.constructor === Uint8Array ? chunk : new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.#isPaused) return this.#keep(bytes, 0);
    let at = 0;
    if (this.#partial.length > 0) at = this.#collect(bytes);
    else if (this.#header.length > 0) at = this.#completeHeader(bytes);
    while (at < bytes.length && !this.#stopped && !this.#isPaused) at = this.#skipBytes > 0 ? this.#skip(bytes, at) : this.#next(bytes, at);
    if (this.#isPaused && at < bytes.length) this.#keep(bytes, at);
  }

  #keep(bytes: Uint8Array, at: number): void {
    if (this.#stopped) return;
    const rest = new Uint8Array(this.#rest.length + bytes.length - at);
    rest.set(this.#rest);
    rest.set(bytes.subarray(at), this.#rest.length);
    this.#rest = rest;
  }

  /** Reads the packet at `at`, or keeps what there is of it. Returns where the next one begins. */
  #next(bytes: Uint8Array, at: number): number {
    let value = 0;
    let end = at + 1;
    for (let shift = 0; end < bytes.length; shift += 7) {
      const byte = bytes[end++] as number;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed("its length is written longer than needed");
        if (end - at + value > this.#maximumPacketSizeBytes) return this.#oversized(bytes, at, end, end - at + value);
        if (end + value > bytes.length) return this.#begin(bytes, at, end - at + value);
        this.#owner.packet(decode(bytes[at] as number, bytes, end, end + value, this.#version));
        return end + value;
      }
      if (shift === 21) throw malformed("its length has more than four bytes");
    }
    this.#header = Array.from(bytes.subarray(at));
    return bytes.length;
  }

  #begin(bytes: Uint8Array, at: number, sizeBytes: number): number {
    checkFirstByte(bytes[at] as number);
    this.#partial = new Uint8Array(sizeBytes);
    this.#partial.set(bytes.subarray(at));
    this.#collected = bytes.length - at;
    return bytes.length;
  }

  #collect(bytes: Uint8Array): number {
    const wanted = Math.min(this.#partial.length - this.#collected, bytes.length);
    this.#partial.set(bytes.subarray(0, wanted), this.#collected);
    this.#collected += wanted;
    if (this.#collected === this.#partial.length) {
      const whole = this.#partial;
      this.#partial = NOTHING;
      this.#next(whole, 0);
    }
    return wanted;
  }

  /** Puts a cut header together byte by byte until its length can be read. */
  #completeHeader(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length) {
      const byte = bytes[at++] as number;
      this.#header = [...this.#header, byte];
      if (byte >= 0x80 && this.#header.length < 5) continue;
      const header = Uint8Array.from(this.#header);
      this.#header = NO_HEADER;
      this.#next(header, 0);
      // Not a packet without a body: #next has begun to collect one, or the header alone was the packet.
      return this.#partial.length > 0 ? at + this.#collect(bytes.subarray(at)) : at;
    }
    return at;
  }

  /** Reads what comes before the payload, and passes the payload over. */
  #oversized(bytes: Uint8Array, at: number, bodyAt: number, sizeBytes: number): number {
    const first = bytes[at] as number;
    const limit = this.#maximumPacketSizeBytes;
    const payloadAt =
      first >> 4 === 3 && this.#owner.oversized !== undefined ? payloadStart(first, bytes, bodyAt, this.#version) : Infinity;
    if (payloadAt > bytes.length) {
      if (payloadAt - at > limit || bytes.length - at >= limit) {
        throw new PacketError("PACKET_TOO_LARGE", 0x95, `the broker sent a packet of ${sizeBytes} bytes; the limit is ${limit}`);
      }
      return this.#begin(bytes, at, limit);
    }
    const packet = decode(first, bytes, bodyAt, payloadAt, this.#version) as PublishPacket;
    this.#skipBytes = sizeBytes - (payloadAt - at);
    this.#owner.oversized?.(packet, sizeBytes);
    return this.#skip(bytes, payloadAt);
  }

  #skip(bytes: Uint8Array, at: number): number {
    const skipped = Math.min(this.#skipBytes, bytes.length - at);
    this.#skipBytes -= skipped;
    return at + skipped;
  }
}

/** Where the payload of a PUBLISH begins whose body begins at `bodyAt`; a place behind the bytes there are where they do not tell yet. */
function payloadStart(first: number, bytes: Uint8Array, bodyAt: number, version: ProtocolVersion): number {
  const beyond = bytes.length + 1;
  if (bodyAt + 2 > bytes.length) return beyond;
  let at = bodyAt + 2 + (((bytes[bodyAt] as number) << 8) | (bytes[bodyAt + 1] as number)) + ((first & 6) === 0 ? 0 : 2);
  if (version === 4) return at;
  let length = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = bytes[at++];
    if (byte === undefined) return Math.max(at, beyond);
    length += (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return at + length;
}
