import { describe, expect, test } from "vitest";
import { RateLimiter } from "./rate-limiter.js";

const HOUR_MS = 3_600_000;

function limiterAt(
  limits: { perHour: number; burst: number },
  maxBuckets?: number,
): { limiter: RateLimiter; advance: (ms: number) => void } {
  let nowMs = 5_000;
  return { limiter: new RateLimiter(limits, () => nowMs, maxBuckets), advance: (ms) => (nowMs += ms) };
}

describe("RateLimiter", () => {
  test("lets a burst through and then says how long to wait", () => {
    const { limiter, advance } = limiterAt({ perHour: 12, burst: 3 });
    expect([limiter.take("a"), limiter.take("a"), limiter.take("a")]).toEqual([0, 0, 0]);
    expect(limiter.take("a")).toBe(300);
    advance(299_000);
    expect(limiter.take("a")).toBe(1);
    advance(1_000);
    expect(limiter.take("a")).toBe(0);
  });

  test("never lets more through in an hour than the rate and the burst", () => {
    const { limiter, advance } = limiterAt({ perHour: 12, burst: 12 });
    let passed = 0;
    for (let minute = 0; minute < 60; minute += 1) {
      for (let i = 0; i < 5; i += 1) if (limiter.take("a") === 0) passed += 1;
      advance(HOUR_MS / 60);
    }
    expect(passed).toBe(23);
  });

  test("keeps devices apart", () => {
    const { limiter } = limiterAt({ perHour: 1, burst: 1 });
    expect(limiter.take("a")).toBe(0);
    expect(limiter.take("a")).toBe(3600);
    expect(limiter.take("b")).toBe(0);
  });

  test("gives a token back, never above the burst", () => {
    const { limiter } = limiterAt({ perHour: 1, burst: 1 });
    limiter.take("a");
    limiter.giveBack("a");
    limiter.giveBack("a");
    expect(limiter.take("a")).toBe(0);
    expect(limiter.take("a")).toBeGreaterThan(0);
  });

  test("knows no limit at a rate of 0", () => {
    const { limiter } = limiterAt({ perHour: 0, burst: 1 });
    expect(Array.from({ length: 50 }, () => limiter.take("a")).every((wait) => wait === 0)).toBe(true);
  });

  test("forgets the longest unused name when its memory is full", () => {
    const { limiter } = limiterAt({ perHour: 1, burst: 1 }, 2);
    limiter.take("a");
    limiter.take("b");
    limiter.take("c");
    expect(limiter.take("c")).toBeGreaterThan(0);
    expect(limiter.take("b")).toBeGreaterThan(0);
    expect(limiter.take("a")).toBe(0);
  });
});
