import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { MonitorState } from "./monitor-state.js";

const START_MS = Date.parse("2026-11-28T09:53:55Z");
const ROLES = { roleOf: () => "pump", limitsOf: () => ({}) };

function place(): string {
  const directory = mkdtempSync(join(tmpdir(), "hawser-state-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, "normal.json");
}

function opened(path: string): MonitorState {
  const state = new MonitorState(path, ROLES);
  onTestFinished(() => state.close());
  return state;
}

const refuse = (state: MonitorState): unknown =>
  state.offenders.event({ kind: "refused", reason: "password", address: "192.0.2.7", timeMs: START_MS });

test("scores and what was learned survive a restart, and an offender is not told again", () => {
  const path = place();
  const first = new MonitorState(path, ROLES);
  for (let failure = 0; failure < 9; failure += 1) expect(refuse(first)).toBeUndefined();
  first.behaviour.event({ kind: "connected", client: "pump-1", address: "192.0.2.7", timeMs: START_MS });
  first.behaviour.published({ kind: "published", client: "pump-1", topic: "a", sizeBytes: 7, timeMs: START_MS });
  first.save();
  first.close();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const second = new MonitorState(path, ROLES);
  expect(second.behaviour.stored).toMatchObject({ pump: { topics: ["a"], networks: ["192.0.0.0/16"] } });
  expect(refuse(second)).toMatchObject({ rule: "failed-logins", offender: "192.0.2.7", count: 10 });
  second.save();
  second.close();
  expect(refuse(opened(path))).toBeUndefined();
});

test("a file that others may write, or that the monitor did not write, is refused and left alone", () => {
  const path = place();
  const state = new MonitorState(path, ROLES);
  refuse(state);
  state.behaviour.event({ kind: "connected", client: "pump-1", address: "192.0.2.7", timeMs: START_MS });
  state.save();
  state.close();
  const good = readFileSync(path, "utf8");
  const refusal = expect.objectContaining({ code: "MONITOR_STATE_INVALID" }) as unknown;
  chmodSync(path, 0o620);
  expect(() => opened(path)).toThrow(refusal);
  chmodSync(path, 0o600);
  const bad = [
    "",
    good.slice(0, -10),
    good.replace('"v":1', '"v":2'),
    good.replace('"failed-logins"', '"toString"'),
    good.replace("address 192", "nothing 192"),
    good.replace('"days":[', '"days":[7,'),
    good.replace('"roles":{', `"roles":{${Array.from({ length: 70 }, (_, role) => `"r${role}":{}`).join()},`),
  ];
  for (const text of bad) {
    expect(text).not.toBe(good);
    writeFileSync(path, text);
    expect(() => opened(path)).toThrow(refusal);
    expect(readFileSync(path, "utf8")).toBe(text);
  }
  writeFileSync(path, good);
  expect(opened(path).behaviour.stored).toHaveProperty("pump");
});

test("two monitors do not share a file", () => {
  const path = place();
  opened(path);
  expect(() => opened(path)).toThrow(expect.objectContaining({ code: "EVENTS_IN_USE" }));
});

test("what changed is written once a minute", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const path = place();
  const state = opened(path);
  refuse(state);
  vi.advanceTimersByTime(59_999);
  state.saveNowAndThen();
  expect(existsSync(path)).toBe(false);
  vi.advanceTimersByTime(1);
  state.saveNowAndThen();
  expect(readFileSync(path, "utf8")).toContain("192.0.2.7");
});
