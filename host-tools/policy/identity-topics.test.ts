import { describe, expect, it } from "vitest";
import { askingDevice, DEFAULT_IDENTITY_BASE, identityBases, requestFilter, requestTopic, responseTopic } from "./identity-topics.js";
import { defaultPolicy } from "./default-policy.js";
import { parsePolicy } from "./policy-file.js";

const policy = (channels: string): string =>
  `version: 1\nname: t\nlisteners: { mtls: { port: 1, requires: [certificate] } }\nclasses:\n  c:\n    base: "a/{id}"\n    channels:\n${channels}roles: { r: {} }\n`;
const pair = (base: string, name = "x"): string =>
  `      ${name}-up: { topic: "${base}/request", absolute: true, direction: up, recovery: true }\n      ${name}-down: { topic: "${base}/response", absolute: true, direction: down, recovery: true }\n`;
const basesOf = (channels: string): string[] => identityBases(parsePolicy(policy(channels), "t.yaml"));

describe("identity topics", () => {
  it("are where a policy's recovery channels are, several at a time", () => {
    expect(identityBases(defaultPolicy())).toEqual([DEFAULT_IDENTITY_BASE]);
    expect(basesOf(pair("fleet/{id}") + pair("devices/{id}/identity", "old"))).toEqual(["fleet/{id}", "devices/{id}/identity"]);
    expect(basesOf("      r: { topic: hello/request, direction: up, recovery: true }\n")).toEqual([]);
  });

  it.each(["fleet/id", "a//{id}"])("cannot be below %s", (base) => {
    expect(basesOf(pair(base))).toEqual([]);
  });

  it("cannot hold an attribute, which may change while a device is away", () => {
    const text = policy(pair("a/{site}/{id}")).replace("name: t", "name: t\nattributes: { site: {} }");
    expect(identityBases(parsePolicy(text, "t.yaml"))).toEqual([]);
  });

  it("name the device that asks, and nobody else", () => {
    const bases = [DEFAULT_IDENTITY_BASE, "/fleet/{id}"];
    expect(askingDevice("devices/sensor-1/identity/request", bases)).toEqual({ id: "sensor-1", base: DEFAULT_IDENTITY_BASE });
    expect(askingDevice(requestTopic("/fleet/{id}", "a"), bases)).toEqual({ id: "a", base: "/fleet/{id}" });
    expect([requestFilter("/fleet/{id}"), responseTopic("/fleet/{id}", "a")]).toEqual(["/fleet/+/request", "/fleet/a/response"]);
  });

  it.each([
    "devices/a/identity/response",
    "devices//identity/request",
    "devices/a/b/identity/request",
    "devices/+/identity/request",
    "devices/#/identity/request",
    "x/a/identity/request",
    "devices/a/identity",
    "fleet/a/request",
    "",
  ])("take nothing from %j", (topic) => {
    expect(askingDevice(topic, [DEFAULT_IDENTITY_BASE, "/fleet/{id}"])).toBeUndefined();
  });
});
