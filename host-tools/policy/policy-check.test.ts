import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_POLICY_TEXT, defaultPolicy } from "./default-policy.js";
import { PolicyEngine } from "./policy-engine.js";
import { checkPolicy } from "./policy-check.js";
import { parsePolicy } from "./policy-file.js";
import { directoryOf } from "./policy-model.js";
import type { Policy, Principal } from "./policy-model.js";
import { policyDifference, rightsOf, rightText, whoReaches } from "./policy-questions.js";
import { PolicyError } from "./policy-text.js";

const HEAD = "version: 1\nname: t\nlisteners: { mtls: { port: 8883, requires: [certificate] } }\n";

function policy(rest: string): Policy {
  return parsePolicy(HEAD + rest, "t.yaml");
}

/** Codes and lines of all that is wrong, whether the policy can be read or not. */
function findings(rest: string, names?: readonly Principal[]): string[] {
  try {
    return checkPolicy(policy(rest), names === undefined ? undefined : directoryOf(names)).map(
      ({ code, source }) => `${code}${source === undefined ? "" : `:${source.line - 3}`}`,
    );
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return error.findings.map(({ code, source }) => `${code}${source === undefined ? "" : `:${source.line - 3}`}`);
  }
}

const device = (name: string, role: string, attributes: Record<string, string> = {}): Principal => ({
  name,
  kind: "device",
  role,
  attributes,
  active: true,
  recoverable: true,
});
const client = (name: string, role: string, attributes: Record<string, string> = {}): Principal => ({
  name,
  kind: "client",
  role,
  attributes,
  active: true,
  recoverable: false,
});

describe("a policy that cannot be used", () => {
  it.each([
    ["a setting that does not exist", "roles: { a: {} }\nsecrets: 1", ["SCHEMA:2"]],
    ["a grant without allow or deny", "roles:\n  a:\n    grants:\n      - topics: [x]", ["SCHEMA:4"]],
    [
      "a grant of channels and topics at once",
      "roles:\n  a:\n    grants:\n      - { allow: read, topics: [x], channels: [a.b] }",
      ["SCHEMA:4"],
    ],
    ["a role that does not exist", "roles:\n  a: { inherits: [b] }", ["REFERENCE:2"]],
    ["roles in a circle", "roles:\n  a: { inherits: [b] }\n  b: { inherits: [a] }", ["REFERENCE:2"]],
    ["a channel that does not exist", "roles:\n  a:\n    grants:\n      - { allow: read, channels: [c.d] }", ["REFERENCE:4"]],
    ["a placeholder that nobody declared", "roles:\n  a:\n    grants:\n      - { allow: read, topics: ['x/{site}'] }", ["REFERENCE:4"]],
    [
      "a placeholder that is part of a level",
      "classes: { c: { base: 'd-{id}', channels: { u: { topic: u, direction: up } } } }\nroles: { a: {} }",
      ["INVALID:1", "INVALID:1"],
    ],
    [
      "a base with a wildcard",
      "classes: { c: { base: 'd/+', channels: { u: { topic: u, direction: up } } } }\nroles: { a: {} }",
      ["REFERENCE:1"],
    ],
    [
      "a network with bits beyond its prefix",
      "roles:\n  a:\n    grants:\n      - { allow: read, topics: [x], when: { networks: [10.0.0.1/8] } }",
      ["INVALID:4"],
    ],
    [
      "a zone that is not one",
      "roles:\n  a:\n    grants:\n      - { allow: read, topics: [x], when: { times: [{ zone: Mars }] } }",
      ["INVALID:4"],
    ],
    ["the same key twice", "roles: { a: {}, a: {} }", ["NOT_YAML:1"]],
    ["a pattern that takes for ever", "attributes: { x: { pattern: '(a+)+' } }\nroles: { a: {} }", ["INVALID:1"]],
    [
      "a bridge of everything",
      "bridges:\n  b:\n    host: h\n    port: 1\n    certificate: { ca: /ca }\n    topics: [{ topic: '#', direction: out }]\nroles: { a: {} }",
      ["REFERENCE:6"],
    ],
  ])("names the line of %s", (_what, rest, expected) => {
    expect(findings(rest)).toEqual(expected);
  });

  it("is refused before it can exhaust memory", () => {
    const bomb = `a: &a [${"x,".repeat(20)}]\n${[..."bcdefgh"].map((name, index) => `${name}: &${name} [${`*${"abcdefg"[index] ?? ""},`.repeat(20)}]`).join("\n")}\n`;
    expect(() => parsePolicy(bomb, "t.yaml")).toThrow(PolicyError);
    expect(() => parsePolicy(" ".repeat(2 ** 20 + 1), "t.yaml")).toThrow(/larger/);
  });
});

const CLASS = "classes:\n  c:\n    base: devices/{id}\n    channels: { up: { topic: up/#, direction: up } }\n";

describe("doubtful rules", () => {
  it.each([
    [
      "a grant that another one contains",
      `${CLASS}roles:\n  a:\n    grants:\n      - { allow: read, channels: [c.up] }\n      - { allow: read, topics: ['devices/x/up/y'] }`,
      ["SHADOWED:9"],
    ],
    [
      "an allowance that a denial swallows",
      `${CLASS}roles:\n  a:\n    grants:\n      - { allow: read, topics: [z/y] }\n      - { deny: read, topics: ['z/#'] }`,
      ["UNREACHABLE:8"],
    ],
    [
      "a grant wider than any channel",
      `${CLASS}roles:\n  a:\n    grants:\n      - { allow: read, topics: ['devices/#'] }`,
      ["WIDER_THAN_CHANNEL:8"],
    ],
    [
      "a topic that all devices of a class share",
      "classes:\n  c:\n    base: v1/devices/me\n    channels: { up: { topic: t, direction: up } }\nroles: { a: {} }",
      ["SHARED_TOPIC:4"],
    ],
    [
      "topics that two classes share",
      `attributes: { site: {} }\n${CLASS}  d:\n    base: devices/{site}/{id}\n    channels: { s: { topic: s, direction: up } }\nroles: { a: {} }`,
      ["SHARED_TOPIC:5"],
    ],
  ])("names the line of %s", (_what, rest, expected) => {
    expect(findings(rest)).toEqual(expected);
  });

  it("reads the built-in policy, which it does not hold against the schema each time, as it reads the same text from a file", () => {
    expect(parsePolicy(DEFAULT_POLICY_TEXT, "the default policy")).toEqual(defaultPolicy());
  });

  it("finds nothing wrong with the built-in policy but the operator's wide view", () => {
    expect(checkPolicy(defaultPolicy()).map(({ code }) => code)).toEqual(["WIDER_THAN_CHANNEL"]);
  });

  it("finds roles nobody has, names without a role, and devices without an attribute that their topics need", () => {
    const rest =
      "attributes: { site: { values: [b1] } }\nclasses:\n  c:\n    base: sites/{site}/{id}\n    channels: { up: { topic: up/#, direction: up } }\nroles:\n  dev: { for: devices, class: c }\n  idle: {}";
    expect(
      findings(rest, [
        device("a", "dev"),
        device("b", "dev", { site: "b2" }),
        device("c", "dev", { site: "b1" }),
        device("d", "other"),
        client("e", "dev"),
      ]),
    ).toEqual(
      ["MISSING_ATTRIBUTE:5", "MISSING_ATTRIBUTE:5", "NO_ROLE", "NO_ROLE", "UNUSED_ROLE:8"].sort(
        (a, b) => Number(a.includes(":")) - Number(b.includes(":")) || 0,
      ),
    );
  });
});

const TENANTS = "attributes: { customer: {}, site: {} }\ntenant: customer\n";
const METER = "classes:\n  meter:\n    base: meters/{id}\n    channels: { up: { topic: up/#, direction: up } }\n";

describe("identity topics", () => {
  const withRequest = (topic: string): string =>
    `classes:\n  c:\n    base: home/{id}\n    channels:\n      request: { ${topic}, direction: up, recovery: true }\nroles:\n  authority: { grants: [{ allow: read, channels: [c.request] }] }`;

  it("are warned about where devices have to be told, and where none can ask", () => {
    expect(findings(withRequest("topic: identity/request"))).toEqual(["IDENTITY_MOVED:5"]);
    expect(findings(withRequest("topic: identity/ask"))).toEqual(["IDENTITY_UNSERVED:5"]);
    expect(findings(withRequest("topic: 'devices/{id}/identity/request', absolute: true"))).toEqual([]);
  });

  it("are refused where another device could ask in one's name", () => {
    const other = "      log: { topic: '{id}/+/identity/request', absolute: true, direction: up }\nroles:";
    expect(findings(withRequest("topic: identity/request").replace("roles:", other))).toContain("IDENTITY_SHARED:5");
    const own = "      log: { topic: 'home/{id}/#', absolute: true, direction: up }\nroles:";
    expect(findings(withRequest("topic: identity/request").replace("roles:", own))).not.toContain("IDENTITY_SHARED:5");
  });
});

describe("the wall between tenants", () => {
  it.each([
    [
      "a filter over every tenant's devices",
      `${TENANTS}${METER}roles:\n  a:\n    grants:\n      - { allow: read, topics: ['meters/#'] }`,
      ["CROSSES_TENANTS:10", "CROSSES_TENANTS:10"],
    ],
    [
      "a topic that all tenants share",
      `${TENANTS}roles:\n  a:\n    grants:\n      - { allow: readwrite, topics: ['board/#'] }`,
      ["CROSSES_TENANTS:6", "CROSSES_TENANTS:6"],
    ],
    [
      "two rules that meet at different levels",
      `${TENANTS}roles:\n  a:\n    grants:\n      - { allow: read, topics: ['{customer}/#'] }\n      - { allow: write, topics: ['x/{customer}'] }`,
      ["CROSSES_TENANTS:6"],
    ],
    [
      "a class whose devices share a topic",
      `${TENANTS}classes:\n  c:\n    base: v1/me\n    channels: { up: { topic: t, direction: up } }\nroles: { a: {} }`,
      ["SHARED_TOPIC:6"],
    ],
  ])("is not proved for %s", (_what, rest, expected) => {
    expect(findings(rest)).toEqual(expected);
  });

  it("is proved where the tenant stands in the topic, and may be crossed where the policy says so", () => {
    expect(
      findings(
        `${TENANTS}${METER}roles:\n  a:\n    grants:\n      - { allow: readwrite, topics: ['board/{customer}/#'] }\n      - { allow: read, channels: [meter.up] }\n  b:\n    grants:\n      - { allow: read, channels: [meter.up], acrossTenants: true }\n      - { allow: read, topics: ['$SYS/#'], acrossTenants: true }`,
      ),
    ).toEqual([]);
  });

  /** Random grants over random bases; only policies that the checker passes count. */
  const level = fc.constantFrom("{customer}", "{id}", "{site}", "a", "t1", "t2", "+");
  const template = fc
    .array(level, { minLength: 1, maxLength: 3 })
    .chain((levels) => fc.constantFrom(levels.join("/"), `${levels.join("/")}/#`));
  const base = fc
    .array(fc.constantFrom("{customer}", "{id}", "{site}", "a", "t1"), { minLength: 1, maxLength: 3 })
    .map((levels) => levels.join("/"));
  const grant = fc.record({ channels: fc.boolean(), topic: template, access: fc.constantFrom("read", "write", "readwrite") });

  it("holds in every policy that the checker passes: nobody reads what another tenant writes", () => {
    const names = [
      device("d1", "dev", { customer: "t1", site: "a" }),
      device("d2", "dev", { customer: "t2", site: "a" }),
      device("t1", "dev", { customer: "t2", site: "t1" }),
      device("e2", "other", { customer: "t2", site: "t1" }),
      client("c1", "user", { customer: "t1", site: "a" }),
      client("c2", "user", { customer: "t2", site: "t1" }),
    ];
    let passed = 0;
    fc.assert(
      fc.property(base, base, fc.array(grant, { minLength: 1, maxLength: 4 }), (one, two, grants) => {
        const lines = grants
          .map(
            ({ channels, topic, access }) =>
              `      - { allow: ${access}, ${channels ? "channels: [one.up, two.*]" : `topics: ['${topic}']`} }`,
          )
          .join("\n");
        const text = `${TENANTS}classes:\n  one: { base: '${one}', channels: { up: { topic: u, direction: up }, down: { topic: d, direction: down } } }\n  two: { base: '${two}', channels: { up: { topic: u, direction: up } } }\nroles:\n  dev: { for: devices, class: one }\n  other: { for: devices, class: two }\n  user:\n    grants:\n${lines}\n`;
        if (findings(text).some((code) => /^(CROSSES|SHARED|SCHEMA|REFERENCE|INVALID|UNDECIDABLE)/.test(code))) return;
        passed += 1;
        const engine = new PolicyEngine(policy(text), directoryOf(names));
        // Every topic of up to three levels over the values in play.
        const values = ["t1", "t2", "a", "d1", "d2", "e2", "c1", "u", "d"];
        const topics = values.flatMap((x) => [x, ...values.flatMap((y) => [`${x}/${y}`, ...values.map((z) => `${x}/${y}/${z}`)])]);
        for (const topic of topics) {
          const tenantsOf = (action: "publish" | "receive"): Set<string | undefined> =>
            new Set(
              names
                .filter(({ name }) => engine.authorize({ name, listener: "mtls", action, topic, atMs: 0 }).allowed)
                .map(({ attributes }) => attributes["customer"]),
            );
          expect(new Set([...tenantsOf("publish"), ...tenantsOf("receive")]).size, `${topic}\n${text}`).toBeLessThanOrEqual(1);
        }
      }),
      { numRuns: 150, seed: 12 },
    );
    expect(passed).toBeGreaterThan(5);
  });
});

describe("differences between policies", () => {
  const names = directoryOf([device("d1", "dev", { site: "a" }), device("d2", "dev", { site: "b" }), client("c", "user", { site: "a" })]);
  const grant = fc.record({
    effect: fc.constantFrom("allow", "deny"),
    access: fc.constantFrom("read", "write", "readwrite"),
    target: fc.constantFrom(
      "channels: [c.up]",
      "channels: [c.*], scope: { site: a }",
      "channels: [c.*], scope: { site: '{site}' }",
      "topics: [x/y]",
      "topics: ['x/#']",
    ),
  });
  const text = fc
    .tuple(fc.constantFrom("devices/{id}", "{site}/{id}"), fc.array(grant, { maxLength: 4 }))
    .map(
      ([base, grants]) =>
        `attributes: { site: {} }\nclasses:\n  c: { base: '${base}', channels: { up: { topic: up/#, direction: up }, down: { topic: down, direction: down } } }\nroles:\n  dev: { for: devices, class: c }\n  user: { grants: [${grants.map(({ effect, access, target }) => `{ ${effect}: ${access}, ${target} }`).join(", ")}] }\n`,
    );

  it("turn the table of the one into the table of the other", () => {
    fc.assert(
      fc.property(text, text, (one, two) => {
        const [before, after] = [new PolicyEngine(policy(one), names), new PolicyEngine(policy(two), names)];
        const table = (engine: PolicyEngine): Set<string> =>
          new Set([...names.all()].flatMap((who) => rightsOf(engine, who).map((right) => `${who.name} ${rightText(right)}`)));
        const changed = table(before);
        for (const { name, change, right } of policyDifference(before, after)) {
          const row = `${name} ${rightText(right)}`;
          if (change === "loses") changed.delete(row);
          else changed.add(row);
        }
        expect([...changed].sort()).toEqual([...table(after)].sort());
      }),
      { numRuns: 100 },
    );
  });

  it("know everybody who reaches a topic, and what it depends on", () => {
    const rest = `${CLASS}roles:\n  dev: { for: devices, class: c }\n  user: { grants: [{ allow: read, channels: [c.up], when: { networks: [10.0.0.0/8] } }] }\n`;
    const found = whoReaches(new PolicyEngine(policy(rest), names), "devices/d1/up/x", 0);
    expect(found.map(({ name, action, when }) => [name, action, when === undefined])).toEqual([
      ["d1", "publish", true],
      ["c", "receive", false],
    ]);
  });
});

it("lists some of many names with one fault, and counts the others", () => {
  const names = directoryOf(Array.from({ length: 5000 }, (_, index) => device(`dev-${index}`, "ghost")));
  const withoutDefault = parsePolicy(DEFAULT_POLICY_TEXT.replace("defaultDeviceRole: device\n", ""), "p");
  const faults = checkPolicy(withoutDefault, names).filter(({ code }) => code === "NO_ROLE");
  expect(faults).toHaveLength(21);
  expect(faults.at(-1)?.message).toBe("4980 more names have the same fault");
});
