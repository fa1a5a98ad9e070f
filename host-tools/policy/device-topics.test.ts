/** What a device is told of its topics is what the engine lets it use. */
import { expect, it } from "vitest";
import { defaultPolicy } from "./default-policy.js";
import { deviceTopics } from "./device-topics.js";
import { PolicyEngine } from "./policy-engine.js";
import { parsePolicy } from "./policy-file.js";
import { directoryOf } from "./policy-model.js";
import type { Principal } from "./policy-model.js";

const POLICY = parsePolicy(
  `version: 1
name: t
attributes:
  site: { values: [b1, b2] }
listeners:
  mtls: { port: 8883, requires: [certificate] }
  psk: { port: 8884, requires: [psk], scope: recovery }
classes:
  machine:
    base: sites/{site}/{id}
    channels:
      up: { topic: up/#, direction: up }
      request: { topic: "fleet/{id}/request", direction: up, recovery: true, absolute: true }
      response: { topic: "fleet/{id}/response", direction: down, recovery: true, absolute: true }
      old-request: { topic: "devices/{id}/identity/request", direction: up, recovery: true, absolute: true }
      old-response: { topic: "devices/{id}/identity/response", direction: down, recovery: true, absolute: true }
  mute:
    base: mute/{id}
    channels:
      up: { topic: up/#, direction: up }
  long:
    base: ${"x".repeat(600)}/{id}
    channels:
      request: { topic: "fleet/{id}/request", direction: up, recovery: true, absolute: true }
      response: { topic: "fleet/{id}/response", direction: down, recovery: true, absolute: true }
roles:
  machine: { for: devices, class: machine }
  mute: { for: devices, class: mute }
  long: { for: devices, class: long }
`,
  "t.yaml",
);

const device = (role: string, attributes: Record<string, string> = {}): Principal => ({
  name: "press-1",
  kind: "device",
  role,
  attributes,
  active: true,
  recoverable: true,
});

it("is its base with its attributes, and the first place where it may ask for certificates", () => {
  const press = device("machine", { site: "b1" });
  const topics = deviceTopics(POLICY, press);
  expect(topics).toEqual({ base: "sites/b1/press-1", identity: "fleet/press-1" });
  const engine = new PolicyEngine(POLICY, directoryOf([press]));
  for (const topic of [`${topics?.base ?? ""}/up/x`, `${topics?.identity ?? ""}/request`])
    expect(engine.authorize({ name: "press-1", listener: "mtls", action: "publish", topic, atMs: 0 }).allowed).toBe(true);
  expect(deviceTopics(POLICY, device("machine", { site: "b2" }))?.base).toBe("sites/b2/press-1");
});

it("is what devices do without being told, by the built-in policy", () => {
  expect(deviceTopics(defaultPolicy(), device("sensor"))).toEqual({ base: "devices/press-1", identity: "devices/press-1/identity" });
});

it.each([
  ["lacks an attribute of its base", device("machine")],
  ["has a value there that the policy does not know", device("machine", { site: "b3" })],
  ["asks nowhere for certificates", device("mute")],
  ["has a role that the policy does not name", device("unknown", { site: "b1" })],
  ["has no room for its base", device("long")],
])("is nothing for a device that %s", (_, principal) => {
  expect(deviceTopics(POLICY, principal)).toBeUndefined();
});
