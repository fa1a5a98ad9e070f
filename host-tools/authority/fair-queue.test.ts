import { describe, expect, it } from "vitest";
import { FairQueue } from "./fair-queue.js";

describe("FairQueue", () => {
  it("serves one of each name in turn", () => {
    const queue = new FairQueue<string>(10, 10);
    for (const item of ["a1", "a2", "a3", "b1", "c1"]) queue.add(item.slice(0, 1), item);
    const served: (string | undefined)[] = [];
    while (!queue.isEmpty) served.push(queue.take());
    expect(served).toEqual(["a1", "b1", "c1", "a2", "a3"]);
    expect(queue.take()).toBeUndefined();
  });

  it("keeps the newest of a name that asks too often, and turns away names beyond its bound", () => {
    const queue = new FairQueue<number>(2, 2);
    for (const item of [1, 2, 3]) expect(queue.add("a", item)).toBe(true);
    expect(queue.add("b", 4)).toBe(true);
    expect(queue.add("c", 5)).toBe(false);
    expect([queue.take(), queue.take(), queue.take()]).toEqual([2, 4, 3]);
  });
});
