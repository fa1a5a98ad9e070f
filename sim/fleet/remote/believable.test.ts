import { describe, expect, it } from "vitest";
import { believable } from "./believable.js";

const IDS = new Set(["a", "b"]);
const REPORT = {
  kind: "report",
  devices: 2,
  started: 2,
  connected: 2,
  asleep: 0,
  accepted: 3,
  refused: 0,
  waiting: 0,
  connections: 2,
  attempts: 2,
  renewed: 0,
  rssBytes: 1,
  cpuMicros: 1,
  byCredential: { mtls: 2 },
  devicesByCredential: { mtls: 2 },
  failures: {},
  connecting: "",
};
const ACCOUNT = { id: "a", numbered: 3, notAccepted: [1], qos: "012" };
const STOPPED = { kind: "stopped", accounts: [ACCOUNT], report: REPORT };

describe("an answer that came over NATS", () => {
  it("is taken when it speaks of the worker's own devices, and brings no keys", () => {
    const kept = [{ id: "a", records: {}, keys: { "key-a": Uint8Array.of(1) } }];
    expect(believable({ ...STOPPED, kept }, IDS)).toMatchObject({ kind: "stopped", accounts: [ACCOUNT], kept: [] });
    const requests = [...IDS].map((id) => ({ id, csr: Uint8Array.of(1) }));
    expect(believable({ kind: "requests", requests }, IDS)).toEqual({ kind: "requests", requests });
  });

  it.each([
    ["nothing", undefined],
    ["an order", { kind: "prepare" }],
    ["more devices than it was given", { ...REPORT, connected: 3 }],
    ["less than nothing", { ...REPORT, accepted: -1 }],
    ["no number", { ...REPORT, waiting: "0" }],
    ["what no number is", { ...REPORT, waiting: Number.NaN }],
    ["a histogram without end", { ...REPORT, connecting: "x".repeat(100_000) }],
    ["kinds of failures without end", { ...REPORT, failures: Object.fromEntries(Array.from({ length: 2_000 }, (_, n) => [n, 1])) }],
    ["another's account", { ...STOPPED, accounts: [{ ...ACCOUNT, id: "c" }] }],
    ["two accounts of one device", { ...STOPPED, accounts: [ACCOUNT, ACCOUNT] }],
    ["fewer levels than messages", { ...STOPPED, accounts: [{ ...ACCOUNT, qos: "01" }] }],
    ["a level that there is not", { ...STOPPED, accounts: [{ ...ACCOUNT, qos: "013" }] }],
    ["an exemption beyond its messages", { ...STOPPED, accounts: [{ ...ACCOUNT, notAccepted: [3] }] }],
    ["a request for another's certificate", { kind: "requests", requests: ["a", "admin"].map((id) => ({ id, csr: Uint8Array.of(1) })) }],
    ["fewer requests than devices", { kind: "requests", requests: [{ id: "a", csr: Uint8Array.of(1) }] }],
    ["a request that is no bytes", { kind: "requests", requests: [...IDS].map((id) => ({ id, csr: "x" })) }],
  ])("is not taken when it says %s", (_what, answer) => {
    expect(() => believable(answer, IDS)).toThrow(/^it /);
  });
});
