import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { BehaviourAlert } from "../alert.js";
import { BehaviourWatch, MAX_AN_HOUR, MAX_DEVICES, networkOf, UNKNOWN_ROLE } from "./behaviour-watch.js";
import type { Roles, StaticLimits } from "./behaviour-watch.js";
import { DAY_MS } from "./role-profile.js";

const START_MS = Date.parse("2026-11-01T00:00:00Z");
const MINUTE_MS = 60_000;
const DAYS = 5;
/** Where a learned role is tried: noon of the day after. */
const NOW_MS = START_MS + DAYS * DAY_MS + 12 * 60 * MINUTE_MS;

const rolesWith = (limits: StaticLimits = {}): Roles => ({
  roleOf: (name) => (name.startsWith("pump") ? "pump" : undefined),
  limitsOf: (role) => (role === "pump" ? limits : {}),
});

const connect = (watch: BehaviourWatch, client: string, timeMs: number, address = "192.0.2.7"): BehaviourAlert[] =>
  watch.event({ kind: "connected", client, user: client, address, timeMs });
const publish = (
  watch: BehaviourWatch,
  client: string,
  timeMs: number,
  topic = `devices/${client}/up/a`,
  sizeBytes = 100,
): BehaviourAlert[] => watch.published({ kind: "published", client, topic, sizeBytes, timeMs });

/** Ten pumps that connect in the morning and publish once a minute from 8 to 16 o'clock, for five days. */
function learned(limits?: StaticLimits): BehaviourWatch {
  const watch = new BehaviourWatch(rolesWith(limits));
  for (let day = 0; day < DAYS; day += 1) {
    const morningMs = START_MS + day * DAY_MS + 8 * 60 * MINUTE_MS;
    for (let pump = 0; pump < 10; pump += 1) connect(watch, `pump-${pump}`, morningMs);
    for (let minute = 1; minute < 480; minute += 1)
      for (let pump = 0; pump < 10; pump += 1) publish(watch, `pump-${pump}`, morningMs + minute * MINUTE_MS);
    for (let pump = 0; pump < 10; pump += 1)
      watch.event({ kind: "disconnected", client: `pump-${pump}`, timeMs: morningMs + 480 * MINUTE_MS });
  }
  return watch;
}

test("a fleet that lives as always raises no alert, while it is learned and after", () => {
  const watch = learned();
  const alerts = connect(watch, "pump-1", NOW_MS);
  for (let minute = 1; minute < 60; minute += 1) alerts.push(...publish(watch, "pump-1", NOW_MS + minute * MINUTE_MS));
  expect([...alerts, ...watch.look(NOW_MS + 60 * MINUTE_MS)]).toEqual([]);
});

test("an alert says what was done and what was normal, once an hour", () => {
  const watch = learned();
  connect(watch, "pump-1", NOW_MS);
  const alerts = Array.from({ length: 1000 }, (_, index) => publish(watch, "pump-1", NOW_MS + index * 100)).flat();
  expect(alerts).toEqual([
    {
      kind: "alert",
      rule: "message-rate",
      by: "client",
      offender: "pump-1",
      role: "pump",
      observed: "31 messages within 10 minutes",
      normal: "9.5, at most 30 (5 days)",
      timeMs: NOW_MS + 3000,
    },
  ]);
  expect(publish(watch, "pump-1", NOW_MS + 60 * MINUTE_MS)).toEqual([]);
});

test.each<[string, (watch: BehaviourWatch) => BehaviourAlert[], string, string]>([
  [
    "message-size",
    (watch) => publish(watch, "pump-1", NOW_MS, undefined, 5000),
    "a message of 5000 bytes",
    "108 bytes, at most 256 (5 days)",
  ],
  [
    "connect-rate",
    (watch) => Array.from({ length: 8 }, () => connect(watch, "pump-1", NOW_MS)).flat(),
    "6 connections within 10 minutes",
    "1, at most 5 (5 days)",
  ],
  ["new-topic", (watch) => publish(watch, "pump-1", NOW_MS, "devices/pump-1/debug"), "published to devices/{id}/debug", "5 days"],
  ["new-network", (watch) => connect(watch, "pump-1", NOW_MS, "203.0.113.7"), "connected from 203.0.0.0/16", "5 days"],
  ["unusual-hour", (watch) => connect(watch, "pump-1", NOW_MS - 9 * 60 * MINUTE_MS), "active at 03:00 UTC", "never active then in 5 days"],
])("%s is told", (rule, act, observed, normal) => {
  const watch = learned();
  if (rule !== "unusual-hour") expect(connect(watch, "pump-1", NOW_MS)).toEqual([]);
  expect(act(watch)).toMatchObject([{ rule, offender: "pump-1", observed, normal: expect.stringContaining(normal) as string }]);
});

test("denied publishes are told where the role had none", () => {
  const watch = learned();
  const denied = (timeMs: number): BehaviourAlert[] => watch.event({ kind: "denied", client: "pump-1", topic: "a", sizeBytes: 1, timeMs });
  connect(watch, "pump-1", NOW_MS);
  const normal = "0, at most 5 (5 days)";
  expect(Array.from({ length: 50 }, () => denied(NOW_MS)).flat()).toMatchObject([
    { rule: "denied-rate", observed: "6 denied publishes within 10 minutes", normal },
  ]);
});

test("a connected device that stops to speak is told once, until it speaks again; one that left is not", () => {
  const watch = learned();
  for (const client of ["pump-1", "pump-2"]) {
    connect(watch, client, NOW_MS);
    publish(watch, client, NOW_MS);
  }
  watch.event({ kind: "disconnected", client: "pump-2", timeMs: NOW_MS });
  expect(watch.look(NOW_MS + 10 * MINUTE_MS)).toEqual([]);
  const silent = { rule: "silent", offender: "pump-1", observed: "connected, and no message for 1200 s" };
  expect(watch.look(NOW_MS + 20 * MINUTE_MS)).toMatchObject([{ ...silent, normal: expect.stringMatching(/every 6\d s/) as string }]);
  expect(watch.look(NOW_MS + 200 * MINUTE_MS)).toEqual([]);
});

test("a fleet that goes silent together is one alert about the role", () => {
  const watch = learned();
  for (let pump = 0; pump < 50; pump += 1) {
    connect(watch, `pump-${pump}`, NOW_MS);
    publish(watch, `pump-${pump}`, NOW_MS);
  }
  const together = { rule: "silent", by: "role", offender: "pump", observed: "50 devices are connected and went silent together" };
  expect(watch.look(NOW_MS + 20 * MINUTE_MS)).toMatchObject([together]);
});

test("the policy's limits hold from the first day", () => {
  const watch = new BehaviourWatch(rolesWith({ messagesPerSecond: 1, packetBytes: 1000 }));
  connect(watch, "pump-1", START_MS);
  const alerts = Array.from({ length: 601 }, (_, index) => publish(watch, "pump-1", START_MS + index * 100)).flat();
  alerts.push(...publish(watch, "pump-1", START_MS + MINUTE_MS, undefined, 1001));
  expect(alerts).toMatchObject([
    { rule: "message-rate", normal: "the policy's 1 a second" },
    { rule: "message-size", normal: "the policy's 1000 bytes" },
  ]);
});

test("what befalls a whole fleet does not bury the rest: each rule has its share of an hour", () => {
  const watch = learned();
  const alerts: BehaviourAlert[] = [];
  for (let pump = 0; pump < 300; pump += 1) {
    connect(watch, `pump-${pump}`, NOW_MS);
    alerts.push(...publish(watch, `pump-${pump}`, NOW_MS, undefined, 9000));
  }
  expect(alerts).toHaveLength(MAX_AN_HOUR);
  expect(alerts.at(-1)?.observed).toContain("left out");
  expect(connect(watch, "pump-1", NOW_MS, "203.0.113.7")).toMatchObject([{ rule: "new-network" }]);
});

test("who was not let in is not looked at, and teaches nothing", () => {
  const watch = new BehaviourWatch(rolesWith());
  publish(watch, "pump-1", START_MS);
  watch.event({ kind: "refused", reason: "password", claimedClient: "pump-1", timeMs: START_MS });
  watch.event({ kind: "denied", client: "pump-1", topic: "a", sizeBytes: 1, timeMs: START_MS });
  expect([watch.remembered, watch.stored]).toEqual([0, {}]);
  connect(watch, "stranger", START_MS);
  expect(Object.keys(watch.stored)).toEqual([UNKNOWN_ROLE]);
});

test("a hundred thousand devices are remembered within 64 MiB, and no more than the bound", () => {
  const watch = new BehaviourWatch(rolesWith());
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const heap = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = heap();
  for (let device = 0; device < 100_000; device += 1) {
    connect(watch, `pump-${device}`, START_MS);
    publish(watch, `pump-${device}`, START_MS);
  }
  expect(watch.remembered).toBe(100_000);
  expect((heap() - before) / 2 ** 20).toBeLessThan(64);
  for (let device = 100_000; device <= MAX_DEVICES; device += 1) connect(watch, `pump-${device}`, START_MS);
  expect(watch.remembered).toBe(MAX_DEVICES);
});

test.each([
  ["192.0.2.7", "192.0.0.0/16"],
  ["::ffff:192.0.2.7", "192.0.0.0/16"],
  ["2001:db8:1:2::7", "2001:db8::/32"],
  ["2001:db8::7", "2001:db8::/32"],
  ["::1", "0:0::/32"],
])("%s belongs to %s", (address, network) => expect(networkOf(address)).toBe(network));
