import { expect, test } from "vitest";
import type { DeviceEvent, DeviceListener } from "../events.js";
import { reportTrouble } from "./trouble-reports.js";
import type { ReportOptions } from "./trouble-reports.js";

const HOUR_MS = 3_600_000;
const CONNECTED: DeviceEvent = {
  type: "connected",
  credential: "mtls",
  protocolVersion: 5,
  sessionPresent: false,
  tlsVersion: "TLSv1.3",
  resumed: false,
};
const DISCONNECTED: DeviceEvent = {
  type: "disconnected",
  code: "CONNECTION_RESET",
  class: "network",
  message: "",
  credential: "mtls",
  wasConnected: true,
};
const RECOVERY: DeviceEvent = { type: "credential-changed", from: "mtls", to: "psk", code: "CERTIFICATE_REVOKED", message: "" };
const denied = (topic: string): DeviceEvent => ({ type: "message-dropped", topic, code: "NOT_AUTHORIZED" });

/** A device as far as reports know one. */
function place(options?: ReportOptions) {
  const listeners = new Set<DeviceListener>();
  const sent: { topic: unknown; qos: unknown; text: string }[] = [];
  const at = { nowMs: 0, fails: false };
  const device = {
    listen: (listener: DeviceListener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    publish: (topic: unknown, payload: unknown, given?: { qos?: number }) => {
      if (at.fails) return Promise.reject(new Error("offline"));
      sent.push({ topic, qos: given?.qos, text: String(payload) });
      return Promise.resolve({});
    },
  };
  const end = reportTrouble(device as Parameters<typeof reportTrouble>[0], { monotonicMs: () => at.nowMs }, options);
  const tell = (...events: DeviceEvent[]): void => events.forEach((event) => listeners.forEach((listener) => listener(event)));
  return { at, sent, end, tell, reports: () => sent.map(({ text }) => JSON.parse(text) as unknown) };
}

test("a denied publish is reported at once, at QoS 0 below the identity, and the next ones an hour later with their count", () => {
  const { at, sent, tell, reports } = place();
  tell(CONNECTED, denied("devices/d/up/a"), denied("devices/d/up/b"), denied("devices/d/up/c"));
  expect(sent).toHaveLength(1);
  expect(sent[0]).toMatchObject({ topic: "identity/report", qos: 0 });
  at.nowMs = HOUR_MS - 1;
  tell(CONNECTED);
  expect(sent).toHaveLength(1);
  at.nowMs = HOUR_MS;
  tell(CONNECTED);
  expect(reports()).toEqual([
    { v: 1, kind: "denied", count: 1, topic: "devices/d/up/a" },
    { v: 1, kind: "denied", count: 2, topic: "devices/d/up/b" },
  ]);
});

test("a recovery and a wrong clock are reported once the certificate serves again, and not over the pre-shared key", () => {
  const { sent, tell, reports } = place();
  tell({ ...DISCONNECTED, code: "SERVER_CERTIFICATE_NOT_YET_VALID", class: "server-trust" } as DeviceEvent, RECOVERY);
  tell({ ...CONNECTED, credential: "psk" }, DISCONNECTED);
  expect(sent).toEqual([]);
  tell(CONNECTED);
  expect(reports()).toEqual([
    { v: 1, kind: "clock", count: 1, code: "SERVER_CERTIFICATE_NOT_YET_VALID" },
    { v: 1, kind: "recovery", count: 1, code: "CERTIFICATE_REVOKED" },
  ]);
});

test("nothing else is reported, whatever else goes wrong", () => {
  const { sent, tell } = place();
  tell(DISCONNECTED, CONNECTED, { type: "message-dropped", topic: "t", code: "BUFFER_FULL" }, { ...RECOVERY, from: "psk", to: "mtls" });
  expect(sent).toEqual([]);
});

test("a report that could not be sent is told with the next, with both counts and the first topic", async () => {
  const { at, tell, reports } = place({ everyMs: 1000, topic: { absolute: "fleet/d/report" } });
  at.fails = true;
  tell(CONNECTED, denied("a"));
  await Promise.resolve();
  await Promise.resolve();
  at.fails = false;
  at.nowMs = 1000;
  tell(denied("b"));
  expect(reports()).toEqual([{ v: 1, kind: "denied", count: 2, topic: "a" }]);
});

test("the longest topic makes a small report, and nothing is reported after the end", () => {
  const { sent, tell, end } = place();
  tell(CONNECTED, denied("x".repeat(60_000)));
  expect(sent[0]?.text.length).toBeLessThan(256);
  end();
  tell(RECOVERY, CONNECTED);
  expect(sent).toHaveLength(1);
});
