/** Counts events of the last minute, of the last hour and of all time, in little memory. */
export interface Recent {
  readonly lastMinute: number;
  readonly lastHour: number;
  readonly total: number;
}

const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
/** A window is this many buckets and the one that has just begun. */
const BUCKETS = 60;

export class RecentCount {
  readonly #minute = new Ring(SECOND_MS);
  readonly #hour = new Ring(MINUTE_MS);
  #total = 0;

  /** @param timeMs by any clock, mostly rising; {@link at} goes by the same */
  add(timeMs: number, count = 1): void {
    this.#total += count;
    this.#minute.add(timeMs, count);
    this.#hour.add(timeMs, count);
  }

  at(nowMs: number): Recent {
    return { lastMinute: this.#minute.at(nowMs), lastHour: this.#hour.at(nowMs), total: this.#total };
  }
}

class Ring {
  readonly #counts = new Float64Array(BUCKETS + 1);
  readonly #widthMs: number;
  #newest = Number.NEGATIVE_INFINITY;

  constructor(widthMs: number) {
    this.#widthMs = widthMs;
  }

  add(timeMs: number, count: number): void {
    const bucket = Math.floor(timeMs / this.#widthMs);
    const from = Math.max(this.#newest + 1, bucket - BUCKETS);
    for (let passed = from; passed <= bucket; passed += 1) this.#counts[slotOf(passed)] = 0;
    this.#newest = Math.max(this.#newest, bucket);
    if (bucket >= this.#newest - BUCKETS) this.#counts[slotOf(bucket)] = (this.#counts[slotOf(bucket)] ?? 0) + count;
  }

  at(nowMs: number): number {
    if (this.#newest === Number.NEGATIVE_INFINITY) return 0;
    const now = Math.floor(nowMs / this.#widthMs);
    let count = 0;
    // What is newer than now (a clock that was set back) counts too.
    const oldest = Math.max(now - BUCKETS, this.#newest - BUCKETS);
    for (let bucket = this.#newest; bucket >= oldest; bucket -= 1) count += this.#counts[slotOf(bucket)] ?? 0;
    return count;
  }
}

function slotOf(bucket: number): number {
  const size = BUCKETS + 1;
  return ((bucket % size) + size) % size;
}
