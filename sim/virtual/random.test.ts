import { describe, expect, it } from "vitest";
import { derivedBytes, SeededRandom } from "./random.js";

describe("seeded random", () => {
  it("gives the same numbers for the same seed, on every engine and in every version", () => {
    const random = new SeededRandom("42");
    expect(Array.from({ length: 4 }, () => random.next())).toMatchInlineSnapshot(`
      [
        680493722,
        3454075875,
        669263202,
        4039063674,
      ]
    `);
    expect(random.fork("device").next()).toBe(new SeededRandom("42/device").next());
  });

  it("is spread evenly enough to trust the plans drawn from it", () => {
    const random = new SeededRandom("spread");
    const counts = new Array<number>(16).fill(0);
    for (let i = 0; i < 16_000; i++) counts[random.between(0, 15)]!++;
    expect(Math.min(...counts)).toBeGreaterThan(850);
    expect(Math.max(...counts)).toBeLessThan(1_150);
  });

  it("derives different bytes from different texts", () => {
    const seen = new Set(Array.from({ length: 20_000 }, (_, i) => derivedBytes(`key ${i}`, 12).join()));
    expect(seen.size).toBe(20_000);
  });
});
