/** Many positive numbers in little memory: counted by size, in steps of a fifth, so that medians are exact enough. */
const STEPS_PER_DOUBLING = 4;
/** The largest number that is told apart is 2^40. */
const MAX_BUCKET = 40 * STEPS_PER_DOUBLING;

/** A histogram as it is stored: pairs of bucket and count. */
export type StoredHistogram = readonly (readonly [bucket: number, count: number])[];

export interface Spread {
  readonly median: number;
  /** The median distance from the median. */
  readonly mad: number;
  readonly count: number;
}

export class LogHistogram {
  readonly #counts = new Map<number, number>();

  /** @param value zero and what is below count as one */
  add(value: number, times = 1): void {
    this.#addTo(Math.min(MAX_BUCKET, Math.max(0, Math.round(Math.log2(value) * STEPS_PER_DOUBLING))) || 0, times);
  }

  addAll(other: LogHistogram): void {
    for (const [bucket, count] of other.#counts) this.#addTo(bucket, count);
  }

  /** Undefined of nothing. */
  get spread(): Spread | undefined {
    const values = [...this.#counts].map(([bucket, count]) => ({ value: 2 ** (bucket / STEPS_PER_DOUBLING), count }));
    const count = values.reduce((sum, one) => sum + one.count, 0);
    if (count === 0) return undefined;
    const median = medianOf(values, count);
    const distances = values.map(({ value, count: times }) => ({ value: Math.abs(value - median), count: times }));
    return { median, mad: medianOf(distances, count), count };
  }

  get stored(): StoredHistogram {
    return [...this.#counts].sort(([a], [b]) => a - b);
  }

  /** @throws RangeError for anything that {@link stored} never gives */
  static read(stored: unknown): LogHistogram {
    const histogram = new LogHistogram();
    if (!Array.isArray(stored) || stored.length > MAX_BUCKET + 1) throw new RangeError("not a histogram");
    for (const pair of stored as unknown[]) {
      const [bucket, count] = Array.isArray(pair) ? (pair as unknown[]) : [];
      if (!isCount(bucket) || bucket > MAX_BUCKET || !isCount(count)) throw new RangeError("not a histogram");
      histogram.#addTo(bucket, count);
    }
    return histogram;
  }

  #addTo(bucket: number, times: number): void {
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + times);
  }
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function medianOf(values: readonly { readonly value: number; readonly count: number }[], count: number): number {
  let seen = 0;
  for (const one of [...values].sort((a, b) => a.value - b.value)) {
    seen += one.count;
    if (seen * 2 >= count) return one.value;
  }
  return 0;
}
