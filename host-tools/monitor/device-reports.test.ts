import { expect, test } from "vitest";
import { DeviceReports, MAX_REPORT_BYTES } from "./device-reports.js";

const TIME_MS = Date.parse("2026-11-28T09:30:00Z");
const PLACE = "devices/{id}/identity/report";
const bytes = (value: unknown): Uint8Array => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
const DENIED = { v: 1, kind: "denied", count: 2, topic: "devices/pump-1/up/a" };

test("a report has the name of its topic, whatever it says of itself", () => {
  const reports = new DeviceReports(PLACE);
  expect(reports.filter).toBe("devices/+/identity/report");
  const report = bytes({ ...DENIED, client: "pump-2", id: "pump-2", timeMs: 1 });
  expect(reports.read("devices/pump-1/identity/report", report, TIME_MS)).toEqual({
    kind: "report",
    client: "pump-1",
    report: "denied",
    count: 2,
    topic: "devices/pump-1/up/a",
    timeMs: TIME_MS,
  });
  for (const topic of ["devices/a/b/identity/report", "devices/pump-1/identity/reports", "x/devices/pump-1/identity/report"])
    expect(reports.read(topic, report, TIME_MS)).toBeUndefined();
  const deeper = new DeviceReports("sites/+/{id}/report");
  expect([deeper.filter, deeper.read("sites/b.1/d/report", report, TIME_MS)?.client]).toEqual(["sites/+/+/report", "d"]);
});

test.each(["devices/+/report", "{id}/{id}", "devices/{id}x", "devices/{id}/#", ""])("%j is refused as a place of reports", (template) => {
  expect(() => new DeviceReports(template)).toThrow(/invalid place of reports/);
});

test.each([
  "",
  "null",
  "[]",
  "{",
  { ...DENIED, v: 2 },
  { ...DENIED, kind: "toString" },
  { ...DENIED, count: 0 },
  { ...DENIED, count: 1.5 },
  { ...DENIED, topic: "x".repeat(129) },
  { ...DENIED, code: "a line\n" },
  { ...DENIED, more: "x".repeat(MAX_REPORT_BYTES) },
])("%j is not taken for a report", (value) => {
  expect(new DeviceReports(PLACE).read("devices/pump-1/identity/report", bytes(value), TIME_MS)).toBeUndefined();
});

test("a device that reports without end is heard six times an hour, and all devices together are bounded", () => {
  const reports = new DeviceReports(PLACE);
  const heard = (name: string, timeMs: number): boolean =>
    reports.read(`devices/${name}/identity/report`, bytes(DENIED), timeMs) !== undefined;
  const times = Array.from({ length: 100 }, (_, index) => heard("pump-1", TIME_MS + index));
  expect(times.filter((isHeard) => isHeard)).toHaveLength(6);
  expect(heard("pump-2", TIME_MS)).toBe(true);
  expect(heard("pump-1", TIME_MS + 3_600_000)).toBe(true);
  const all = Array.from({ length: 20_000 }, (_, index) => heard(`d${index}`, TIME_MS + 2 * 3_600_000));
  expect(all.filter((isHeard) => isHeard)).toHaveLength(10_000);
});
