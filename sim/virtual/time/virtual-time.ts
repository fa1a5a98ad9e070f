/** Time that only passes when nothing is left to do: events run one by one, in order, and `nowMs` jumps from one to the next. */
import type { Cancel } from "../../../sdk/platform.js";
import { EventQueue, type QueuedEvent } from "./event-queue.js";

/** Settles once every promise reaction that is ready has run. A macrotask of the engine does it: `setImmediate` on Node. */
export type DrainMicrotasks = () => Promise<unknown>;

/**
 * Drains on any engine, without timers: waits a fixed number of turns of the microtask queue, more than any chain of reactions in the SDK
 * is long. It is the same number everywhere, so that a run stays the same everywhere.
 */
export async function drainByTurns(): Promise<void> {
  for (let turn = 0; turn < 64; turn++) await undefined;
}

/** Above this many cancelled events in the queue it is cleaned. */
const COMPACT_ABOVE = 4_096;

export class VirtualTime {
  #nowMs = 0;
  #order = 0;
  #cancelled = 0;
  readonly #events = new EventQueue();

  /**
   * @param drain run after every event
   * @param onError gets what an event threw; time goes on
   */
  constructor(
    private readonly drain: DrainMicrotasks,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** Milliseconds since the world began; whole. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that are still to come. */
  get pending(): number {
    return this.#events.size - this.#cancelled;
  }

  /** Runs `run` at `atMs`, or as soon as possible when that has passed; never before this call returned. Fractions are rounded up. */
  at(atMs: number, run: () => void): Cancel {
    const event: QueuedEvent = { atMs: Math.max(this.#nowMs, Math.ceil(atMs)), order: this.#order++, run };
    this.#events.push(event);
    return () => {
      if (event.run === undefined) return;
      event.run = undefined;
      if (++this.#cancelled > COMPACT_ABOVE) {
        this.#events.compact();
        this.#cancelled = 0;
      }
    };
  }

  after(delayMs: number, run: () => void): Cancel {
    return this.at(this.#nowMs + Math.max(0, delayMs), run);
  }

  /** Lets time pass until `untilMs`, or until `stop` says so (asked after each event). */
  async run(untilMs: number, stop: () => boolean = () => false): Promise<void> {
    // What was set going outside of any event (a device just started) must not run late.
    await this.drain();
    for (let event = this.#events.peek(); event && event.atMs <= untilMs; event = this.#events.peek()) {
      this.#events.pop();
      const run = event.run;
      if (run === undefined) {
        this.#cancelled--;
        continue;
      }
      event.run = undefined;
      this.#nowMs = event.atMs;
      try {
        run();
      } catch (error) {
        this.onError(error);
      }
      await this.drain();
      if (stop()) return;
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }
}
