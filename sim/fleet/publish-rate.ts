/** How fast a device publishes in its busiest ten seconds, wherever they begin. */

const WINDOW_MS = 10_000;
const SLOT_MS = 1_000;
const SLOTS = WINDOW_MS / SLOT_MS;
/** What a device publishes when it boots is no rate yet. */
const LEAST_MS = 5_000;

export class PublishRate {
  /** Calls of the last ten seconds, a second each, in a ring. */
  readonly #slots = new Uint32Array(SLOTS);
  #latest = 0;
  #inWindow = 0;
  #busiest = 0;

  constructor(private readonly startedMs: number) {}

  count(nowMs: number): void {
    const slot = Math.floor((nowMs - this.startedMs) / SLOT_MS);
    // A pause of more than a window empties every slot once.
    for (let left = Math.min(SLOTS, slot - this.#latest), at = slot - left + 1; left > 0; left--, at++) {
      this.#inWindow -= this.#slots[at % SLOTS] ?? 0;
      this.#slots[at % SLOTS] = 0;
    }
    this.#latest = slot;
    this.#slots[slot % SLOTS] = (this.#slots[slot % SLOTS] ?? 0) + 1;
    this.#inWindow += 1;
    this.#busiest = Math.max(this.#busiest, this.#inWindow);
  }

  /** Calls a second in the busiest ten seconds; of a run that was shorter, over the run. */
  perSecond(nowMs: number): number {
    return (this.#busiest * 1_000) / Math.min(WINDOW_MS, Math.max(LEAST_MS, nowMs - this.startedMs));
  }
}
