import { describe, expect, it } from "vitest";
import { straightLine } from "./straight-line.js";

describe("a straight line through measurements", () => {
  it("has the slope of values that grow evenly, and explains all of them", () => {
    const points = [0, 10, 30, 70].map((atMs) => ({ atMs, value: 5 + 2 * atMs }));
    expect(straightLine(points)).toEqual({ slope: 2, explained: 1 });
  });

  it("explains nothing of values that go up and down again", () => {
    const points = [1, 2, 1, 2, 1].map((value, index) => ({ atMs: index, value }));
    expect(straightLine(points)).toEqual({ slope: 0, explained: 0 });
  });

  it("is flat through equal values", () => {
    expect(straightLine([3, 3, 3].map((value, atMs) => ({ atMs, value })))).toEqual({ slope: 0, explained: 0 });
  });
});
