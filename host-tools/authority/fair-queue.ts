/**
 * Work that waits for one worker, fair to those who ask: whoever asks often waits behind himself, not before the others. Bounded in all
 * directions.
 */
export class FairQueue<T> {
  // Insertion order is the order of service: a name that was served goes to the end.
  readonly #lanes = new Map<string, T[]>();

  /**
   * @param maxNames that may wait at once
   * @param maxPerName a newer item of a name takes the place of its oldest: who asks again has given that one up
   */
  constructor(
    private readonly maxNames: number,
    private readonly maxPerName: number,
  ) {}

  get isEmpty(): boolean {
    return this.#lanes.size === 0;
  }

  /** @returns false when too many others wait */
  add(name: string, item: T): boolean {
    const lane = this.#lanes.get(name);
    if (lane === undefined) {
      if (this.#lanes.size >= this.maxNames) return false;
      this.#lanes.set(name, [item]);
      return true;
    }
    if (lane.length >= this.maxPerName) lane.shift();
    lane.push(item);
    return true;
  }

  /** The next item: one of each name in turn. */
  take(): T | undefined {
    for (const [name, lane] of this.#lanes) {
      const item = lane.shift();
      this.#lanes.delete(name);
      if (lane.length > 0) this.#lanes.set(name, lane);
      return item;
    }
    return undefined;
  }
}
