/** One direction of a proxied connection: takes chunks in order, and lets them out in order as its toxics say. */
import type { Socket } from "node:net";
import type { SeededRandom } from "../virtual/random.js";
import { MqttFaults, type MqttConnectionState } from "./mqtt-faults.js";
import { numberOf, type Toxic, type ToxicType } from "./toxics.js";

export interface StreamOwner {
  /** The toxics that work on this connection and direction now. */
  toxics(): readonly Toxic[];
  /** Ends the connection: `reset` as by a lost peer (RST). */
  end(how: "close" | "reset"): void;
  /** Settles when the toxics have changed. */
  changed(): Promise<void>;
}

interface Chunk {
  readonly bytes: Buffer;
  readonly atMs: number;
  readonly delayMs: number;
  readonly last?: boolean;
}

/** Of bytes on their way; above it the sender is held back. */
const MOST_QUEUED_BYTES = 4 * 1024 * 1024;
/** A bandwidth is kept in steps of this length. */
const STEP_MS = 50;

export class ToxicStream {
  readonly #queue: Chunk[] = [];
  readonly #mqtt: MqttFaults | undefined;
  #queuedBytes = 0;
  #isPumping = false;
  #passedBytes = 0;
  #isOver = false;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly owner: StreamOwner,
    private readonly random: SeededRandom,
    state: MqttConnectionState | undefined,
  ) {
    this.#mqtt = state === undefined ? undefined : new MqttFaults(state, random.fork("mqtt"));
    from.on("data", (bytes: Buffer) => this.#arrived(bytes));
    from.on("end", () => this.#put({ bytes: Buffer.alloc(0), atMs: performance.now(), delayMs: 0, last: true }));
  }

  /** Lets nothing more through. */
  stop(): void {
    this.#isOver = true;
    this.#queue.length = 0;
  }

  #arrived(bytes: Buffer): void {
    const atMs = performance.now();
    if (this.#mqtt === undefined) return this.#put({ bytes, atMs, delayMs: 0 });
    for (const verdict of this.#mqtt.take(bytes, this.owner.toxics())) {
      if ("disconnect" in verdict) {
        this.to.write(verdict.disconnect, () => this.owner.end("close"));
        return this.stop();
      }
      this.#put({ bytes: verdict.bytes, atMs, delayMs: verdict.delayMs });
    }
  }

  #put(chunk: Chunk): void {
    if (this.#isOver) return;
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.bytes.length;
    if (this.#queuedBytes > MOST_QUEUED_BYTES) this.from.pause();
    if (!this.#isPumping) void this.#pump();
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    for (let chunk = this.#queue.shift(); chunk !== undefined && !this.#isOver; chunk = this.#queue.shift()) {
      await this.#wait(chunk);
      if (this.#isOver) break;
      if (chunk.last === true) await this.#close();
      else await this.#pass(chunk.bytes);
      this.#queuedBytes -= chunk.bytes.length;
      if (this.#queuedBytes <= MOST_QUEUED_BYTES && this.from.isPaused()) this.from.resume();
    }
    this.#isPumping = false;
  }

  async #wait({ atMs, delayMs }: Chunk): Promise<void> {
    while (this.#toxic("timeout") !== undefined && !this.#isOver) await this.owner.changed();
    let untilMs = atMs + delayMs;
    for (const toxic of this.owner.toxics()) {
      if (toxic.type === "latency") untilMs += numberOf(toxic, "latency") + (this.random.fraction() * 2 - 1) * numberOf(toxic, "jitter");
      if (toxic.type === "stall" && this.random.chance(numberOf(toxic, "probability")))
        untilMs = Math.max(untilMs, performance.now()) + numberOf(toxic, "stall");
    }
    await pause(untilMs - performance.now());
  }

  async #pass(bytes: Buffer): Promise<void> {
    let left = bytes;
    while (left.length > 0 && !this.#isOver) {
      const limit = this.#toxic("limit_data");
      const room = limit === undefined ? left.length : Math.max(0, numberOf(limit, "bytes") - this.#passedBytes);
      if (room === 0) return this.owner.end("close");
      const piece = left.subarray(0, Math.min(room, this.#pieceBytes()));
      left = left.subarray(piece.length);
      this.#passedBytes += piece.length;
      if (!this.to.write(piece)) await drained(this.to);
      await pause(this.#pieceMs(piece.length));
    }
  }

  #pieceBytes(): number {
    const [bandwidth, slicer] = [this.#toxic("bandwidth"), this.#toxic("slicer")];
    let bytes = Number.POSITIVE_INFINITY;
    // 1 KB/s is a byte a millisecond.
    if (bandwidth) bytes = Math.max(1, Math.floor(numberOf(bandwidth, "rate") * STEP_MS));
    if (slicer)
      bytes = Math.min(
        bytes,
        Math.max(1, Math.round(numberOf(slicer, "average_size") + (this.random.fraction() * 2 - 1) * numberOf(slicer, "size_variation"))),
      );
    return bytes;
  }

  #pieceMs(sizeBytes: number): number {
    const [bandwidth, slicer] = [this.#toxic("bandwidth"), this.#toxic("slicer")];
    return (bandwidth ? sizeBytes / Math.max(0.001, numberOf(bandwidth, "rate")) : 0) + (slicer ? numberOf(slicer, "delay") : 0);
  }

  async #close(): Promise<void> {
    // The other side never hears of it, as behind a router that forgot the connection.
    if (this.#toxic("half_open") !== undefined) return this.stop();
    const slow = this.#toxic("slow_close");
    if (slow) await pause(numberOf(slow, "delay"));
    if (!this.#isOver) this.to.end();
  }

  #toxic(type: ToxicType): Toxic | undefined {
    return this.owner.toxics().find((toxic) => toxic.type === type);
  }
}

function pause(delayMs: number): Promise<void> {
  return delayMs < 0.5 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, delayMs));
}

function drained(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      socket.removeListener("drain", done);
      socket.removeListener("close", done);
      resolve();
    };
    socket.once("drain", done);
    socket.once("close", done);
  });
}
