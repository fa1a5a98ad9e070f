import { generateKeyPairSync, sign } from "node:crypto";
import mqtt from "mqtt";
import type { IClientOptions, MqttClient } from "mqtt";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../../sim/brokers/broker-events.js";
import type { BrokerLimits } from "../../../sim/brokers/broker-events.js";
import { EmbeddedBroker } from "../../../sim/brokers/embedded-broker.js";
import { TestAuthority } from "../../../test/support/brokers/test-certificates.js";
import type { TestIdentity } from "../../../test/support/brokers/test-certificates.js";
import { retainedAnswers, willAnswers } from "../../../test/support/brokers/truth-kept.js";
import {
  DENIALS,
  differences,
  engineAnswers,
  truthEngine,
  truthFilters,
  truthPolicyText,
  truthTopics,
  TRUTH_NAMES,
} from "../../../test/support/brokers/truth-table.js";
import { EMBEDDED_LIMITS } from "../../brokers/embedded/embedded-target.js";
import type { BrokerMaterial as CaMaterial } from "../../ca/broker-identity.js";
import { PolicyEngine } from "../../policy/policy-engine.js";
import { hashPassword } from "../../policy/password.js";
import { parsePolicy } from "../../policy/policy-file.js";
import { directoryOf } from "../../policy/policy-model.js";
import type { Principal } from "../../policy/policy-model.js";
import { embeddedMaterial } from "./broker-material.js";

const NAMES: readonly Principal[] = [
  ...TRUTH_NAMES,
  { name: "guard", kind: "client", role: "guarded", attributes: {}, active: true, recoverable: false },
];
let authority: TestAuthority;
let server: TestIdentity;
const identities = new Map<string, TestIdentity>();
beforeAll(async () => {
  authority = await TestAuthority.create();
  server = await authority.issue("broker", "server");
  for (const { name } of NAMES) identities.set(name, await authority.issue(name));
});

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** For thousands of questions at once. */
const ROOMY: Partial<BrokerLimits> = {
  maxMessagesPerSecond: 1_000_000,
  maxInflightInbound: 10_000,
  maxQueuedMessages: 100_000,
  maxRetainedMessages: 10_000,
  maxSubscriptions: 1_000,
};

/** The embedded broker with a policy, as `hawser broker run` starts it. */
async function start(
  engine: PolicyEngine,
  nowMs = (): number => Date.now(),
  limits: Partial<BrokerLimits> = ROOMY,
): Promise<{ port: number; broker: EmbeddedBroker }> {
  const ca: CaMaterial = {
    chainPem: server.chainPem,
    keyPem: server.keyPem,
    trustAnchorPem: authority.trustAnchorPem,
    issuingPem: "",
    issuersPem: "",
    crlPem: await authority.crlPem(),
    crlNextUpdateMs: 0,
    revokedSerials: new Set(),
    brokerHosts: [],
    pskFor: () => undefined,
    roleOf: (name) => engine.directory.get(name)?.role,
    stateOf: (name) => (engine.directory.get(name) === undefined ? undefined : "active"),
    policy: engine,
  };
  const broker = new EmbeddedBroker({
    material: embeddedMaterial(ca, nowMs),
    mtlsPort: 0,
    pskPort: 0,
    limits,
  });
  const { mtlsPort } = await broker.start();
  open.push(() => broker.stop());
  return { port: mtlsPort, broker };
}

async function connect(port: number, name: string, options: IClientOptions = {}): Promise<MqttClient> {
  const { chainPem = "", keyPem = "" } = identities.get(name) ?? {};
  const client = await mqtt.connectAsync({
    host: "127.0.0.1",
    port,
    protocol: "mqtts",
    protocolVersion: 4,
    clientId: name,
    ca: authority.trustAnchorPem,
    cert: chainPem,
    key: keyPem,
    servername: "localhost",
    reconnectPeriod: 0,
    ...options,
  });
  open.push(() => client.endAsync(true));
  return client;
}

describe("the embedded broker, asking the policy", () => {
  it("answers the truth table as the engine does", async () => {
    const engine = truthEngine(truthPolicyText(8883, DENIALS), NAMES);
    const { port, broker } = await start(engine);
    const topics = truthTopics().filter((topic) => !topic.startsWith("$"));
    const expected = engineAnswers(engine, topics);
    const denied = new Set<string>();
    broker.onEvent((event) => {
      if (event.type === "denied" && event.action === "publish") denied.add(`${event.name} publish ${event.topic}`);
    });
    const actual = new Map<string, boolean>();
    // 3.1.1 acknowledges a denied publish: the broker's own event tells of it, and root sees what went through.
    const got = new Map(NAMES.map(({ name }) => [name, new Set<string>()]));
    const clients = new Map<string, MqttClient>();
    for (const { name } of NAMES) clients.set(name, await connect(port, name));
    for (const [name, client] of clients) {
      await Promise.all(topics.map((topic) => client.publishAsync(topic, "x", { qos: 1 })));
      for (const topic of topics) actual.set(`${name} publish ${topic}`, !denied.has(`${name} publish ${topic}`));
    }
    // A subscription has to be covered by one rule: each name asks for every topic it might read.
    for (const [name, client] of clients) {
      client.on("message", (topic, payload) => {
        if (payload.toString() === "truth") got.get(name)?.add(topic);
      });
      const mine = topics.filter(
        (topic) => engine.authorize({ name, listener: "mtls", action: "subscribe", topic, atMs: Date.now() }).allowed,
      );
      await Promise.all(mine.slice(0, 90).map((topic) => client.subscribeAsync(topic, { qos: 0 })));
      for (const topic of topics.filter((candidate) => !mine.includes(candidate)).slice(0, 40))
        await expect(client.subscribeAsync(topic, { qos: 0 })).rejects.toThrow();
      for (const topic of mine.slice(90)) expected.delete(`${name} receive ${topic}`);
    }
    await Promise.all(topics.map((topic) => clients.get("root")?.publishAsync(topic, "truth", { qos: 1 })));
    for (const client of clients.values()) await client.subscribeAsync("nothing", { qos: 0 }).catch(() => undefined);
    for (const { name } of NAMES) for (const topic of topics) actual.set(`${name} receive ${topic}`, got.get(name)?.has(topic) === true);
    expect(expected.size).toBeGreaterThan(5000);
    expect(differences(expected, actual, () => false)).toEqual([]);
  });

  it("answers the truth table's filters, wills and retained messages as the engine does", async () => {
    const engine = truthEngine(truthPolicyText(8883, DENIALS), NAMES);
    const { port } = await start(engine);
    const topics = truthTopics().filter((topic) => !topic.startsWith("$"));
    const ask = (name: string, action: "subscribe" | "receive", topic: string): boolean =>
      engine.authorize({ name, listener: "mtls", action, topic, atMs: Date.now() }).allowed;
    const expected = new Map<string, boolean>();
    const actual = new Map<string, boolean>();
    for (const { name } of NAMES) {
      const client = await connect(port, name);
      await Promise.all(
        truthFilters(topics).map(async (filter) => {
          // It knows no shared subscriptions.
          expected.set(`${name} subscribe ${filter}`, !filter.startsWith("$share/") && ask(name, "subscribe", filter));
          const isGranted = client.subscribeAsync(filter, { qos: 0 }).then(
            () => true,
            () => false,
          );
          actual.set(`${name} subscribe ${filter}`, await isGranted);
        }),
      );
      await client.endAsync(true);
    }
    expect(expected.size).toBeGreaterThan(4000);
    expect(differences(expected, actual, () => false)).toEqual([]);
    const questions = {
      engine,
      connect: (name: string, options: IClientOptions) => connect(port, name, options),
      topics,
      names: NAMES.map(({ name }) => name).filter((name) => name !== "root"),
      // What is retained for a wildcard comes one by one, with no sign of the last.
      filters: topics,
    };
    const wills = await willAnswers(questions);
    expect(wills.expected.size).toBeGreaterThan(100);
    expect(differences(wills.expected, wills.actual, () => false)).toEqual([]);
    const retained = await retainedAnswers(questions, { filtersOf: (name) => topics.filter((topic) => ask(name, "receive", topic)) });
    expect(retained.expected.size).toBeGreaterThan(5000);
    expect(differences(retained.expected, retained.actual, () => false)).toEqual([]);
  });

  it("knows the time, and the QoS, retain and size of a channel", async () => {
    const text = `version: 1
name: t
listeners: { mtls: { port: 8883, requires: [certificate] } }
classes: { d: { base: "d/{id}", channels: { up: { topic: up, direction: up, qos: 0, retain: false, maxBytes: 4 } } } }
roles:
  sensor: { for: devices, class: d }
  root: { grants: [{ allow: readwrite, topics: ["#"], when: { networks: [127.0.0.0/8] } }] }
  viewer: { grants: [{ allow: read, topics: [x], when: { times: [{ from: "08:00", to: "09:00" }] } }] }
`;
    let nowMs = Date.parse("2027-03-01T08:30:00Z");
    const { port } = await start(
      new PolicyEngine(parsePolicy(text, "t"), directoryOf(NAMES.filter(({ role }) => ["sensor", "root", "viewer"].includes(role)))),
      () => nowMs,
    );
    const [root, viewer, device] = [await connect(port, "root"), await connect(port, "view1"), await connect(port, "dev1")];
    const seen: string[] = [];
    root.on("message", (_topic, payload) => seen.push(payload.toString()));
    await root.subscribeAsync("d/#");
    for (const [payload, options] of [
      ["long!", {}],
      ["q1", { qos: 1 }],
      ["kept", { retain: true }],
      ["good", {}],
    ] as const)
      await device.publishAsync("d/dev1/up", payload, options);
    while (!seen.includes("good")) await new Promise<void>((resolve) => root.once("message", () => resolve()));
    expect(seen).toEqual(["good"]);
    await viewer.subscribeAsync("x");
    nowMs += 3_600_000;
    await expect(viewer.subscribeAsync("x")).rejects.toThrow();
  });

  it("holds the rates of roles and channels, wills and retained messages", async () => {
    const text = `version: 1
name: t
listeners: { mtls: { port: 8883, requires: [certificate] } }
classes: { d: { base: "d/{id}", channels: { slow: { topic: slow, direction: up, messagesPerSecond: 2 }, up: { topic: up/#, direction: up } } } }
roles:
  sensor: { for: devices, class: d, limits: { messagesPerSecond: 5, bytesPerSecond: 100 }, may: { retain: false, will: false } }
  root: { grants: [{ allow: readwrite, topics: ["#"] }] }
`;
    let nowMs = Date.parse("2027-03-01T08:30:00Z");
    const engine = new PolicyEngine(parsePolicy(text, "t"), directoryOf(NAMES.filter(({ role }) => ["sensor", "root"].includes(role))));
    const { port, broker } = await start(engine, () => nowMs);
    const seen: string[] = [];
    const root = await connect(port, "root");
    root.on("message", (topic, payload) => seen.push(`${topic} ${payload.toString().slice(0, 9)}`));
    await root.subscribeAsync("d/#", { qos: 1 });
    const settled = async (): Promise<string[]> => {
      const end = new Promise<void>((resolve) =>
        root.on("message", (topic) => {
          if (topic === "d/end") resolve();
        }),
      );
      await root.publishAsync("d/end", "", { qos: 1 });
      await end;
      root.removeAllListeners("message");
      root.on("message", (topic, payload) => seen.push(`${topic} ${payload.toString().slice(0, 9)}`));
      return seen.splice(0).filter((line) => !line.startsWith("d/end"));
    };
    const will = { topic: "d/dev10/up/will", payload: Buffer.from("gone"), qos: 1 as const, retain: false };
    const [device, other] = [await connect(port, "dev1"), await connect(port, "dev10", { will })];
    for (let count = 1; count <= 4; count += 1) await device.publishAsync("d/dev1/slow", `s${count}`, { qos: 1 });
    for (let count = 1; count <= 4; count += 1) await device.publishAsync("d/dev1/up/x", `u${count}`, { qos: 1 });
    await device.publishAsync("d/dev1/up/x", "kept", { qos: 1, retain: true });
    await other.publishAsync("d/dev10/slow", "other", { qos: 1 });
    // Two of the slow channel, three more of the role; another name has rates of its own.
    expect(await settled()).toEqual([
      "d/dev1/slow s1",
      "d/dev1/slow s2",
      "d/dev1/up/x u1",
      "d/dev1/up/x u2",
      "d/dev1/up/x u3",
      "d/dev10/slow other",
    ]);
    nowMs += 500;
    await device.publishAsync("d/dev1/slow", "s5", { qos: 1 });
    await device.publishAsync("d/dev1/slow", "s6", { qos: 1 });
    await device.publishAsync("d/dev1/up/x", "long".repeat(30), { qos: 1 });
    expect(await settled()).toEqual(["d/dev1/slow s5"]);
    nowMs += 10_000;
    await device.publishAsync("d/dev1/up/x", "long".repeat(30), { qos: 1 });
    await device.publishAsync("d/dev1/up/x", "x", { qos: 1 });
    expect(await settled()).toEqual(["d/dev1/up/x longlongl"]);
    const denied = new Promise<string>((resolve) =>
      broker.onEvent((event) => {
        if (event.type === "denied") resolve(`${event.name} ${event.topic}`);
      }),
    );
    other.stream.destroy();
    expect(await denied).toBe("dev10 d/dev10/up/will");
    expect(await settled()).toEqual([]);
  });

  it("holds the limits of the policy, and those of a role's connections", async () => {
    const text = `version: 1
name: t
listeners: { mtls: { port: 8883, requires: [certificate] }, psk: { port: 8884, requires: [psk], scope: recovery } }
classes: { d: { base: "d/{id}", channels: { up: { topic: up, direction: up } } } }
roles:
  sensor: { for: devices, class: d, limits: { connections: 1 } }
  root: { grants: [{ allow: readwrite, topics: ["#"] }], limits: { connections: 2 } }
limits: { connections: 3, packetBytes: 1024, queuedMessages: 2, sessionExpirySeconds: 100 }
`;
    const engine = new PolicyEngine(parsePolicy(text, "t"), directoryOf(NAMES.filter(({ role }) => ["sensor", "root"].includes(role))));
    const { port, broker } = await start(engine, Date.now, {});
    const refused: string[] = [];
    broker.onEvent((event) => {
      if (event.type === "refused") refused.push(`${event.name ?? ""} ${event.reason}`);
    });
    const device = await connect(port, "dev1", { clean: false });
    await expect(connect(port, "dev1", { clientId: "dev1~2" })).rejects.toThrow(/Server unavailable/);
    await device.endAsync();
    const [root] = [await connect(port, "root"), await connect(port, "root", { clientId: "root~2" })];
    await expect(connect(port, "root", { clientId: "root~3" })).rejects.toThrow(/Server unavailable/);
    await connect(port, "dev10");
    await expect(connect(port, "Dev1")).rejects.toThrow();
    expect(refused).toEqual(["dev1 TOO_MANY_SESSIONS", "root TOO_MANY_SESSIONS", " TOO_MANY_CONNECTIONS"]);
    const closed = new Promise<void>((resolve) => root.once("close", () => resolve()));
    root.on("error", () => undefined);
    root.publish("d/x", Buffer.alloc(1_024), { qos: 1 });
    await closed;
  });

  it("gives the embedded broker each of the policy's limits that it holds", () => {
    const limits = Object.fromEntries(EMBEDDED_LIMITS.map((name, index) => [name, 5_000 + index]));
    const text = `version: 1\nname: t\nlisteners: { mtls: { port: 1, requires: [certificate] } }\nroles: { r: {} }\nlimits: ${JSON.stringify(limits)}\n`;
    const policy = new PolicyEngine(parsePolicy(text, "t"), directoryOf([]));
    const given = embeddedMaterial({ policy } as CaMaterial).limits ?? {};
    expect(Object.values(given).sort()).toEqual(Object.values(limits).sort());
    expect(Object.keys(given).filter((name) => !(name in DEFAULT_LIMITS))).toEqual([]);
  });

  it("asks for a password or a token beside the certificate where the policy does", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const publicKeyPem = publicKey.export({ type: "spki", format: "pem" }).toString();
    const text = truthPolicyText(8883).replace("requires: [certificate]", "requires: [certificate, password]");
    const withSecrets = NAMES.map((principal) =>
      principal.name === "dev1" ? { ...principal, passwordHash: hashPassword("good"), publicKeyPems: () => [publicKeyPem] } : principal,
    );
    const { port } = await start(truthEngine(text, withSecrets));
    await connect(port, "dev1", { username: "dev1", password: "good" });
    await expect(connect(port, "dev1", { username: "dev1", password: "bad" })).rejects.toThrow(/Not authorized/);
    await expect(connect(port, "dev1", {})).rejects.toThrow(/Not authorized/);
    await expect(connect(port, "dev10", { username: "dev1", password: "good" })).rejects.toThrow(/Not authorized/);
    const tokens = await start(truthEngine(text.replace("password]", "token]"), withSecrets));
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const token = (claims: object): string => {
      const head = `${part({ alg: "ES256" })}.${part(claims)}`;
      return `${head}.${sign("sha256", Buffer.from(head), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
    };
    const soon = Math.floor(Date.now() / 1000) + 600;
    await connect(tokens.port, "dev1", { username: "dev1", password: token({ sub: "dev1", exp: soon }) });
    await expect(connect(tokens.port, "dev1", { username: "dev1", password: token({ sub: "dev10", exp: soon }) })).rejects.toThrow(
      /Not authorized/,
    );
    await expect(connect(tokens.port, "dev1", { username: "dev1", password: token({ sub: "dev1", exp: soon - 1200 }) })).rejects.toThrow(
      /Not authorized/,
    );
  });
});
