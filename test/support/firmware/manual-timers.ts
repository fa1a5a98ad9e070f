/** Time that passes when a test says so: a scheduler and a clock. */
import type { Cancel, Clock, Scheduler } from "../../../sdk/platform.js";

interface Entry {
  atMs: number;
  order: number;
  run: () => void;
}

export class ManualTime {
  #nowMs = 0;
  #count = 0;
  #entries: Entry[] = [];

  readonly scheduler: Scheduler = {
    after: (delayMs, run): Cancel => {
      const entry: Entry = { atMs: this.#nowMs + delayMs, order: this.#count++, run };
      this.#entries.push(entry);
      return () => (this.#entries = this.#entries.filter((other) => other !== entry));
    },
  };

  readonly clock: Clock = { monotonicMs: () => this.#nowMs, wallMs: () => this.#nowMs, wallTrusted: () => false };

  get nowMs(): number {
    return this.#nowMs;
  }

  /** How many calls are still to come. */
  get pending(): number {
    return this.#entries.length;
  }

  /** Lets time pass; what comes due runs in order, also what is scheduled meanwhile. */
  advance(durationMs: number): void {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      const next = this.#entries.filter((entry) => entry.atMs <= endMs).sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined) break;
      this.#entries = this.#entries.filter((entry) => entry !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = endMs;
  }
}
