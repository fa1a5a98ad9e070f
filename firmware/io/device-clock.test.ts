import { describe, expect, it } from "vitest";
import { DeviceClock } from "./device-clock.js";

function scene({ ticks = 0, systemMs = 0, systemTrusted = false } = {}) {
  const now = { ticks, systemMs };
  const systemSet: number[] = [];
  const setSystemSeconds = (seconds: number): void => void systemSet.push(seconds);
  const clock = new DeviceClock({ ticks: () => now.ticks, systemMs: () => now.systemMs, setSystemSeconds, systemTrusted });
  return { now, clock, systemSet };
}

describe("DeviceClock", () => {
  it("goes on where the chip's signed 32-bit ticks turn negative, after 25 days", () => {
    const { now, clock } = scene({ ticks: 2 ** 31 - 1_000 });
    now.ticks = -(2 ** 31) + 500;
    expect(clock.monotonicMs()).toBe(1_500);
  });

  it("goes on where they come back to zero, after 50 days", () => {
    const { now, clock } = scene({ ticks: -10 });
    now.ticks = 15;
    expect(clock.monotonicMs()).toBe(25);
  });

  it("counts years of ticks", () => {
    const { now, clock } = scene();
    const dayMs = 86_400_000;
    for (let day = 1; day <= 3_650; day++) {
      now.ticks = (day * dayMs) | 0;
      clock.monotonicMs();
    }
    expect(clock.monotonicMs()).toBe(3_650 * dayMs);
  });

  it("stands still while the time of day it counts by is set back, and goes on from there", () => {
    const { now, clock } = scene({ ticks: 1_800_000_000_000 });
    now.ticks += 5_000;
    expect(clock.monotonicMs()).toBe(5_000);
    now.ticks -= 3_600_000;
    expect(clock.monotonicMs()).toBe(5_000);
    now.ticks += 1_000;
    expect(clock.monotonicMs()).toBe(6_000);
  });

  it("trusts no wall clock until it was set", () => {
    const { now, clock, systemSet } = scene({ systemMs: 42 });
    expect(clock.wallTrusted()).toBe(false);
    expect(clock.wallMs()).toBe(42);
    now.ticks = 10_000;
    clock.setWallStart(1_800_000_000_000);
    expect(clock.wallTrusted()).toBe(true);
    expect(clock.wallMs()).toBe(1_800_000_010_000);
    expect(systemSet).toEqual([1_800_000_010]);
    now.ticks = 10_500;
    expect(clock.wallMs()).toBe(1_800_000_010_500);
  });

  it("trusts an operating system's clock", () => {
    const { clock } = scene({ systemMs: 42, systemTrusted: true });
    expect(clock.wallTrusted()).toBe(true);
    expect(clock.wallMs()).toBe(42);
  });
});
