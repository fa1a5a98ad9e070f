/**
 * When to try again: full jitter over a growing window, reset only by a connection that lasted.
 *
 * Full jitter, `random(0, min(cap, base * 2^n))`, is what spreads a fleet after an outage (reference: storm table in the README); a reset
 * by the mere success of connecting would turn a broker that accepts and then drops into a storm.
 */
export interface BackoffPolicy {
  /** The first window, milliseconds. */
  baseMs: number;
  /** The widest window, milliseconds. */
  capMs: number;
  /** No attempt follows another sooner than this, milliseconds. */
  floorMs: number;
  /** How long a connection must have lasted to count as stable, milliseconds. */
  stableAfterMs: number;
}

export const DEFAULT_BACKOFF: BackoffPolicy = { baseMs: 1_000, capMs: 120_000, floorMs: 200, stableAfterMs: 30_000 };

export class Backoff {
  #failures = 0;

  /** @param fraction uniform in [0, 1) */
  constructor(
    private readonly policy: BackoffPolicy,
    private readonly fraction: () => number,
  ) {}

  /** How many attempts in a row have failed, or ended too soon. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * The delay before the next attempt, milliseconds; counts a failure.
   * @param minimumMs what the failure itself asks for (a busy broker, a retry-after); jitter comes on top of it, so that a fleet told the
   *   same number spreads
   */
  next(minimumMs = 0): number {
    const { baseMs, capMs, floorMs } = this.policy;
    // 2^30 is beyond any sensible cap; more would overflow to Infinity and, times a jitter of 0, to NaN.
    const windowMs = Math.min(capMs, baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return Math.max(floorMs, Math.round(minimumMs + this.fraction() * windowMs));
  }

  /**
   * Tells how long the connection that just ended had lasted; a stable one starts the windows anew.
   * @param wasUseful false: messages waited, and none got through. Such a connection is not stable however long it lasted: it ends again
   *   for the same reason
   */
  ended(lastedMs: number, wasUseful = true): void {
    if (wasUseful && lastedMs >= this.policy.stableAfterMs) this.#failures = 0;
  }

  /** Starts anew, for when the ground changed: another credential, a user's wish. */
  reset(): void {
    this.#failures = 0;
  }
}
