import { describe, expect, it } from "vitest";
import { SeededRandom } from "../random.js";
import { VirtualTime, drainByTurns } from "./virtual-time.js";

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("virtual time", () => {
  it("runs events in the order of their time, and of their insertion at one moment", async () => {
    const time = new VirtualTime(nextTurn, () => undefined);
    const random = new SeededRandom("order");
    const wanted: [number, number][] = [];
    const seen: [number, number][] = [];
    for (let order = 0; order < 2_000; order++) {
      const atMs = random.between(0, 300);
      wanted.push([atMs, order]);
      time.at(atMs, () => seen.push([time.nowMs, order]));
    }
    await time.run(300);
    expect(seen).toEqual(wanted.sort(([a, x], [b, y]) => a - b || x - y));
  });

  it("lets every promise that is ready settle before the next event", async () => {
    for (const drain of [nextTurn, drainByTurns]) {
      const time = new VirtualTime(drain, () => undefined);
      const seen: string[] = [];
      time.after(5, () => {
        void (async () => {
          for (let i = 0; i < 20; i++) await Promise.resolve();
          seen.push(`promise at ${time.nowMs}`);
        })();
      });
      time.after(6, () => seen.push(`event at ${time.nowMs}`));
      await time.run(10);
      expect(seen).toEqual(["promise at 5", "event at 6"]);
    }
  });

  it("forgets what was cancelled, also thousands of times", async () => {
    const time = new VirtualTime(nextTurn, () => undefined);
    let ran = 0;
    const cancels = Array.from({ length: 10_000 }, (_, i) => time.after(1_000 + i, () => ran++));
    for (const cancel of cancels) cancel();
    cancels[0]!();
    time.after(50, () => ran++);
    expect(time.pending).toBe(1);
    await time.run(100_000);
    expect(ran).toBe(1);
    expect(time.nowMs).toBe(100_000);
  });

  it("goes on after an event that throws, and reports it", async () => {
    const errors: unknown[] = [];
    const time = new VirtualTime(nextTurn, (error) => errors.push(error));
    let ran = false;
    time.after(1, () => {
      throw new Error("broken");
    });
    time.after(2, () => (ran = true));
    await time.run(5);
    expect(ran).toBe(true);
    expect(errors).toEqual([new Error("broken")]);
  });
});
