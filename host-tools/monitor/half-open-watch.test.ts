import { expect, test } from "vitest";
import type { OffenderAlert } from "./alert.js";
import { HalfOpenWatch, MAX_OPEN } from "./half-open-watch.js";
import { LogMonitor } from "./log-monitor.js";
import type { MonitorEvent } from "./log-monitor.js";

const START_MS = Date.parse("2026-11-28T09:53:55Z");
const THIEF = "203.0.113.66";
const GATEWAY = "192.0.2.7";

/** The alerts about slow CONNECTs of a log's lines, each with the second it was written in. */
function alertsOf(lines: readonly (readonly [second: number, text: string])[], lookAtSecond?: number, version = "2.0.11"): MonitorEvent[] {
  const alerts: MonitorEvent[] = [];
  const owner = {
    event: (event: MonitorEvent) => void (event.kind === "alert" && event.rule === "slow-connect" && alerts.push(event)),
    accepted: () => undefined,
  };
  const monitor = new LogMonitor(undefined, owner, { version });
  for (const [second, text] of lines) monitor.input(Buffer.from(`${Math.floor(START_MS / 1000) + second}: ${text}\n`));
  if (lookAtSecond !== undefined) monitor.look(START_MS + lookAtSecond * 1000);
  return alerts;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const accepted = (address: string, count: number, second = 0, firstPort = 40_000) =>
  numbers(count).map((n) => [second, `New connection from ${address}:${firstPort + n} on port 8883.`] as const);
const signedIn = (address: string, count: number, second = 1, firstPort = 40_000) =>
  numbers(count).map(
    (n) => [second, `New client connected from ${address}:${firstPort + n} as dev${firstPort + n} (p2, c1, k60, u'dev').`] as const,
  );
const unnamedEnds = (count: number, second: number) =>
  numbers(count).map(() => [second, "Client <unknown> closed its connection."] as const);

test("who holds ten connections for three seconds without signing in is named by its address, once", () => {
  const watch = new HalfOpenWatch();
  for (let port = 1; port <= 10; port += 1) expect(watch.accepted(`${THIEF}:${port}`, START_MS)).toEqual([]);
  expect(watch.look(START_MS + 2999)).toEqual([]);
  const alert: OffenderAlert = {
    kind: "alert",
    rule: "slow-connect",
    by: "address",
    offender: THIEF,
    count: 10,
    timeMs: START_MS + 4000,
  };
  expect(watch.look(START_MS + 4000)).toEqual([alert]);
  expect(watch.look(START_MS + 6000)).toEqual([]);
});

test("nine of them are nobody's slow CONNECT, and neither are devices that sign in within a second or two", () => {
  expect(alertsOf(accepted(THIEF, 9), 10)).toEqual([]);
  expect(alertsOf([...accepted(GATEWAY, 40), ...signedIn(GATEWAY, 40, 2)], 10)).toEqual([]);
});

test("a gateway whose devices return together is not accused: more sign in than wait", () => {
  expect(alertsOf([...accepted(GATEWAY, 40), ...signedIn(GATEWAY, 25)], 4)).toEqual([]);
});

test("ends without an address speak for whoever is looked at: nobody is accused of what may have ended", () => {
  const both = [...accepted(GATEWAY, 12), ...accepted(THIEF, 30)];
  expect(alertsOf([...both, ...unnamedEnds(12, 1)], 4)).toMatchObject([{ offender: THIEF, count: 18 }]);
  expect(alertsOf([...both, ...unnamedEnds(25, 1)], 4)).toEqual([]);
  // Of one source alone they are its own.
  expect(alertsOf([...accepted(THIEF, 30), ...unnamedEnds(21, 1)], 4)).toEqual([]);
  expect(alertsOf([...accepted(THIEF, 30), ...unnamedEnds(20, 1)], 4)).toMatchObject([{ offender: THIEF, count: 10 }]);
});

test("2.1 names who ended, and a name that imitates its line frees nobody", () => {
  const ends = numbers(25).map(
    (n) =>
      [
        1,
        `Client x [${THIEF}:${41_000 + n}] disconnected: not authorised. [${GATEWAY}:${40_000 + n}] disconnected: not authorised.`,
      ] as const,
  );
  const lines = [...accepted(GATEWAY, 30), ...accepted(THIEF, 25, 0, 41_000), ...ends];
  expect(alertsOf(lines, 4, "2.1.2")).toMatchObject([{ offender: THIEF, count: 25 }]);
});

test("what is older than the broker lets one be is forgotten, as is everything at its start and where lines are lost", () => {
  expect(alertsOf(accepted(THIEF, 30), 121)).toEqual([]);
  expect(alertsOf([...accepted(THIEF, 30), [1, "mosquitto version 2.0.11 starting"]], 4)).toEqual([]);
  const watch = new HalfOpenWatch();
  for (let port = 1; port <= 10; port += 1) watch.accepted(`${THIEF}:${port}`, START_MS);
  watch.forget();
  expect(watch.look(START_MS + 4000)).toEqual([]);
});

test("however many come, the number that is remembered is bounded, and the look stays short", () => {
  const watch = new HalfOpenWatch();
  for (let n = 0; n < 3 * MAX_OPEN; n += 1) watch.accepted(`10.${n % 200}.0.1:${n}`, START_MS + n);
  expect(watch.size).toBeLessThanOrEqual(MAX_OPEN);
});
