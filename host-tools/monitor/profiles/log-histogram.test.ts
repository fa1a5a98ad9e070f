import fc from "fast-check";
import { expect, test } from "vitest";
import { LogHistogram } from "./log-histogram.js";

const of = (values: readonly number[]): LogHistogram => {
  const histogram = new LogHistogram();
  for (const value of values) histogram.add(value);
  return histogram;
};
const exactMedian = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.ceil(values.length / 2) - 1] ?? 0;

test("the median is within a tenth of the exact one, and is not moved by a minority of absurd values", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 2 ** 30 }), { minLength: 1, maxLength: 200 }), (values) => {
      const { median, count } = of(values).spread ?? { median: 0, count: 0 };
      expect(count).toBe(values.length);
      expect(Math.abs(median / exactMedian(values) - 1)).toBeLessThan(0.1);
    }),
  );
  const odd = of([...Array.from({ length: 100 }, () => 10), ...Array.from({ length: 40 }, () => 1e9)]);
  expect(odd.spread?.median).toBeCloseTo(10, -0.5);
  expect(odd.spread?.mad).toBe(0);
});

test("zero, negative and endless values are counted at the ends", () => {
  expect(of([0, -5, Number.NaN, 0.1]).stored).toEqual([[0, 4]]);
  expect(of([Number.POSITIVE_INFINITY, 1e300]).stored).toEqual([[160, 2]]);
});

test("what is stored is read back, and anything else is refused", () => {
  const histogram = of([1, 5, 5, 1000]);
  expect(LogHistogram.read(JSON.parse(JSON.stringify(histogram.stored)))).toEqual(histogram);
  for (const bad of [
    undefined,
    {},
    [1],
    [[-1, 1]],
    [[161, 1]],
    [[1, -1]],
    [[1, 0.5]],
    [["1", 1]],
    Array.from({ length: 162 }, () => [1, 1]),
  ])
    expect(() => LogHistogram.read(bad)).toThrow(RangeError);
});
