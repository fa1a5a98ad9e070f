import { expect, test } from "vitest";
import type { MonitorEvent } from "../log-monitor.js";
import { HookQueue, MAX_ATTEMPTS, MAX_WAITING } from "./hook-queue.js";
import type { HookFilter, HookLimits, HookMessage, HookResult, HookTarget, Outcome } from "./hook-queue.js";

const START_MS = Date.parse("2026-11-28T09:53:55Z");
const alert = (number: number): MonitorEvent => ({
  kind: "alert",
  rule: "failed-logins",
  by: "address",
  offender: `192.0.2.${number}`,
  count: 10,
  timeMs: START_MS + number * 1000,
});
const ALERTS: HookFilter = { events: ["alert"] };

/** Stands for what is on the other side: keeps what it is sent, and ends each attempt as it is told. */
class Recorder implements HookTarget {
  readonly attempts: HookMessage[] = [];
  readonly failures: string[] = [];
  readonly results: HookResult[] = [];
  readonly outcomes: Outcome[] = [];
  #looks: (() => void)[] = [];

  send(message: HookMessage): Promise<Outcome> {
    this.attempts.push(message);
    for (const look of this.#looks.splice(0)) look();
    return Promise.resolve(this.outcomes.shift() ?? { kind: "done" });
  }

  get bodies(): Record<string, unknown>[] {
    return this.attempts.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
  }

  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await new Promise<void>((resolve) => this.#looks.push(resolve));
  }

  queue(limits: HookLimits, filter = ALERTS): HookQueue {
    const owner = { failed: (reason: string) => this.failures.push(reason), settled: (result: HookResult) => this.results.push(result) };
    return new HookQueue(this, filter, limits, owner);
  }
}

test("a hook is told at most so many events a minute, and then how many it was not told", async () => {
  const hook = new Recorder();
  const queue = hook.queue({ perMinute: 3, minuteMs: 50 });
  for (let number = 0; number < 100; number += 1) queue.offer(alert(number));
  await hook.until(() => hook.attempts.length === 4);
  const [first, , third, summary] = hook.bodies;
  expect(first).toEqual({
    time: "2026-11-28T09:53:55.000Z",
    event: "alert",
    rule: "failed-logins",
    by: "address",
    offender: "192.0.2.0",
    count: 10,
    severity: "critical",
  });
  expect(third).toMatchObject({ offender: "192.0.2.2" });
  const held = { event: "held-back", count: 97, events: { alert: 97 }, from: "2026-11-28T09:53:58.000Z", to: "2026-11-28T09:55:34.000Z" };
  expect(summary).toMatchObject(held);
  expect(hook.failures).toEqual([expect.stringContaining("3 a minute") as string]);
  queue.offer(alert(1));
  await queue.close();
  expect(hook.bodies[4]).toMatchObject({ offender: "192.0.2.1" });
});

test("what is held back when the monitor stops is counted before it ends", async () => {
  const hook = new Recorder();
  const queue = hook.queue({ perMinute: 1 });
  for (let number = 0; number < 5; number += 1) queue.offer(alert(number));
  await queue.close();
  expect(hook.bodies.slice(1)).toMatchObject([{ event: "held-back", count: 4 }]);
  expect(hook.results.sort()).toEqual(["delivered", "delivered", ...Array.from({ length: 4 }, () => "held_back")]);
});

test.each<[HookFilter, number]>([
  [{ events: ["alert"] }, 1],
  [{ events: ["refused", "connected"] }, 2],
  [{ severity: "warning" }, 2],
  [{ severity: "critical" }, 1],
  [{ severity: "info" }, 3],
  [{ events: ["alert"], rules: ["clone-suspected"] }, 0],
  [{ events: ["alert", "refused"], rules: ["failed-logins"] }, 2],
])("the filter %j lets %i of an alert, a refusal and a connection through", async (filter, count) => {
  const hook = new Recorder();
  const queue = hook.queue({ perMinute: 10 }, filter);
  const events: MonitorEvent[] = [
    alert(1),
    { kind: "refused", reason: "scan", timeMs: START_MS },
    { kind: "connected", address: "::1", timeMs: START_MS },
  ];
  for (const event of events) queue.offer(event);
  await queue.close();
  expect(hook.attempts).toHaveLength(count);
});

test("a device in a new place is a warning, and one that floods is critical", async () => {
  const hook = new Recorder();
  const queue = hook.queue({ perMinute: 10 }, { severity: "critical" });
  const behaviour = {
    kind: "alert",
    by: "client",
    offender: "pump-1",
    role: "pump",
    observed: "..",
    normal: "..",
    timeMs: START_MS,
  } as const;
  for (const rule of ["new-network", "new-topic", "unusual-hour", "silent", "role-drift", "message-rate"] as const)
    queue.offer({ ...behaviour, rule });
  await queue.close();
  expect(hook.bodies).toMatchObject([{ rule: "message-rate", severity: "critical" }]);
});

test("a delivery that failed in passing is tried again under the same id, and the failure is said once", async () => {
  const hook = new Recorder();
  hook.outcomes.push({ kind: "retry", reason: "it answered 503" }, { kind: "retry", reason: "it answered 503", afterMs: 1 });
  const queue = hook.queue({ perMinute: 10, backoff: { baseMs: 1, capMs: 2 } });
  queue.offer(alert(1));
  queue.offer(alert(2));
  await queue.close();
  const ids = hook.attempts.map(({ id }) => id);
  expect(new Set(ids.slice(0, 3)).size).toBe(1);
  expect(ids[3]).not.toBe(ids[0]);
  expect(hook.failures).toEqual(["it answered 503"]);
});

test("what was given up is in the next count", async () => {
  const hook = new Recorder();
  hook.outcomes.push({ kind: "failed", reason: "it answered 400" });
  hook.outcomes.push(...Array.from({ length: MAX_ATTEMPTS }, () => ({ kind: "retry", reason: "it answered 500" }) as const));
  const queue = hook.queue({ perMinute: 2, minuteMs: 1_000, backoff: { baseMs: 0, capMs: 0 } });
  queue.offer(alert(1));
  queue.offer(alert(2));
  await hook.until(() => hook.attempts.length === MAX_ATTEMPTS + 2);
  expect(hook.bodies.at(-1)).toMatchObject({ event: "held-back", count: 2 });
  await queue.close();
  expect(hook.results).toEqual(["failed", "failed", "delivered"]);
});

test("a hook that never answers holds no more than the queue, and a stop does not wait for it for ever", async () => {
  const failures: string[] = [];
  const owner = { failed: (reason: string) => failures.push(reason), settled: () => undefined };
  const deaf: HookTarget = {
    send: (_message, stop) => new Promise((resolve) => stop.addEventListener("abort", () => resolve({ kind: "retry", reason: "stopped" }))),
  };
  const queue = new HookQueue(deaf, ALERTS, { perMinute: 600, graceMs: 20 }, owner);
  for (let number = 0; number < 5000; number += 1) queue.offer(alert(1));
  expect(queue.waiting).toBe(MAX_WAITING);
  await queue.close();
  expect(failures.at(-1)).toBe("5000 events were not delivered before the stop");
});
