/** One direction of a TCP connection: what is sent arrives later, in order, in pieces of any size, or never. */
import type { Cancel } from "../../../sdk/platform.js";
import type { VirtualTime } from "../time/virtual-time.js";
import type { Path } from "./path.js";

/** TCP's usual payload on an ESP32, bytes. */
const SEGMENT_BYTES = 1_436;
/** The share of writes that arrive in two pieces cut anywhere: a decoder must not care. */
const SPLIT_SHARE = 0.15;

interface Piece {
  atMs: number;
  run: () => void;
}

export class Pipe {
  readonly #pieces: Piece[] = [];
  #lastArrivalMs = 0;
  #queuedBytes = 0;
  #stopped = false;
  #cancel: Cancel = () => undefined;

  /** @param delivered told of each piece of data */
  constructor(
    private readonly time: VirtualTime,
    private readonly path: Path,
    private readonly delivered: (bytes: Uint8Array) => void,
    private readonly bytesPerSecond: () => number = () => Infinity,
  ) {}

  /** Bytes sent and not yet arrived. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  send(bytes: Uint8Array): void {
    if (this.#stopped) return;
    let at = 0;
    if (bytes.length > 1 && this.path.random.chance(SPLIT_SHARE)) {
      at = this.path.random.between(1, Math.min(bytes.length, SEGMENT_BYTES) - 1);
      this.#data(bytes.slice(0, at));
    }
    for (; at < bytes.length; at += SEGMENT_BYTES) this.#data(bytes.slice(at, at + SEGMENT_BYTES));
  }

  /** Runs `run` at the other end, after all that was sent before. */
  mark(run: () => void): void {
    this.#send(0, run);
  }

  #send(sizeBytes: number, run: () => void): void {
    if (this.#stopped) return;
    const sendingMs = Math.ceil((sizeBytes * 1_000) / this.bytesPerSecond());
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, this.time.nowMs + this.path.delayMs()) + sendingMs;
    this.#pieces.push({ atMs: this.#lastArrivalMs, run });
    if (this.#pieces.length === 1) this.#awaitFirst();
  }

  /** Nothing arrives any more. */
  stop(): void {
    this.#stopped = true;
    this.#queuedBytes = 0;
    this.#pieces.length = 0;
    this.#cancel();
  }

  #data(bytes: Uint8Array): void {
    this.#queuedBytes += bytes.length;
    this.#send(bytes.length, () => {
      this.#queuedBytes -= bytes.length;
      this.delivered(bytes);
    });
  }

  #awaitFirst(): void {
    const first = this.#pieces[0];
    if (first) this.#cancel = this.time.at(first.atMs, () => this.#arrive(first));
  }

  /** In a black hole the first piece waits, and all behind it: TCP keeps the order. */
  #arrive(first: Piece): void {
    if (this.path.blackHole) {
      this.#cancel = this.path.whenPassable(() => this.#arrive(first));
      return;
    }
    this.#pieces.shift();
    this.#awaitFirst();
    first.run();
  }
}
