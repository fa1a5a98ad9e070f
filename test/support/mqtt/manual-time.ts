/** For tests: time that passes only when told to, and the platform around it. */
import type { Cancel, Clock, Random, Scheduler } from "../../../sdk/platform.js";

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class ManualTime implements Clock, Scheduler {
  #nowMs = 0;
  #count = 0;
  #timers: Timer[] = [];
  wallOffsetMs = 1_700_000_000_000;
  isTrusted = true;

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.wallOffsetMs + this.#nowMs;
  }

  wallTrusted(): boolean {
    return this.isTrusted;
  }

  after(delayMs: number, run: () => void): Cancel {
    const timer = { atMs: this.#nowMs + delayMs, order: this.#count++, run };
    this.#timers.push(timer);
    return () => (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  get timers(): number {
    return this.#timers.length;
  }

  /** Lets `durationMs` pass: every timer in its order, and all promises between two timers. */
  async pass(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    await settle();
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.run();
      await settle();
    }
    this.#nowMs = endMs;
  }
}

/** Lets promises run that do not wait for time: far more steps than anything here takes. */
export async function settle(): Promise<void> {
  for (let step = 0; step < 60; step++) await undefined;
}

/** A platform in which nothing is left to chance. */
export function testPlatform(time: ManualTime): { clock: Clock; scheduler: Scheduler; random: Random; log: () => void } {
  let counter = 0;
  return {
    clock: time,
    scheduler: time,
    random: { bytes: (sizeBytes) => Uint8Array.from({ length: sizeBytes }, () => counter++), fraction: () => 0.5 },
    log: () => undefined,
  };
}
