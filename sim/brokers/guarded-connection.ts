/** The stream that aedes reads a client from: the TLS socket behind a guard of sizes, rates and buffers. */
import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { BrokerLimits, EndReason } from "./broker-events.js";
import type { NetworkBytes } from "./network-bytes.js";
import { FrameScanner } from "./packet-frames.js";

type WriteDone = (error: Error | null | undefined) => void;

/** A peer that does not read gets this long to take the last bytes. */
const LAST_BYTES_MS = 2_000;

/**
 * Also keeps aedes out of its own races: until {@link registered} it sees the CONNECT only, and not that the socket ended: a client that
 * vanishes in the middle of its sign-in would otherwise stay in aedes' tables for good.
 */
export class GuardedConnection extends Duplex {
  /** Why this connection ended, as far as this side knows; the first reason stays. */
  endReason: EndReason | undefined;
  readonly #scanner: FrameScanner;
  #isRegistered = false;
  #isReleased = false;
  /** The client sent all it had and said so: what is still unread here counts. */
  #endedInOrder = false;
  #socketClosed: boolean;
  #countedMessages = 0;
  #throttle: NodeJS.Timeout | undefined;
  #tokens: number;
  #byteTokens: number;
  #tokensAtMs = performance.now();

  /**
   * @param connectBytes the whole CONNECT packet
   * @param following what the client sent behind it already
   * @param networkBytes what its network sends over all connections
   */
  constructor(
    private readonly socket: TLSSocket,
    connectBytes: Uint8Array,
    private readonly following: Uint8Array,
    private readonly limits: BrokerLimits,
    private readonly networkBytes: NetworkBytes,
  ) {
    super({ writableHighWaterMark: limits.maxBufferedBytes, readableHighWaterMark: 64 * 1024, allowHalfOpen: false });
    this.#scanner = new FrameScanner(limits.maxPacketBytes);
    this.#tokens = limits.maxMessagesPerSecond;
    this.#byteTokens = limits.maxBytesPerSecond;
    this.#socketClosed = socket.destroyed;
    socket.on("error", () => undefined);
    socket.once("end", () => this.#onSocketEnd());
    socket.once("close", () => this.#onSocketClosed());
    this.push(connectBytes);
  }

  /** IP address of the client; undefined once the socket is gone. */
  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress;
  }

  /** Aedes has the client in its tables: from here on an end of the socket may reach it. */
  registered(): void {
    this.#isRegistered = true;
    if (this.#socketClosed) setImmediate(() => this.destroy());
  }

  /** CONNACK is out: what the client sends flows. */
  release(): void {
    if (this.#isReleased || this.#socketClosed) return;
    this.#isReleased = true;
    this.socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    this.socket.resume();
    if (this.following.length > 0) this.#onData(this.following);
  }

  /** Cuts the connection; aedes learns of it as soon as it can stand it. */
  cut(reason: EndReason): void {
    this.endReason ??= reason;
    this.socket.destroy();
    if (this.#socketClosed && this.#isRegistered) this.destroy();
  }

  /**
   * Never asks aedes to wait: it would make the publisher wait for its slowest reader. {@link writableNeedDrain} tells all the same.
   */
  override write(chunk: Uint8Array | string, encodingOrDone?: BufferEncoding | WriteDone, done?: WriteDone): boolean {
    if (typeof encodingOrDone === "string") super.write(chunk, encodingOrDone, done);
    else super.write(chunk, encodingOrDone);
    return true;
  }

  override _read(): void {
    if (this.#isReleased && this.#throttle === undefined) this.socket.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
    this.#send(chunk, done);
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: () => void): void {
    // One TLS record for the many small writes that make up a packet.
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#throttle);
    if (this.#scanner.sawDisconnect) this.endReason ??= "CLIENT_DISCONNECTED";
    if (!this.#socketClosed) closeSoon(this.socket);
    done(null);
  }

  #send(bytes: Uint8Array, done: () => void): void {
    if (this.#socketClosed || this.socket.write(bytes)) {
      done();
      return;
    }
    const goOn = (): void => {
      this.socket.removeListener("drain", goOn).removeListener("close", goOn);
      done();
    };
    this.socket.once("drain", goOn).once("close", goOn);
  }

  #onSocketEnd(): void {
    // Comes after release only, because nothing is read from the socket before.
    this.#endedInOrder = true;
    this.push(null);
  }

  #onSocketClosed(): void {
    this.#socketClosed = true;
    if (this.#isRegistered && !this.#endedInOrder) this.destroy();
  }

  #onData(chunk: Uint8Array): void {
    if (this.destroyed) return;
    const verdict = this.#scanner.scan(chunk);
    if (verdict !== "ok") {
      this.cut(verdict === "too-large" ? "PACKET_TOO_LARGE" : "PROTOCOL_ERROR");
      return;
    }
    const roomLeft = this.push(chunk);
    if (this.#overRate(chunk.length) || !roomLeft) this.socket.pause();
  }

  /** Takes a token for each message and each byte; with none left, reading stops until they are paid for. */
  #overRate(sizeBytes: number): boolean {
    const nowMs = performance.now();
    const { maxMessagesPerSecond: rate, maxBytesPerSecond: byteRate, maxBytesPerSecondPerNetwork: networkRate } = this.limits;
    const seconds = (nowMs - this.#tokensAtMs) / 1_000;
    const messages = this.#scanner.publishCount - this.#countedMessages;
    this.#countedMessages = this.#scanner.publishCount;
    this.#tokens = Math.min(rate, this.#tokens + seconds * rate) - messages;
    this.#byteTokens = Math.min(byteRate, this.#byteTokens + seconds * byteRate) - sizeBytes;
    this.#tokensAtMs = nowMs;
    const debtSeconds = Math.max(
      -this.#tokens / rate,
      -this.#byteTokens / byteRate,
      this.networkBytes.take(this.socket.remoteAddress ?? "", sizeBytes, networkRate),
    );
    if (debtSeconds <= 0 || this.#throttle !== undefined) return this.#throttle !== undefined;
    this.#throttle = setTimeout(() => this.#endThrottle(), debtSeconds * 1_000);
    return true;
  }

  #endThrottle(): void {
    this.#throttle = undefined;
    if (this.readableLength < this.readableHighWaterMark) this.socket.resume();
  }
}

/** Sends what is queued, closes, and does not wait for ever for a peer that stopped reading. */
export function closeSoon(socket: TLSSocket, lastBytes?: Uint8Array): void {
  socket.on("error", () => undefined);
  // Reading on is how the peer's end is noticed; closing over unread input would send a reset, which can overtake the last bytes.
  socket.on("data", () => undefined).resume();
  if (lastBytes === undefined) socket.end();
  else socket.end(lastBytes);
  const deadline = setTimeout(() => socket.destroy(), LAST_BYTES_MS);
  socket.once("close", () => clearTimeout(deadline));
}
