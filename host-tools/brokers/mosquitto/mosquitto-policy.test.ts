import { once } from "node:events";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { connectAsync } from "mqtt";
import type { IClientOptions, MqttClient } from "mqtt";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { watchOver } from "../../../sim/brokers/orphan-guard.js";
import { TestAuthority } from "../../../test/support/brokers/test-certificates.js";
import type { TestIdentity } from "../../../test/support/brokers/test-certificates.js";
import { retainedAnswers, willAnswers } from "../../../test/support/brokers/truth-kept.js";
import {
  brokerAnswers,
  DENIALS,
  differences,
  engineAnswers,
  TRUTH_NAMES,
  truthEngine,
  truthPolicyText,
  truthTopics,
} from "../../../test/support/brokers/truth-table.js";
import { PolicyEngine } from "../../policy/policy-engine.js";
import { defaultPolicy } from "../../policy/default-policy.js";
import { hashPassword } from "../../policy/password.js";
import { parsePolicy } from "../../policy/policy-file.js";
import { directoryOf } from "../../policy/policy-model.js";
import type { Principal } from "../../policy/policy-model.js";
import { CompileInput } from "../../policy/policy-target.js";
import type { Compiled } from "../../policy/policy-target.js";
import { mosquittoPolicyAcl } from "./mosquitto-policy-acl.js";
import { compileMosquittoPolicy } from "./mosquitto-policy.js";
import type { MosquittoCompileOptions } from "./mosquitto-policy.js";
import { findControlPlugin } from "./mosquitto-process.js";
import { endSessions } from "./mosquitto-session-ending.js";

let authority: TestAuthority;
const identities = new Map<string, TestIdentity>();
const NAMES = [
  ...TRUTH_NAMES,
  { name: "guard", kind: "client", role: "guarded", attributes: {}, active: true, recoverable: false } as const,
];

beforeAll(async () => {
  authority = await TestAuthority.create();
  for (const { name } of NAMES) identities.set(name, await authority.issue(name));
});

const rooms: string[] = [];
afterAll(() => rooms.forEach((room) => rmSync(room, { recursive: true, force: true })));

function newRoom(): string {
  const room = mkdtempSync(join(tmpdir(), "hawser-policy-"));
  rooms.push(room);
  return room;
}

function inputFor(engine: PolicyEngine, room: string): CompileInput {
  return new CompileInput(engine, room, {
    anchors: join(room, "ca.pem"),
    chain: join(room, "server.pem"),
    key: join(room, "server.key"),
    crl: join(room, "crl.pem"),
    psk: join(room, "psk.txt"),
  });
}

function compile(engine: PolicyEngine, room: string, options: MosquittoCompileOptions = {}): Compiled {
  const plugin = findControlPlugin();
  return compileMosquittoPolicy(inputFor(engine, room), { user: "root", ...(plugin === undefined ? {} : { plugin }), ...options });
}

/** Runs the compiled configuration as it is. */
async function run(engine: PolicyEngine, options: MosquittoCompileOptions = {}): Promise<void> {
  const room = newRoom();
  const server = await authority.issue("broker", "server");
  const material = {
    "ca.pem": authority.trustAnchorPem,
    "server.pem": server.chainPem,
    "server.key": server.keyPem,
    "crl.pem": await authority.crlPem(),
    "psk.txt": "nobody:00\n",
  };
  const { files, initial = [] } = compile(engine, room, options);
  for (const [name, content] of [...Object.entries(material), ...files, ...initial]) {
    mkdirSync(dirname(join(room, name)), { recursive: true });
    writeFileSync(join(room, name), content);
  }
  for (const name of ["data", "conf.d"]) mkdirSync(join(room, name), { recursive: true });
  chmodSync(room, 0o700);
  await launch(room);
}

/** Another version's program, for the compiler's outputs for it. */
const MOSQUITTO = process.env["HAWSER_TEST_MOSQUITTO"] ?? "/usr/sbin/mosquitto";

async function launch(room: string): Promise<void> {
  const child = spawn(MOSQUITTO, ["-c", join(room, "mosquitto.conf")], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "close");
  void ended.then(watchOver(child));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  let log = "";
  for await (const chunk of child.stderr) {
    log += String(chunk);
    if (/mosquitto version \S+ running/.test(log)) return child.stderr.resume() && undefined;
  }
  throw new Error(`mosquitto did not start: ${log}`);
}

function connector(port: number, more: IClientOptions = {}): (name: string) => Promise<MqttClient> {
  return (name) => {
    const { chainPem = "", keyPem = "" } = identities.get(name) ?? {};
    return connectAsync({
      host: "127.0.0.1",
      port,
      protocol: "mqtts",
      protocolVersion: 5,
      clientId: name,
      ca: authority.trustAnchorPem,
      cert: chainPem,
      key: keyPem,
      servername: "localhost",
      reconnectPeriod: 0,
      reschedulePings: false,
      ...more,
    });
  };
}

/**
 * mosquitto keeps `$` to itself whatever the ACL says, and a device's patterns hold for every name: there is no device of a client's name.
 */
function isKnownDifference(question: string): boolean {
  const [name = "", action = "", ...rest] = question.split(" ");
  const topic = rest.join(" ");
  if (topic.startsWith("$")) return action === "publish";
  return NAMES.some((principal) => principal.name === name && principal.kind === "client") && topic.startsWith(`devices/${name}/`);
}

describe("mosquitto, configured by the compiler", () => {
  it.each([
    ["plain subscriptions", undefined],
    ["shared subscriptions", (name: string) => [`$share/${name}/#`]],
  ])("answers the truth table as the policy does, by %s", async (_how, filtersOf) => {
    const [port = 0] = await freePorts(1);
    const engine = truthEngine(truthPolicyText(port, DENIALS), NAMES);
    await run(engine);
    const topics = truthTopics();
    const expected = engineAnswers(engine, topics);
    expect(expected.size).toBeGreaterThan(6000);
    expect(differences(expected, await brokerAnswers(connector(port), NAMES, topics, filtersOf), isKnownDifference)).toEqual([]);
  });

  it("answers for a large fleet by patterns as it does by names", async () => {
    const [port = 0] = await freePorts(1);
    const text = truthPolicyText(port);
    const simple = NAMES.filter(({ role }) => role !== "press" && role !== "guarded");
    const gone: Principal[] = [
      { name: "gone", kind: "device", role: "sensor", attributes: {}, active: false, recoverable: false },
      { name: "lost", kind: "device", role: "sensor", attributes: {}, active: false, recoverable: true },
    ];
    for (const { name } of gone) identities.set(name, await authority.issue(name));
    const engine = truthEngine(text, [...simple, ...gone]);
    await run(engine, { devices: "patterns" });
    const topics = [
      ...truthTopics(),
      ...gone.flatMap(({ name }) => ["up/x", "down/x", "identity/request", "identity/response"].map((rest) => `devices/${name}/${rest}`)),
    ];
    const actual = await brokerAnswers(connector(port), [...simple, ...gone], topics);
    // A device in recovery goes on reading what is meant for it.
    const isKnown = (question: string): boolean =>
      isKnownDifference(question) || /^lost receive devices\/lost\/(down\/x|identity\/response)$/.test(question);
    expect(differences(engineAnswers(engine, topics), actual, isKnown)).toEqual([]);
  });

  it("holds wills and retained messages to the same rules", async () => {
    const [port = 0] = await freePorts(1);
    const engine = truthEngine(truthPolicyText(port, DENIALS), NAMES);
    await run(engine);
    const questions = {
      engine,
      connect: (name: string, options: IClientOptions) => connector(port, options)(name),
      topics: truthTopics(),
      names: NAMES.map(({ name }) => name).filter((name) => name !== "root"),
    };
    const wills = await willAnswers(questions);
    expect(wills.expected.size).toBeGreaterThan(100);
    expect(differences(wills.expected, wills.actual, isKnownDifference)).toEqual([]);
    const retained = await retainedAnswers(questions, { filtersOf: () => ["#"] });
    expect(retained.expected.size).toBeGreaterThan(5000);
    expect(differences(retained.expected, retained.actual, isKnownDifference)).toEqual([]);
  });

  it("asks for a password on a listener that wants one", async () => {
    const [mtls = 0, web = 0] = await freePorts(2);
    const text = truthPolicyText(mtls).replace("classes:", `  web: { port: ${web}, bind: 127.0.0.1, requires: [password] }\nclasses:`);
    await run(
      truthEngine(text, [
        ...TRUTH_NAMES.filter(({ name }) => name !== "backend"),
        {
          name: "backend",
          kind: "client",
          role: "backend",
          attributes: {},
          active: true,
          recoverable: false,
          passwordHash: hashPassword("good"),
        },
      ]),
    );
    const enter = connector(web, { username: "backend", password: "good" });
    const mqtt = await enter("x");
    await mqtt.publishAsync("devices/dev1/down/x", "1", { qos: 1 });
    await expect(mqtt.publishAsync("devices/dev1/up/x", "1", { qos: 1 })).rejects.toThrow();
    await mqtt.endAsync(true);
    for (const [username, password] of [
      ["backend", "bad"],
      ["dev1", "good"],
      ["-nobody", ""],
    ] as const)
      await expect(connector(web, { username, password })("x")).rejects.toThrow();
  });
});

it("ends every session of a name on every listener, and lets nobody else do that", async () => {
  const [mtls = 0, web = 0, socket = 0] = await freePorts(3);
  const text = truthPolicyText(mtls).replace(
    "classes:",
    `  web: { port: ${web}, bind: 127.0.0.1, requires: [password] }\n  ws: { port: ${socket}, bind: 127.0.0.1, requires: [certificate], websocket: true }\nclasses:`,
  );
  const names = TRUTH_NAMES.map((principal) =>
    principal.name === "backend" ? { ...principal, passwordHash: hashPassword("good") } : principal,
  );
  await run(truthEngine(text, names));
  const { chainPem = "", keyPem = "" } = identities.get("view1") ?? {};
  const byCertificate = { ca: authority.trustAnchorPem, cert: chainPem, key: keyPem, servername: "localhost" };
  const overWebSocket = (): Promise<MqttClient> =>
    connectAsync(`wss://127.0.0.1:${socket}`, { protocolVersion: 5, reconnectPeriod: 0, wsOptions: byCertificate });
  const bystander = await connector(mtls)("dev10");
  const ended = await Promise.all([
    connector(mtls)("dev1"),
    connector(web, { username: "backend", password: "good" })("x"),
    overWebSocket(),
  ]);
  const closed = ended.map((client) => {
    client.on("error", () => undefined);
    return new Promise<void>((resolve) => client.once("close", () => resolve()));
  });
  await expect(bystander.publishAsync("$CONTROL/dynamic-security/v1", "{}", { qos: 1 })).rejects.toThrow(/Not authorized/);
  const control = await authority.issue("-control");
  await endSessions({ mtlsPort: mtls, reach: "127.0.0.1" }, { ...control, trustAnchorPem: authority.trustAnchorPem }, [
    "dev1",
    "backend",
    "view1",
  ]);
  await Promise.all(closed);
  await bystander.publishAsync("devices/dev10/up/x", "1", { qos: 1 });
  await bystander.endAsync(true);
});

describe("the compiler for mosquitto", () => {
  it("says what ends no sessions, and refuses to hand mosquitto's administration to anybody", () => {
    const input = inputFor(truthEngine(truthPolicyText(8883), NAMES), "/x");
    expect(compileMosquittoPolicy(input).risks).toContainEqual(expect.stringContaining("give its path with --plugin"));
    expect(
      refuse(truthPolicyText(8883, "  guarded:\n    grants:\n      - { allow: write, topics: ['$CONTROL/dynamic-security/v1'] }\n"))[0],
    ).toMatch(/administers mosquitto itself/);
  });

  it("writes the policy's bytes of an address for nft, and says that mosquitto does not hold them", () => {
    const text = `${truthPolicyText(8883)}limits: { bytesPerSecondPerSource: 65536 }\n`;
    const { files, risks } = compileMosquittoPolicy(inputFor(truthEngine(text, NAMES), "/x"));
    expect(files.get("limits.nft")).toContain(
      "tcp dport 8883 ct state established update @port_8883_bytes4 { ip saddr limit rate over 65536 bytes/second",
    );
    expect(risks).toContainEqual(expect.stringContaining("holds once limits.nft is loaded"));
    expect(compileMosquittoPolicy(inputFor(truthEngine(truthPolicyText(8883), NAMES), "/x")).files.has("limits.nft")).toBe(false);
  });

  it("writes a unit and a drop-in that systemd takes, also for a port below 1024 and a path with a percent sign", () => {
    const { files } = compile(truthEngine(truthPolicyText(443), NAMES), "/srv/a%b");
    const unit = files.get("hawser-mosquitto.service") ?? "";
    expect(unit).toContain("\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n");
    expect(unit).toContain("\nExecStart=/usr/sbin/mosquitto -c /srv/a%%b/mosquitto.conf\n");
    expect(files.get("mosquitto.service.d/hawser.conf")).toContain("\nExecStartPre=\nExecStart=\nExecStart=/usr/sbin/mosquitto");
    const room = newRoom();
    writeFileSync(join(room, "hawser-mosquitto.service"), unit);
    expect(
      spawnSync("systemd-analyze", ["verify", "--man=no", join(room, "hawser-mosquitto.service")], { encoding: "utf8" }),
    ).toMatchObject({ status: 0, stderr: "" });
  });

  const refuse = (text: string): string[] => {
    try {
      compile(truthEngine(text, NAMES), "/x");
      return [];
    } catch (error) {
      return (error as { findings: { message: string; source: { line: number } }[] }).findings.map(
        ({ message, source }) => `${text.split("\n")[source.line - 1]?.trim() ?? ""} | ${message}`,
      );
    }
  };

  it.each([
    [
      "times of access",
      "  x:\n    grants:\n      - { allow: read, topics: [t], when: { times: [{ from: '08:00', to: '09:00' }] } }\n",
      "times of access",
    ],
    ["networks", "  x:\n    grants:\n      - { allow: read, topics: [t], when: { networks: [10.0.0.0/8] } }\n", "source networks"],
    [
      "a denial of one direction where the other is allowed",
      `  guarded:\n    grants:\n      - { allow: readwrite, topics: ['t/#'] }\n      - { deny: write, topics: ['t/x'] }\n`,
      "cannot deny writing t/x alone",
    ],
    [
      "rights of a role that it cannot take away",
      "  x: { may: { retain: false } }\n",
      "may not use retain; if clients are trusted to keep it, say unenforced: { mosquitto: [retain] }",
    ],
  ])("refuses %s, naming the line", (_what, roles, message) => {
    const found = refuse(truthPolicyText(8883, roles));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });

  it("refuses a certificate and a password on one listener, and tokens", () => {
    expect(refuse(truthPolicyText(8883).replace("requires: [certificate]", "requires: [certificate, password]"))[0]).toMatch(
      /ignores the password/,
    );
    expect(refuse(truthPolicyText(8883).replace("requires: [certificate]", "requires: [token]"))[0]).toMatch(/no tokens/);
  });

  it("leaves out what the policy agrees to leave out, and says so", () => {
    const text = `${truthPolicyText(8883).replace("up: { topic: up/#,", "up: { topic: up/#, qos: 1,")}unenforced: { mosquitto: [qos] }\n`;
    expect(compile(truthEngine(text, NAMES), "/x").risks).toContain("mosquitto 2.0.11 does not enforce qos; the policy agrees to that");
  });

  it("writes a bridge that carries the named topics only, each one way", () => {
    const text = `${truthPolicyText(8883)}bridges:\n  cloud:\n    host: mqtt.example.com\n    port: 8883\n    certificate: { ca: /etc/ca.pem, chain: /etc/b.crt, key: /etc/b.key }\n    topics:\n      - { topic: "up/#", direction: out, localPrefix: devices/dev1/, remotePrefix: public/dev1/ }\n`;
    const config = compile(truthEngine(text, NAMES), "/x").files.get("mosquitto.conf") ?? "";
    expect(config).toContain("\nconnection cloud\naddress mqtt.example.com:8883\n");
    expect(config).toContain("\ntopic up/# out 1 devices/dev1/ public/dev1/\n");
  });

  it("serves a large fleet by a handful of patterns", () => {
    const devices = Array.from({ length: 10_000 }, (_, index): Principal => ({
      name: `dev-${index}`,
      kind: "device",
      role: "sensor",
      attributes: {},
      active: index % 100 !== 0,
      recoverable: true,
    }));
    const engine = new PolicyEngine(
      defaultPolicy(),
      directoryOf([...devices, { name: "backend", kind: "client", role: "backend", attributes: {}, active: true, recoverable: false }]),
    );
    const { text } = mosquittoPolicyAcl(inputFor(engine, "/x"), defaultPolicy().listeners.get("mtls")!);
    expect(text).toContain("\npattern write devices/%u/up/#\n");
    // One block for each device that may not write now, and for the backend.
    expect(text.match(/^user /gm)).toHaveLength(1 + 100 + 1);
  });

  it("gives the built-in policy the ACL files that every CA had before", async () => {
    const { mosquittoFullAcl, mosquittoRecoveryAcl } = await import("./mosquitto-acl.js");
    const names: Principal[] = [
      { name: "backend", kind: "client", role: "backend", attributes: {}, active: true, recoverable: false },
      { name: "dev1", kind: "device", role: "sensor", attributes: {}, active: true, recoverable: true },
      { name: "gone", kind: "device", role: "sensor", attributes: {}, active: false, recoverable: false },
    ];
    const input = inputFor(new PolicyEngine(defaultPolicy(), directoryOf(names)), "/x");
    const lines = (text: string): string[] =>
      text.split("\n").filter((line) => line !== "" && !line.startsWith("#") && !/^topic deny (devices\/backend\/|\$SYS)/.test(line));
    const acl = (name: string): string[] =>
      lines(mosquittoPolicyAcl(input, defaultPolicy().listeners.get(name)!, { isControlled: name === "mtls" }).text);
    expect([...acl("mtls")].sort()).toEqual(
      lines(
        mosquittoFullAcl(
          [
            { name: "backend", role: "backend" },
            { name: "dev1", role: "sensor" },
          ],
          ["gone"],
        ),
      ).sort(),
    );
    expect(acl("psk")).toEqual(lines(mosquittoRecoveryAcl([{ name: "dev1", role: "sensor" }])));
  });
});

describe("random policies", () => {
  const base = fc.constantFrom("a/{id}", "{site}/{id}", "a/{site}/{id}", "{id}");
  const filter = fc
    .array(fc.constantFrom("a", "b", "+", "{site}", "{id}", "s1", "u"), { minLength: 1, maxLength: 3 })
    .chain((levels) => fc.constantFrom(levels.join("/"), `${levels.join("/")}/#`));
  const target = fc.oneof(
    fc.constantFrom(
      "channels: [one.u]",
      "channels: [two.d]",
      "channels: [one.u, two.*]",
      "channels: [one.u], scope: { site: s1 }",
      "channels: [two.*], scope: { site: '{site}' }",
    ),
    filter.map((text) => `topics: ['${text}']`),
  );
  const grant = fc
    .record({ effect: fc.constantFrom("allow", "allow", "allow", "deny"), access: fc.constantFrom("read", "write", "readwrite"), target })
    .map(({ effect, access, target: what }) => `      - { ${effect === "deny" ? "deny: readwrite" : `allow: ${access}`}, ${what} }`);
  const policies = fc.tuple(base, base, fc.array(grant, { maxLength: 3 }), fc.array(grant, { minLength: 1, maxLength: 4 }));

  it("are answered by the engine as by a mosquitto with their ACL", async () => {
    const [port = 0] = await freePorts(1);
    const engines = fc.sample(policies, { numRuns: 25, seed: 7 }).map(([one, two, ofDevice, ofClient], index) => {
      const text = `version: 1\nname: p\nattributes: { site: {} }\nlisteners: { mtls: { port: 1, requires: [certificate] } }\nclasses:\n  one: { base: '${one}', channels: { u: { topic: u/#, direction: up } } }\n  two: { base: '${two}', channels: { d: { topic: d/+, direction: down }, u: { topic: u, direction: up } } }\nroles:\n  one: { for: devices, class: one }\n  two:\n    for: devices\n    class: two\n    grants:\n${ofDevice.join("\n") || "      []"}\n  user:\n    grants:\n${ofClient.join("\n")}\n`;
      const name = (short: string): string => `${short}.${index}`;
      const names: Principal[] = [
        { name: name("d1"), kind: "device", role: "one", attributes: { site: "s1" }, active: true, recoverable: true },
        { name: name("d2"), kind: "device", role: "two", attributes: { site: "s2" }, active: true, recoverable: true },
        { name: name("c"), kind: "client", role: "user", attributes: { site: "s1" }, active: true, recoverable: false },
      ];
      return new PolicyEngine(parsePolicy(text, text), directoryOf(names));
    });
    const blocks = engines.map(
      (engine) => mosquittoPolicyAcl(inputFor(engine, "/x"), engine.policy.listeners.get("mtls")!, { devices: "named" }).text,
    );
    const room = newRoom();
    writeFileSync(join(room, "acl"), `user root\ntopic readwrite #\n${blocks.map((text) => text.replace(/^# .*$/m, "")).join("\n")}`);
    writeFileSync(
      join(room, "mosquitto.conf"),
      `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\nacl_file ${join(room, "acl")}\nset_tcp_nodelay true\n`,
    );
    await launch(room);
    const topics = engines
      .flatMap((_engine, index) => [
        `a/d1.${index}/u`,
        `a/d1.${index}/u/x`,
        `s1/d1.${index}/u`,
        `a/s1/d1.${index}/u/y`,
        `d1.${index}/u`,
        `a/d2.${index}/d/x`,
        `s2/d2.${index}/u`,
        `a/s2/d2.${index}/d/x`,
        `d2.${index}/u`,
        `c.${index}/a`,
      ])
      .concat(["a", "b", "a/b", "s1/a", "s2/a/b", "u/u", "a/u/u", "$x/a"]);
    const all: Principal[] = [
      ...engines.flatMap((engine) => [...engine.directory.all()]),
      { name: "root", kind: "client", role: "root", attributes: {}, active: true, recoverable: false },
    ];
    const actual = await brokerAnswers(
      (name) => connectAsync({ host: "127.0.0.1", port, protocolVersion: 5, clientId: name, username: name, reconnectPeriod: 0 }),
      all,
      topics,
    );
    const expected = new Map(engines.flatMap((engine) => [...engineAnswers(engine, topics)]));
    expect(expected.size).toBeGreaterThan(30_000);
    expect([...expected.values()].filter((answer) => answer).length).toBeGreaterThan(1000);
    expect(differences(expected, actual, () => false)).toEqual([]);
  });
});

it("has the mosquitto that these tests are about", () => {
  expect(existsSync("/usr/sbin/mosquitto")).toBe(true);
  expect(parsePolicy(truthPolicyText(1, DENIALS), "truth.yaml").roles.size).toBe(6);
});
