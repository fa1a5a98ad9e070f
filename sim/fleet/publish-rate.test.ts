import { describe, expect, it } from "vitest";
import { PublishRate } from "./publish-rate.js";

const STARTED_MS = 123_456;

/** @param perSecond how many calls in each second of the run */
function rateOf(...perSecond: number[]): number {
  const rate = new PublishRate(STARTED_MS);
  for (const [second, calls] of perSecond.entries())
    for (let n = 0; n < calls; n++) rate.count(STARTED_MS + second * 1_000 + (n * 1_000) / calls);
  return rate.perSecond(STARTED_MS + perSecond.length * 1_000);
}

const seconds = (count: number, calls: number): number[] => Array.from({ length: count }, () => calls);

describe("how fast a device publishes", () => {
  it("is the same however long it goes on", () => {
    for (const count of [6, 9, 10, 11, 30, 300]) expect(rateOf(...seconds(count, 12))).toBe(12);
  });

  it("is that of the busiest ten seconds, wherever they begin", () => {
    expect(rateOf(...seconds(25, 1), ...seconds(10, 20), ...seconds(25, 1))).toBe(20);
  });

  it("does not become less by silence after a burst", () => {
    for (const pause of [0, 5, 9, 10, 11, 60]) expect(rateOf(...seconds(10, 0), 500, ...seconds(pause, 0), 1)).toBeCloseTo(50, 0);
  });

  it("does not add up bursts that are ten seconds apart", () => {
    expect(rateOf(80, ...seconds(9, 0), 80, ...seconds(9, 0), 80)).toBe(8);
    expect(rateOf(80, ...seconds(8, 0), 80, ...seconds(9, 0))).toBe(16);
    expect(rateOf(80, ...seconds(14, 0), 80, ...seconds(27, 0), 80)).toBe(8);
  });

  it("takes what a device publishes when it boots over five seconds at least", () => {
    expect(rateOf(30)).toBe(6);
    expect(rateOf()).toBe(0);
  });
});
