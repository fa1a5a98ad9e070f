import { expect, test } from "vitest";
import type { BrokerEvent } from "./log-events.js";
import { MAX_REMEMBERED, OffenderWatch } from "./offender-watch.js";
import type { OffenderAlert } from "./alert.js";

const START_MS = Date.parse("2026-11-28T09:53:55Z");
const alertsOf = (events: readonly BrokerEvent[], watch = new OffenderWatch()): OffenderAlert[] =>
  events.map((event) => watch.event(event)).filter((alert) => alert !== undefined);
const times = (count: number, gapMs: number, event: (timeMs: number) => BrokerEvent): BrokerEvent[] =>
  Array.from({ length: count }, (_, index) => event(START_MS + index * gapMs));
const refused = (timeMs: number): BrokerEvent => ({
  kind: "refused",
  reason: "password",
  claimedClient: "pump-1",
  address: "192.0.2.7",
  timeMs,
});

test("the tenth failed login from one address is an alert, and the next ninety are not", () => {
  expect(alertsOf(times(9, 1000, refused))).toEqual([]);
  const expected = { kind: "alert", rule: "failed-logins", by: "address", offender: "192.0.2.7", count: 10, timeMs: START_MS + 9000 };
  expect(alertsOf(times(100, 1000, refused))).toEqual([expected]);
});

test("a device that fails now and then is no offender: scores decay", () => {
  expect(alertsOf(times(500, 5 * 60_000, refused))).toEqual([]);
});

test("without an address the name that the sender gives itself is named as such", () => {
  const alerts = alertsOf(times(10, 100, (timeMs) => ({ kind: "refused", reason: "psk", claimedClient: "pump-1", timeMs })));
  expect(alerts).toMatchObject([{ by: "claimedClient", offender: "pump-1" }]);
});

test("scans and too many connections are no failed logins", () => {
  expect(alertsOf(times(100, 10, (timeMs) => ({ kind: "refused", reason: "scan", address: "192.0.2.7", timeMs })))).toEqual([]);
});

test("denied publishes and takeovers are counted for each client", () => {
  const denied = times(20, 1000, (timeMs) => ({ kind: "denied", client: "pump-1", topic: "devices/pump-2/up/a", sizeBytes: 1, timeMs }));
  const taken = times(3, 20_000, (timeMs) => ({ kind: "taken-over", client: "pump-2", timeMs }));
  const others = times(60, 1000, (timeMs) => ({ kind: "taken-over", client: `pump-${timeMs}`, timeMs }));
  expect(alertsOf([...denied, ...taken, ...others])).toMatchObject([
    { rule: "denied-publishes", by: "client", offender: "pump-1", count: 20 },
    { rule: "clone-suspected", by: "client", offender: "pump-2", count: 3 },
  ]);
});

test("somebody who invents a name for each attempt neither fills the memory nor makes an offender forgotten", () => {
  const watch = new OffenderWatch();
  const invented = (from: number, count: number): BrokerEvent[] =>
    Array.from({ length: count }, (_, index) => ({
      kind: "refused",
      reason: "password",
      claimedClient: `x${from + index}`,
      timeMs: START_MS,
    }));
  alertsOf(times(9, 1, refused), watch);
  for (let turn = 0; turn < 10; turn += 1) alertsOf(invented(turn * MAX_REMEMBERED, MAX_REMEMBERED), watch);
  expect(watch.remembered).toBeLessThanOrEqual(MAX_REMEMBERED);
  expect(alertsOf([refused(START_MS)], watch)).toHaveLength(1);
});

test("the highest scores of all rules come first, whether or not they are alerts yet", () => {
  const watch = new OffenderWatch();
  alertsOf(times(4, 1000, refused), watch);
  alertsOf(
    times(7, 1000, (timeMs) => ({ kind: "denied", client: "pump 2", topic: "a", sizeBytes: 1, timeMs })),
    watch,
  );
  for (let number = 0; number < 50; number += 1) alertsOf([{ kind: "taken-over", client: `pump-${number}`, timeMs: START_MS }], watch);
  const [first, second, ...rest] = watch.top(5, START_MS);
  expect([first, second]).toMatchObject([
    { rule: "denied-publishes", by: "client", offender: "pump 2" },
    { rule: "failed-logins", by: "address", offender: "192.0.2.7" },
  ]);
  expect(rest.map(({ rule, score }) => `${rule} ${score}`)).toEqual(Array.from({ length: 3 }, () => "clone-suspected 1"));
  expect(watch.top(5, START_MS + 60 * 60_000)).toEqual([]);
});
