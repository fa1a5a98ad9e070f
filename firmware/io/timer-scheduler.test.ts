import { describe, expect, it } from "vitest";
import { ManualTime } from "../../test/support/firmware/manual-timers.js";
import { timerScheduler } from "./timer-scheduler.js";

/** Moddable's timers take 32-bit delays: longer ones come at once. */
function scene() {
  const time = new ManualTime();
  const delays: number[] = [];
  const scheduler = timerScheduler({
    set(callback, delayMs) {
      if (!Number.isInteger(delayMs) || delayMs < 0 || delayMs >= 2 ** 31) throw new RangeError(`no delay: ${delayMs}`);
      delays.push(delayMs);
      return time.scheduler.after(delayMs, callback);
    },
    clear: (cancel) => cancel(),
  });
  return { time, delays, scheduler };
}

describe("timerScheduler", () => {
  it("runs once, when the time has come and not before", () => {
    const { time, scheduler } = scene();
    let runs = 0;
    scheduler.after(100, () => runs++);
    time.advance(99);
    expect(runs).toBe(0);
    time.advance(1_000);
    expect(runs).toBe(1);
  });

  it("waits longer than 32 bits of milliseconds can say", () => {
    const { time, delays, scheduler } = scene();
    const dayMs = 86_400_000;
    let runs = 0;
    scheduler.after(60 * dayMs, () => runs++);
    time.advance(60 * dayMs - 1);
    expect(runs).toBe(0);
    time.advance(1);
    expect(runs).toBe(1);
    expect(delays.length).toBeGreaterThan(1);
  });

  it("can be cancelled in every slice of a long wait, and again after it ran", () => {
    const { time, scheduler } = scene();
    let runs = 0;
    const cancelLate = scheduler.after(2 ** 31, () => runs++);
    time.advance(2 ** 30 + 5);
    cancelLate();
    const cancelAfterwards = scheduler.after(10, () => runs++);
    time.advance(2 ** 32);
    cancelAfterwards();
    cancelLate();
    expect(runs).toBe(1);
    expect(time.pending).toBe(0);
  });

  it("rounds a delay up to whole milliseconds, and takes a negative one for none", () => {
    const { delays, scheduler } = scene();
    scheduler.after(0.2, () => undefined);
    scheduler.after(-5, () => undefined);
    expect(delays).toEqual([1, 0]);
  });
});
