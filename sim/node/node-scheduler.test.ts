import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { nodeScheduler } from "./node-scheduler.js";

const DAY_MS = 86_400_000;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it("runs once, after the delay, and never before it returned", () => {
  const ran: string[] = [];
  nodeScheduler().after(0, () => ran.push("now"));
  nodeScheduler().after(-5, () => ran.push("past"));
  nodeScheduler().after(100, () => ran.push("later"));
  expect(ran).toEqual([]);
  vi.advanceTimersByTime(99);
  expect(ran.sort()).toEqual(["now", "past"]);
  vi.advanceTimersByTime(1_000);
  expect(ran.sort()).toEqual(["later", "now", "past"]);
});

it("keeps delays longer than the 24.8 days that setTimeout can count", () => {
  let runs = 0;
  nodeScheduler().after(100 * DAY_MS, () => (runs += 1));
  vi.advanceTimersByTime(100 * DAY_MS - 1);
  expect(runs).toBe(0);
  vi.advanceTimersByTime(1);
  expect(runs).toBe(1);
  vi.advanceTimersByTime(200 * DAY_MS);
  expect(runs).toBe(1);
});

it("cancels, also in the middle of a long delay, again, and after the run", () => {
  let runs = 0;
  const cancel = nodeScheduler().after(60 * DAY_MS, () => (runs += 1));
  vi.advanceTimersByTime(30 * DAY_MS);
  cancel();
  cancel();
  vi.advanceTimersByTime(90 * DAY_MS);
  expect([runs, vi.getTimerCount()]).toEqual([0, 0]);
  const late = nodeScheduler().after(1, () => (runs += 1));
  vi.advanceTimersByTime(1);
  late();
  expect(runs).toBe(1);
});

it("holds the process unless told not to", () => {
  vi.useRealTimers();
  const before = process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  const timeouts = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length - before;
  const cancelUnheld = nodeScheduler({ keepAlive: false }).after(10_000, () => undefined);
  expect(timeouts()).toBe(0);
  const cancelHeld = nodeScheduler().after(10_000, () => undefined);
  expect(timeouts()).toBe(1);
  cancelUnheld();
  cancelHeld();
});
