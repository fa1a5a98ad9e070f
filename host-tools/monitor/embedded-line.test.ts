import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ENDS, readEmbeddedLine, REFUSALS } from "./embedded-line.js";

const AT = "2026-11-28T09:53:55.250Z";
const line = (event: string, fields: Record<string, unknown> = {}): string => JSON.stringify({ time: AT, event, ...fields });

test.each<[string, Record<string, unknown>, unknown]>([
  ["ready", { engine: "embedded" }, { kind: "broker-started", version: "Hawser" }],
  ["stopped", {}, { kind: "broker-stopped" }],
  ["reloaded", {}, { kind: "reloaded" }],
  ["reload-failed", { code: "CA_CORRUPT", message: "cut off" }, { kind: "configuration-error", detail: "cut off" }],
  ["connected", { name: "pump-1", clientId: "pump-1~a" }, { kind: "connected", client: "pump-1~a", user: "pump-1" }],
  ["disconnected", { clientId: "pump-1", reason: "CONNECTION_LOST" }, { kind: "disconnected", client: "pump-1" }],
  ["disconnected", { clientId: "pump-1", reason: "KEEPALIVE_TIMEOUT" }, { kind: "timed-out", client: "pump-1" }],
  ["disconnected", { clientId: "pump-1", reason: "SESSION_TAKEN_OVER" }, { kind: "taken-over", client: "pump-1" }],
  ["disconnected", { clientId: "pump-1", reason: "CERTIFICATE_REVOKED" }, { kind: "kicked", client: "pump-1" }],
  ["denied", { clientId: "a", action: "publish", topic: "x" }, { kind: "denied", client: "a", topic: "x" }],
  ["denied", { clientId: "a", action: "subscribe", topic: "#" }, { kind: "denied", client: "a", topic: "#", access: "subscribe" }],
  ["refused", { reason: "PSK_KEY_WRONG", name: "a" }, { kind: "refused", reason: "psk", claimedClient: "a" }],
  ["refused", { reason: "NO_CERTIFICATE" }, { kind: "refused", reason: "no_certificate" }],
  ["refused", { reason: "constructor" }, undefined],
  ["refused", { reason: "BROKER_STOPPING" }, undefined],
  ["disconnected", { clientId: "a", reason: "toString" }, undefined],
  ["dropped", { clientId: "a" }, undefined],
])("%s %j", (event, fields, fact) => {
  const expected = { timeMs: Date.parse(AT), ...(fact === undefined ? {} : { fact }) };
  expect(readEmbeddedLine(line(event, fields))).toEqual(expected);
});

test.each(["", "[]", "not json", '{"event":', '{"event":7,"time":7}', "2026-11-28T09:53:55: mosquitto version 2.0.21 starting"])(
  "%j says nothing",
  (text) => {
    expect(readEmbeddedLine(text)).not.toHaveProperty("fact");
  },
);

test.each<[string, object, string[]]>([
  ["RefusalReason", REFUSALS, ["BROKER_STOPPING"]],
  ["EndReason", ENDS, []],
])("every %s of the embedded broker has a meaning here", (type, meanings, without) => {
  const source = readFileSync(fileURLToPath(new URL("../../sim/brokers/broker-events.ts", import.meta.url)), "utf8");
  const reasonsOf = (name: string): string[] => {
    const body = new RegExp(`export type ${name} =([^]*?);`).exec(source)?.[1] ?? "";
    const inner = body.includes("| CredentialReason") ? reasonsOf("CredentialReason") : [];
    return [...[...body.matchAll(/"([A-Z0-9_]+)"/g)].map((match) => match[1] ?? ""), ...inner];
  };
  const reasons = reasonsOf(type);
  expect(reasons.length).toBeGreaterThan(10);
  expect(reasons.filter((reason) => !without.includes(reason)).sort()).toEqual(Object.keys(meanings).sort());
});
