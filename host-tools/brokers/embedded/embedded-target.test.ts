import { describe, expect, it } from "vitest";
import { POLICY_SCHEMA } from "../../policy/policy-schema.js";
import { parsePolicy } from "../../policy/policy-file.js";
import type { PolicyError } from "../../policy/policy-text.js";
import { EMBEDDED_LIMITS, requireEmbedded } from "./embedded-target.js";

const policy = (more: string): string => `version: 1
name: t
listeners:
  mtls: { port: 8883, requires: [certificate] }
  psk: { port: 8884, requires: [psk], scope: recovery }
classes: { d: { base: "d/{id}", channels: { up: { topic: up, direction: up, qos: 0, retain: false, maxBytes: 9, messagesPerSecond: 1 } } } }
roles:
  d: { for: devices, class: d, limits: { connections: 1, messagesPerSecond: 2, bytesPerSecond: 3 }, requires: { mtls: [password] } }
  c:
    may: { retain: false, will: false, wildcards: false, shared: false }
    grants:
      - { allow: read, topics: [x], when: { networks: [10.0.0.0/8], times: [{ from: "08:00", to: "09:00" }], listeners: [mtls] } }
      - { deny: read, topics: [y] }
${more}`;

/** The lines that the embedded broker cannot hold. */
function refused(more: string): string[] {
  const text = policy(more);
  try {
    requireEmbedded(parsePolicy(text, "t.yaml"));
    return [];
  } catch (error) {
    return (error as PolicyError).findings.map(({ source, message }) => `${text.split("\n")[(source?.line ?? 0) - 1]?.trim()}: ${message}`);
  }
}

describe("the embedded broker as a policy's target", () => {
  it("holds everything that a policy says of rights, roles and channels", () => {
    expect(refused("")).toEqual([]);
  });

  it("holds every limit there is or has its line named", () => {
    const names = Object.keys(
      (POLICY_SCHEMA as unknown as { properties: { limits: { properties: object } } }).properties.limits.properties,
    );
    expect(names).toHaveLength(13);
    const held = names.filter((name) => refused(`limits:\n  ${name}: 5000\n`).length === 0);
    expect([...held].sort()).toEqual([...EMBEDDED_LIMITS].sort());
    expect(refused("limits:\n  connections: 5\n  inflight: 20\n")).toEqual([
      "inflight: 20: the embedded broker cannot say the limit inflight; if clients are trusted to keep it, say unenforced: { embedded: [limits] }",
    ]);
    expect(refused("limits:\n  inflight: 20\nunenforced: { embedded: [limits] }\n")).toEqual([]);
  });

  it("names the listeners and bridges that it does not open", () => {
    const more = policy("").replace("classes:", "  web: { port: 9, requires: [certificate], websocket: true }\nclasses:");
    const judge = (): unknown => requireEmbedded(parsePolicy(more, "t.yaml"));
    expect(judge).toThrow(/opens one listener for certificates and one for pre-shared keys, and not web/);
    expect(refused("bridges:\n  b: { host: h, port: 1, certificate: { ca: /c }, topics: [{ topic: t, direction: out }] }\n")[0]).toMatch(
      /cannot say the bridge b/,
    );
  });
});
