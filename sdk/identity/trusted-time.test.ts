import { describe, expect, it } from "vitest";
import { memoryStorage } from "../../sim/node/memory-stores.js";
import { TrustedTime } from "./trusted-time.js";

const BUILD_MS = Date.UTC(2026, 0, 1);

function clock(): {
  monotonicMs: () => number;
  wallMs: () => number;
  wallTrusted: () => boolean;
  now: number;
  wall: number;
  trusted: boolean;
} {
  const state = {
    now: 5_000,
    wall: 0,
    trusted: false,
    monotonicMs: () => state.now,
    wallMs: () => state.wall,
    wallTrusted: () => state.trusted,
  };
  return state;
}

describe("TrustedTime", () => {
  it("begins at the build time and runs on with the monotonic clock", () => {
    const time = clock();
    const trusted = new TrustedTime(time, memoryStorage(), BUILD_MS);
    time.now += 60_000;
    expect(trusted.nowMs()).toBe(BUILD_MS + 60_000);
  });

  it("ignores a wall clock that nobody vouches for", () => {
    const time = clock();
    time.wall = Date.UTC(2099, 0, 1);
    expect(new TrustedTime(time, memoryStorage(), BUILD_MS).nowMs()).toBe(BUILD_MS);
  });

  it("takes a trusted wall clock, but never one behind what is known to have passed", () => {
    const time = clock();
    time.trusted = true;
    time.wall = BUILD_MS + 1_000;
    const trusted = new TrustedTime(time, memoryStorage(), BUILD_MS);
    expect(trusted.nowMs()).toBe(BUILD_MS + 1_000);
    time.wall = 0;
    expect(trusted.nowMs()).toBe(BUILD_MS);
  });

  it("is at least the start of the device's own certificate", () => {
    const trusted = new TrustedTime(clock(), memoryStorage(), BUILD_MS);
    trusted.atLeast(BUILD_MS + 9_000);
    expect(trusted.nowMs()).toBe(BUILD_MS + 9_000);
    trusted.atLeast(BUILD_MS);
    expect(trusted.nowMs()).toBe(BUILD_MS + 9_000);
  });

  it("survives a reboot and writes to flash at most every six hours", () => {
    const time = clock();
    const storage = memoryStorage();
    let writes = 0;
    const counted = {
      ...storage,
      get: (key: string) => storage.get(key),
      put: (key: string, value: Uint8Array) => (writes++, storage.put(key, value)),
    } as typeof storage;
    const trusted = new TrustedTime(time, counted, BUILD_MS);
    for (let hour = 0; hour < 24; hour++) {
      trusted.save(Infinity);
      time.now += 3_600_000;
    }
    expect(writes).toBe(4);
    expect(new TrustedTime(clock(), storage, 0).nowMs()).toBe(BUILD_MS + 18 * 3_600_000);
  });

  it("stores what was proved and no later than the certificate that the broker accepted, whatever the wall clock says", () => {
    const time = clock();
    const storage = memoryStorage();
    time.trusted = true;
    time.wall = Date.UTC(2099, 0, 1);
    const trusted = new TrustedTime(time, storage, BUILD_MS);
    trusted.save(Date.UTC(2100, 0, 1));
    expect([trusted.nowMs(), trusted.provedMs()]).toEqual([time.wall, BUILD_MS]);
    expect(new TrustedTime(clock(), storage, 0).nowMs()).toBe(BUILD_MS);
    time.now += 2 * 86_400_000;
    trusted.save(BUILD_MS + 86_400_000);
    expect(new TrustedTime(clock(), storage, 0).nowMs()).toBe(BUILD_MS + 86_400_000);
  });

  it("learns from a certificate that was proved, also while a wall clock runs ahead of it", () => {
    const time = clock();
    time.trusted = true;
    time.wall = BUILD_MS + 20_000;
    const trusted = new TrustedTime(time, memoryStorage(), BUILD_MS);
    trusted.atLeast(BUILD_MS + 9_000);
    expect([trusted.nowMs(), trusted.provedMs()]).toEqual([BUILD_MS + 20_000, BUILD_MS + 9_000]);
  });

  it.each(["", "x", "-5", "1e99"])("begins at the build time when the stored one is %j", (text) => {
    const storage = memoryStorage();
    storage.put("time-floor", new TextEncoder().encode(text));
    expect(new TrustedTime(clock(), storage, BUILD_MS).nowMs()).toBe(BUILD_MS);
  });

  it("begins at the build time when the stored one is not even text", () => {
    const storage = memoryStorage();
    storage.put("time-floor", Uint8Array.of(0xff, 0xff));
    expect(new TrustedTime(clock(), storage, BUILD_MS).nowMs()).toBe(BUILD_MS);
  });

  it("forgets a stored time that is later than anything it stores: it is damaged", () => {
    const storage = memoryStorage();
    storage.put("time-floor", new TextEncoder().encode(String(BUILD_MS + 1_000)));
    const trusted = new TrustedTime(clock(), storage, BUILD_MS);
    trusted.notStoredAfter(BUILD_MS + 1_000);
    expect(trusted.nowMs()).toBe(BUILD_MS + 1_000);
    trusted.notStoredAfter(BUILD_MS + 999);
    expect(trusted.nowMs()).toBe(BUILD_MS);
  });

  it("tries again to store what could not be stored", () => {
    const storage = memoryStorage();
    let isFull = true;
    const put = (key: string, value: Uint8Array): void => {
      if (isFull) throw new Error("no room");
      storage.put(key, value);
    };
    const trusted = new TrustedTime(clock(), { get: () => undefined, put, delete: () => undefined, list: () => [] }, BUILD_MS);
    expect(() => trusted.save(Infinity)).toThrow("no room");
    isFull = false;
    trusted.save(Infinity);
    expect(new TextDecoder().decode(storage.get("time-floor"))).toBe(String(BUILD_MS));
  });

  it("never goes back, whatever clocks and certificates say", () => {
    const time = clock();
    const trusted = new TrustedTime(time, memoryStorage(), BUILD_MS);
    let beforeMs = trusted.nowMs();
    for (const step of [
      () => trusted.atLeast(BUILD_MS - 1),
      () => (time.now += 10),
      () => trusted.atLeast(BUILD_MS + 20),
      () => trusted.save(0),
      () => (time.now += 1),
    ]) {
      step();
      expect(trusted.nowMs()).toBeGreaterThanOrEqual(beforeMs);
      beforeMs = trusted.nowMs();
    }
  });
});
