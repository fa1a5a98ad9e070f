/** The bytes that one network sends over all its connections: who opens more of them sends no faster. */
import { networkOf } from "./half-open.js";

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Networks that sent nothing for longest are forgotten above this. */
const MAX_BUCKETS = 10_000;

export class NetworkBytes {
  readonly #buckets = new Map<string, Bucket>();

  constructor(private readonly nowMs: () => number = () => performance.now()) {}

  /**
   * Counts bytes from an address; returns the seconds after which they are paid for, 0 while the rate is kept.
   * @param rate bytes a second; a second's worth may come at once
   */
  take(address: string, sizeBytes: number, rate: number): number {
    const network = networkOf(address);
    const nowMs = this.nowMs();
    const bucket = this.#buckets.get(network) ?? { tokens: rate, atMs: nowMs };
    bucket.tokens = Math.min(rate, bucket.tokens + ((nowMs - bucket.atMs) * rate) / 1_000) - sizeBytes;
    bucket.atMs = nowMs;
    // The one that has been silent longest stands first.
    this.#buckets.delete(network);
    this.#buckets.set(network, bucket);
    const [silent] = this.#buckets.size > MAX_BUCKETS ? this.#buckets.keys() : [];
    if (silent !== undefined) this.#buckets.delete(silent);
    return Math.max(0, -bucket.tokens / rate);
  }
}
