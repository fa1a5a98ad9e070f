import { expect, test } from "vitest";
import { DAY_MS, LEARNING_DAYS, MAX_KNOWN, RoleProfile } from "./role-profile.js";

const START_MS = Date.parse("2026-11-01T00:00:00Z");
const at = (day: number, hour = 12): number => START_MS + day * DAY_MS + hour * 3_600_000;

/** A day on which 100 windows had about as many messages as given, at noon. */
function live(profile: RoleProfile, day: number, messages: number): ReturnType<RoleProfile["advance"]> {
  const moved = profile.advance(at(day));
  profile.isUnusualHour(at(day));
  for (let window = 0; window < 100; window += 1) profile.add("messages", messages + (window % 10));
  return moved;
}

function learned(days = LEARNING_DAYS, messages = 100): RoleProfile {
  const profile = new RoleProfile();
  for (let day = 0; day < days; day += 1) live(profile, day, messages);
  profile.advance(at(days));
  return profile;
}

test("nothing is normal before a role was seen for three days", () => {
  const profile = new RoleProfile();
  for (let day = 0; day < LEARNING_DAYS; day += 1) {
    live(profile, day, 100);
    expect(profile.normal("messages")).toBeUndefined();
    expect(profile.isNewTopic(`t${day}`)).toBe(false);
  }
  profile.advance(at(LEARNING_DAYS));
  const { median = 0, limit = 0 } = profile.normal("messages") ?? {};
  expect(median).toBeGreaterThan(90);
  expect(median).toBeLessThan(120);
  expect(limit).toBeGreaterThanOrEqual(2 * median);
  expect(limit).toBeLessThan(3 * median);
});

test("days without the role teach nothing, and a clock set back changes nothing", () => {
  const profile = new RoleProfile();
  live(profile, 0, 100);
  for (let day = 1; day < 30; day += 1) profile.advance(at(day));
  profile.advance(at(2));
  expect(profile.daysSeen).toBe(1);
});

test("a few noisy devices do not become normal: what is beyond the limit is not learned", () => {
  const profile = learned();
  const before = profile.normal("messages");
  for (let day = LEARNING_DAYS; day < LEARNING_DAYS + 10; day += 1) {
    live(profile, day, 100);
    for (let window = 0; window < 1000; window += 1) profile.add("messages", 5000);
  }
  profile.advance(at(LEARNING_DAYS + 10));
  expect(profile.normal("messages")).toEqual(before);
});

test("who grows slowly raises the limit by a quarter a day at most, and is told once it has moved far", () => {
  const profile = learned();
  const first = profile.normal("messages")?.limit ?? 0;
  let limit = first;
  const told: number[] = [];
  for (let day = LEARNING_DAYS; day < 60; day += 1) {
    const moved = live(profile, day, Math.floor(limit * 0.95) - 10);
    const now = profile.normal("messages")?.limit ?? 0;
    expect(now).toBeLessThanOrEqual(limit * 1.25 + 1e-9);
    limit = now;
    if (moved.includes("messages")) told.push(limit / first);
  }
  expect(limit).toBeGreaterThan(first * 3);
  expect(told).toHaveLength(1);
  expect(told[0]).toBeGreaterThan(3);
  expect(told[0]).toBeLessThan(3 * 1.25);
});

test("an hour, a topic or a network is new once, when the role is known", () => {
  const profile = learned();
  expect(profile.isUnusualHour(at(3, 12))).toBe(false);
  expect([profile.isUnusualHour(at(3, 3)), profile.isUnusualHour(at(3, 3))]).toEqual([true, false]);
  expect([profile.isNewTopic("devices/{id}/up/a"), profile.isNewTopic("devices/{id}/up/a")]).toEqual([true, false]);
  expect([profile.isNewNetwork("192.0.0.0/16"), profile.isNewNetwork("192.0.0.0/16")]).toEqual([true, false]);
});

test("a role with more topics than are remembered is not judged by them", () => {
  const profile = learned();
  for (let topic = 0; topic < MAX_KNOWN; topic += 1) profile.isNewTopic(`t${topic}`);
  expect(profile.isNewTopic("another")).toBe(false);
  expect(profile.stored.topics).toHaveLength(MAX_KNOWN);
});

test("what is stored is read back, and goes on learning where it stopped", () => {
  const profile = learned(20);
  profile.isNewTopic("a");
  profile.isNewNetwork("192.0.0.0/16");
  const text = JSON.stringify(profile.stored);
  const read = RoleProfile.read(JSON.parse(text));
  expect(JSON.stringify(read.stored)).toBe(text);
  for (const one of [profile, read]) {
    live(one, 20, 150);
    one.advance(at(21));
  }
  expect(read.normal("messages")).toEqual(profile.normal("messages"));
  expect(text.length).toBeLessThan(20_000);
});

test.each<[string, (stored: Record<string, unknown>) => void]>([
  ["days", (stored) => (stored["days"] = Array.from({ length: 16 }, () => ({ day: 1, hours: [] })))],
  ["day", (stored) => (stored["days"] = [{ day: -1, hours: [] }])],
  ["hours", (stored) => (stored["days"] = [{ day: 1, hours: [24] }])],
  ["limit", (stored) => (stored["limits"] = { messages: { value: "1e9", first: 1, median: 1 } })],
  ["endless limit", (stored) => (stored["limits"] = { messages: { value: null, first: 1, median: 1 } })],
  ["topics", (stored) => (stored["topics"] = [1])],
  ["too many topics", (stored) => (stored["topics"] = Array.from({ length: MAX_KNOWN + 1 }, () => "t"))],
  ["count", (stored) => (stored["daysSeen"] = 1.5)],
])("a stored profile with bad %s is refused", (_what, spoil) => {
  const stored = JSON.parse(JSON.stringify(learned().stored)) as Record<string, unknown>;
  spoil(stored);
  expect(() => RoleProfile.read(stored)).toThrow(RangeError);
});
