import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CrlKeeper } from "./crl-renewal-timer.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A CA whose lists live for `lifetimeMs`, the present ones until `firstMs` from now. */
function keeper(
  lifetimeMs: number,
  firstMs: number,
): { subject: CrlKeeper; renewedAt: number[]; ca: { nextUpdateMs: number; broken: boolean }; failures: unknown[] } {
  const begunMs = Date.now();
  const ca = { nextUpdateMs: begunMs + firstMs, broken: false };
  const renewedAt: number[] = [];
  const failures: unknown[] = [];
  const subject = new CrlKeeper({
    nextUpdateMs: () => ca.nextUpdateMs,
    renew: async () => {
      if (ca.broken) throw new Error("disk full");
      ca.nextUpdateMs = Date.now() + lifetimeMs;
      return { nextUpdateMs: ca.nextUpdateMs };
    },
    onRenewed: () => renewedAt.push(Date.now() - begunMs),
    onFailed: (error) => failures.push(error),
  });
  return { subject, renewedAt, ca, failures };
}

describe("CrlKeeper", () => {
  test("renews lists of many days once a day", async () => {
    const { subject, renewedAt } = keeper(30 * DAY_MS, 30 * DAY_MS);
    await subject.start();
    await vi.advanceTimersByTimeAsync(3 * DAY_MS);
    expect(renewedAt).toEqual([DAY_MS, 2 * DAY_MS, 3 * DAY_MS]);
  });

  test("renews short lists at half of their life", async () => {
    const { subject, renewedAt } = keeper(2 * HOUR_MS, HOUR_MS);
    await subject.start();
    await vi.advanceTimersByTimeAsync(2 * HOUR_MS);
    expect(renewedAt).toEqual([HOUR_MS / 2, 1.5 * HOUR_MS]);
  });

  test("renews at once what has expired already", async () => {
    const { subject, renewedAt } = keeper(DAY_MS, -1);
    await subject.start();
    expect(renewedAt).toEqual([0]);
  });

  test("leaves lists alone that somebody else has renewed", async () => {
    const { subject, renewedAt, ca } = keeper(4 * HOUR_MS, 2 * HOUR_MS);
    await subject.start();
    ca.nextUpdateMs += 4 * HOUR_MS;
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(renewedAt).toEqual([]);
    await vi.advanceTimersByTimeAsync(3 * HOUR_MS);
    expect(renewedAt).toEqual([3.5 * HOUR_MS]);
  });

  test("tells of a failure and tries again, in time", async () => {
    const { subject, renewedAt, ca, failures } = keeper(2 * HOUR_MS, 2 * HOUR_MS);
    await subject.start();
    ca.broken = true;
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect([failures.length, renewedAt]).toEqual([1, []]);
    ca.broken = false;
    await vi.advanceTimersByTimeAsync(HOUR_MS / 2);
    expect(renewedAt).toEqual([1.5 * HOUR_MS]);
  });

  test("does nothing more after its stop", async () => {
    const { subject, renewedAt } = keeper(2 * HOUR_MS, 2 * HOUR_MS);
    await subject.start();
    subject.stop();
    await vi.advanceTimersByTimeAsync(DAY_MS);
    expect([renewedAt, vi.getTimerCount()]).toEqual([[], 0]);
  });
});
