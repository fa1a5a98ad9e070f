import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "./default-policy.js";
import { PolicyEngine } from "./policy-engine.js";
import type { AccessQuestion } from "./policy-engine.js";
import { hashPassword } from "./password.js";
import { parsePolicy } from "./policy-file.js";
import { directoryOf } from "./policy-model.js";
import type { Principal } from "./policy-model.js";
import { mayPublish, maySubscribe } from "./roles.js";

const AT_MS = Date.parse("2027-03-01T12:00:00Z"); // a Monday

function device(name: string, role = "sensor", attributes: Record<string, string> = {}): Principal {
  return { name, kind: "device", role, attributes, active: true, recoverable: true };
}

function client(name: string, role: string, attributes: Record<string, string> = {}): Principal {
  return { name, kind: "client", role, attributes, active: true, recoverable: false };
}

const FACTORY = `
version: 1
name: factory
attributes:
  site: { values: [b1, b2] }
  line: { pattern: "l[0-9]+" }
  shift: {}
listeners:
  mtls: { port: 8883, requires: [certificate] }
  web: { port: 8443, requires: [password] }
  psk: { port: 8884, requires: [psk], scope: recovery }
classes:
  press:
    base: sites/{site}/{line}/{id}
    channels:
      up: { topic: up/#, direction: up, qos: 1, retain: false, maxBytes: 100 }
      config: { topic: config, direction: down }
      request: { topic: identity/request, direction: up, recovery: true }
  lamp:
    base: lamps/{id}
    channels:
      state: { topic: state, direction: up }
      set: { topic: set, direction: down }
roles:
  press: { for: devices, class: press }
  lamp:
    for: devices
    class: lamp
    grants:
      - { allow: read, topics: ["sites/{site}/announcements/#"] }
  viewer:
    may: { wildcards: true, shared: false, retain: false, will: false }
    grants:
      - { allow: read, channels: [press.up], scope: { site: "{site}" } }
      - { allow: read, channels: [lamp.state], scope: { site: "{site}" } }
  fitter:
    inherits: [viewer]
    requires: { mtls: [password] }
    grants:
      - allow: write
        channels: [press.config]
        scope: { site: [b1] }
        when: { networks: [10.0.0.0/8], times: [{ days: [mon, tue], from: "22:00", to: "06:00", zone: Europe/Berlin }] }
      - allow: readwrite
        topics: ["tools/#"]
      - deny: write
        topics: ["tools/locked/#"]
      - deny: read
        channels: [lamp.state]
        scope: { line: l9 }
`;

const factory = parsePolicy(FACTORY, "factory.yaml");
const names = [
  device("p1", "press", { site: "b1", line: "l1" }),
  device("p2", "press", { site: "b2", line: "l1" }),
  device("bad", "press", { site: "b1/+", line: "l1" }),
  device("lamp1", "lamp", { site: "b1", line: "l1" }),
  device("lamp2", "lamp", { site: "b2", line: "l1" }),
  device("lamp9", "lamp", { site: "b1", line: "l9" }),
  client("view1", "viewer", { site: "b1" }),
  client("view0", "viewer"),
  client("fit1", "fitter", { site: "b1" }),
  client("stray", "press"),
];
const engine = new PolicyEngine(factory, directoryOf(names));

function ask(
  name: string,
  action: AccessQuestion["action"],
  topic: string,
  more: Partial<AccessQuestion> = {},
): { allowed: boolean; code: string; line?: number } {
  const { allowed, code, source } = engine.authorize({ name, action, topic, listener: "mtls", atMs: AT_MS, ...more });
  return { allowed, code, ...(source === undefined ? {} : { line: source.line }) };
}

const may = (name: string, action: AccessQuestion["action"], topic: string, more: Partial<AccessQuestion> = {}): boolean =>
  ask(name, action, topic, more).allowed;

describe("the default policy", () => {
  const all = [
    device("dev1"),
    device("dev2", "thermostat"),
    ...["backend", "operator", "monitor", "authority"].map((role) => client(role, role)),
  ];
  const standard = new PolicyEngine(defaultPolicy(), directoryOf(all));

  it("gives every role exactly what the tools gave it before there was a policy file", () => {
    const level = fc.constantFrom("devices", "dev1", "dev2", "up", "down", "identity", "request", "response", "+", "#", "$SYS", "x", "");
    const topics = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join("/"));
    fc.assert(
      fc.property(fc.constantFrom(...all), fc.constantFrom("full" as const, "recovery" as const), topics, (who, scope, topic) => {
        const listener = scope === "full" ? "mtls" : "psk";
        const answer = (action: "publish" | "subscribe"): boolean =>
          standard.authorize({ name: who.name, listener, action, topic, atMs: AT_MS }).allowed;
        expect(answer("publish")).toBe(mayPublish(who.name, who.role, scope, topic));
        expect(answer("subscribe")).toBe(maySubscribe(who.name, who.role, scope, topic));
      }),
      { numRuns: 4000 },
    );
  });
});

describe("access", () => {
  it("puts a device's attributes into its base", () => {
    expect(may("p1", "publish", "sites/b1/l1/p1/up/temperature")).toBe(true);
    expect(may("p1", "publish", "sites/b2/l1/p1/up/temperature")).toBe(false);
    expect(may("p1", "publish", "sites/b1/l1/p2/up/temperature")).toBe(false);
    expect(may("p1", "subscribe", "sites/b1/l1/p1/config")).toBe(true);
  });

  it("gives no topics to a device whose attribute would widen them", () => {
    expect(may("bad", "publish", "sites/b1/+/l1/bad/up/x")).toBe(false);
    expect(may("bad", "publish", "sites/b1/l1/bad/up/x")).toBe(false);
  });

  it("keeps a viewer within its scope, whether the topic shows the attribute or only the registry knows it", () => {
    expect(may("view1", "subscribe", "sites/b1/+/+/up/#")).toBe(true);
    expect(may("view1", "subscribe", "sites/+/+/+/up/#")).toBe(false);
    expect(may("view1", "receive", "sites/b2/l1/p2/up/x")).toBe(false);
    expect(may("view1", "subscribe", "lamps/lamp1/state")).toBe(true);
    expect(may("view1", "subscribe", "lamps/lamp2/state")).toBe(false);
    expect(may("view1", "subscribe", "lamps/+/state")).toBe(false);
    expect(may("view1", "receive", "lamps/nobody/state")).toBe(false);
  });

  it("gives nothing where the asking client lacks the attribute its scope needs", () => {
    expect(may("view0", "subscribe", "sites/b1/l1/p1/up/x")).toBe(false);
  });

  it("takes what a role may do and leaves inherited limits in place", () => {
    expect(ask("view1", "subscribe", "$share/g/sites/b1/+/+/up/#").code).toBe("RIGHT");
    expect(may("fit1", "publish", "tools/x")).toBe(true);
    expect(ask("fit1", "publish", "tools/x", { retain: true }).code).toBe("RIGHT");
    expect(ask("fit1", "publish", "tools/x", { will: true }).code).toBe("RIGHT");
  });

  it("lets a denial win over every allowance, for wildcards as soon as they touch it", () => {
    expect(ask("fit1", "publish", "tools/locked/1")).toMatchObject({ allowed: false, code: "DENIED_BY_RULE" });
    expect(may("fit1", "subscribe", "tools/#")).toBe(true);
    expect(may("fit1", "receive", "lamps/lamp9/state")).toBe(false);
    expect(may("fit1", "receive", "lamps/lamp1/state")).toBe(true);
  });

  it("holds conditions of network and time, and names the rule that would have allowed it", () => {
    const topic = "sites/b1/l1/p1/config";
    const at = (time: string): number => Date.parse(time);
    const here = { address: "10.1.2.3" };
    expect(may("fit1", "publish", topic, { ...here, atMs: at("2027-03-01T21:30:00Z") })).toBe(true); // Monday 22:30 in Berlin
    expect(may("fit1", "publish", topic, { ...here, atMs: at("2027-03-03T04:00:00Z") })).toBe(true); // Wednesday 05:00, Tuesday's night
    expect(may("fit1", "publish", topic, { ...here, atMs: at("2027-03-03T22:00:00Z") })).toBe(false);
    expect(may("fit1", "publish", topic, { address: "::ffff:10.1.2.3", atMs: at("2027-03-01T21:30:00Z") })).toBe(true);
    expect(ask("fit1", "publish", topic, { address: "11.1.2.3", atMs: at("2027-03-01T21:30:00Z") })).toMatchObject({ code: "CONDITION" });
    expect(may("fit1", "publish", topic, { atMs: at("2027-03-01T21:30:00Z") })).toBe(false);
  });

  it("holds a channel's QoS, retain and size", () => {
    const topic = "sites/b1/l1/p1/up/x";
    expect(ask("p1", "publish", topic, { qos: 2 })).toMatchObject({ allowed: false, code: "CHANNEL_LIMIT" });
    expect(may("p1", "publish", topic, { retain: true })).toBe(false);
    expect(may("p1", "publish", topic, { payloadBytes: 101 })).toBe(false);
    expect(may("p1", "publish", topic, { qos: 1, retain: false, payloadBytes: 100 })).toBe(true);
  });

  it("names the line that decided", () => {
    const line = (text: string): number => FACTORY.split("\n").findIndex((candidate) => candidate.includes(text)) + 1;
    expect(ask("p1", "publish", "sites/b1/l1/p1/up/x").line).toBe(line("up: { topic: up/#"));
    expect(ask("view1", "receive", "lamps/lamp1/state").line).toBe(line("channels: [lamp.state], scope: { site:"));
    expect(ask("fit1", "publish", "tools/locked/x").line).toBe(line("deny: write"));
  });

  it("leaves the recovery listener its recovery channels", () => {
    expect(may("p1", "publish", "sites/b1/l1/p1/identity/request", { listener: "psk" })).toBe(true);
    expect(may("p1", "publish", "sites/b1/l1/p1/up/x", { listener: "psk" })).toBe(false);
    expect(ask("view1", "subscribe", "sites/b1/+/+/up/#", { listener: "psk" }).code).toBe("SHUT_OUT");
  });

  it("never gives a client a device's role", () => {
    expect(ask("stray", "publish", "sites/b1/l1/stray/up/x").code).toBe("NO_ROLE");
    expect(ask("ghost", "publish", "x").code).toBe("UNKNOWN_NAME");
    expect(ask("p1", "publish", "x", { listener: "none" }).code).toBe("UNKNOWN_LISTENER");
  });
});

describe("signing in", () => {
  const secret = "correct horse";
  const people = [
    { ...client("fit1", "fitter", { site: "b1" }), passwordHash: hashPassword(secret) },
    { ...device("gone", "press"), active: false },
    device("p1", "press"),
  ];
  const doors = new PolicyEngine(factory, directoryOf(people));
  const enter = (name: string, listener: string, shown: { proved?: "certificate" | "psk"; password?: string }): string =>
    doors.authenticate({ name, listener, atMs: AT_MS, ...shown }).code;

  it("asks for what the listener and the role want", () => {
    expect(enter("p1", "mtls", { proved: "certificate" })).toBe("ALLOWED");
    expect(enter("p1", "mtls", {})).toBe("FACTOR_MISSING");
    expect(enter("p1", "psk", { proved: "certificate" })).toBe("FACTOR_MISSING");
    expect(enter("p1", "psk", { proved: "psk" })).toBe("ALLOWED");
    expect(enter("fit1", "mtls", { proved: "certificate" })).toBe("FACTOR_MISSING");
    expect(enter("fit1", "mtls", { proved: "certificate", password: "wrong" })).toBe("FACTOR_WRONG");
    expect(enter("fit1", "mtls", { proved: "certificate", password: secret })).toBe("ALLOWED");
    expect(enter("p1", "web", { password: "anything" })).toBe("FACTOR_WRONG");
  });

  it("refuses those who are shut out and those nobody knows", () => {
    expect(enter("gone", "mtls", { proved: "certificate" })).toBe("SHUT_OUT");
    expect(enter("gone", "psk", { proved: "psk" })).toBe("ALLOWED");
    expect(enter("constructor", "mtls", { proved: "certificate" })).toBe("UNKNOWN_NAME");
  });
});
