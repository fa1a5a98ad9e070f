/** How many certificates one device may ask for: a token bucket a name, refilled steadily, bounded in memory. */

interface Bucket {
  tokens: number;
  atMs: number;
}

export interface RateLimits {
  /** Steady rate; 0 means no limit at all. */
  readonly perHour: number;
  /** Requests that may come at once after a quiet time. */
  readonly burst: number;
}

/** A device renews every few weeks; twelve in an hour is a device in trouble that still gets help. */
export const DEFAULT_RATE_LIMITS: RateLimits = { perHour: 12, burst: 12 };

const MAX_BUCKETS = 100_000;
const HOUR_MS = 3_600_000;

export class RateLimiter {
  // Insertion order is order of last use: the first is the longest unused.
  readonly #buckets = new Map<string, Bucket>();

  /** @param nowMs monotonic milliseconds */
  constructor(
    private readonly limits: RateLimits,
    private readonly nowMs: () => number,
    private readonly maxBuckets: number = MAX_BUCKETS,
  ) {}

  /** Takes one token. Returns 0 when it was there, else the seconds (1 or more) until it will be. */
  take(name: string): number {
    if (this.limits.perHour === 0) return 0;
    const bucket = this.#refilled(name);
    if (bucket.tokens < 1) return Math.max(1, Math.ceil(((1 - bucket.tokens) * HOUR_MS) / this.limits.perHour / 1000));
    bucket.tokens -= 1;
    return 0;
  }

  /** Gives back a token taken for what turned out to cost nothing. */
  giveBack(name: string): void {
    const bucket = this.#buckets.get(name);
    if (bucket !== undefined) bucket.tokens = Math.min(this.limits.burst, bucket.tokens + 1);
  }

  #refilled(name: string): Bucket {
    const now = this.nowMs();
    const old = this.#buckets.get(name) ?? { tokens: this.limits.burst, atMs: now };
    const gained = (Math.max(0, now - old.atMs) * this.limits.perHour) / HOUR_MS;
    const bucket = { tokens: Math.min(this.limits.burst, old.tokens + gained), atMs: now };
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    this.#forgetOldest();
    return bucket;
  }

  #forgetOldest(): void {
    if (this.#buckets.size <= this.maxBuckets) return;
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest);
      return;
    }
  }
}
