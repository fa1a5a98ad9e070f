import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Backoff, DEFAULT_BACKOFF } from "./backoff.js";

const policy = { baseMs: 1_000, capMs: 120_000, floorMs: 200, stableAfterMs: 30_000 };

describe("Backoff", () => {
  it("doubles the window from the base up to the cap", () => {
    const backoff = new Backoff(policy, () => 0.999_999);
    const delays = Array.from({ length: 10 }, () => Math.round(backoff.next() / 1_000));
    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 64, 120, 120, 120]);
  });

  it("never goes below the floor nor above the cap, whatever the chance", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.999_999_9, noNaN: true }), fc.nat(2_000), (fraction, failures) => {
        const backoff = new Backoff(policy, () => fraction);
        for (let i = 0; i < failures; i++) backoff.next();
        const delayMs = backoff.next();
        expect(delayMs).toBeGreaterThanOrEqual(policy.floorMs);
        expect(delayMs).toBeLessThanOrEqual(policy.capMs);
      }),
      { numRuns: 200 },
    );
  });

  it("puts the jitter on top of what a busy broker asks for", () => {
    expect(new Backoff(policy, () => 0.5).next(60_000)).toBe(60_500);
  });

  it("is reset by a connection that lasted and by no other", () => {
    const backoff = new Backoff(policy, () => 0.5);
    for (let i = 0; i < 5; i++) backoff.next();
    backoff.ended(policy.stableAfterMs - 1);
    expect(backoff.failures).toBe(5);
    backoff.ended(policy.stableAfterMs);
    expect(backoff.failures).toBe(0);
    expect(backoff.next()).toBe(500);
  });

  it("starts anew when told to", () => {
    const backoff = new Backoff(policy, () => 0.5);
    for (let i = 0; i < 5; i++) backoff.next();
    backoff.reset();
    expect([backoff.failures, backoff.next()]).toEqual([0, 500]);
  });

  it("spreads a fleet evenly over the window", () => {
    let state = 1;
    const lcg = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    const buckets = new Array<number>(10).fill(0);
    for (let device = 0; device < 10_000; device++) {
      const backoff = new Backoff({ ...policy, floorMs: 0 }, lcg);
      for (let i = 0; i < 9; i++) backoff.next();
      buckets[Math.min(9, Math.floor(backoff.next() / 12_000))]! += 1;
    }
    for (const count of buckets) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });

  it("has defaults that are in order", () => {
    expect(DEFAULT_BACKOFF.floorMs).toBeLessThan(DEFAULT_BACKOFF.baseMs);
    expect(DEFAULT_BACKOFF.baseMs).toBeLessThan(DEFAULT_BACKOFF.capMs);
  });

  it("takes no connection for stable over which nothing got through, however long it lasted", () => {
    const backoff = new Backoff(DEFAULT_BACKOFF, () => 0.5);
    for (let count = 0; count < 4; count++) {
      backoff.next();
      backoff.ended(3_600_000, false);
    }
    expect(backoff.failures).toBe(4);
    backoff.ended(3_600_000, true);
    expect(backoff.failures).toBe(0);
  });
});
