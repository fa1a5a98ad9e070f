import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAsync } from "mqtt";
import type { IClientOptions, MqttClient } from "mqtt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { watchOver } from "../../../sim/brokers/orphan-guard.js";
import { TestAuthority } from "../../../test/support/brokers/test-certificates.js";
import { retainedAnswers, willAnswers } from "../../../test/support/brokers/truth-kept.js";
import {
  brokerAnswers,
  differences,
  engineAnswers,
  truthEngine,
  truthFilters,
  truthPolicyText,
  truthTopics,
  TRUTH_NAMES,
} from "../../../test/support/brokers/truth-table.js";
import type { PolicyEngine } from "../../policy/policy-engine.js";
import { CompileInput } from "../../policy/policy-target.js";
import { compileEjabberd, EJABBERD_HOST } from "./ejabberd-policy.js";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";

/** Capitals and small letters are one there, and a last `+` cannot be granted. */
const NAMES = TRUTH_NAMES.filter(({ name }) => name === name.toLowerCase());
const text = (port: number): string =>
  truthPolicyText(port).replace("requires: [certificate]", "requires: [password]").replace("config/+", "config/a");
const PASSWORD = "only in this test";

const room = mkdtempSync(join(tmpdir(), "hawser-ejabberd-"));
let authority: TestAuthority;
let port = 0;
let stop: () => Promise<unknown> = () => Promise.resolve();

beforeAll(async () => {
  [port = 0] = await freePorts(1);
  authority = await TestAuthority.create();
  const { chainPem, keyPem } = await authority.issue("broker", "server");
  const tls = { anchors: "", chain: join(room, "chain.pem"), key: join(room, "key.pem"), crl: "", psk: "" };
  const { files } = compileEjabberd(new CompileInput(truthEngine(text(port), NAMES), room, tls));
  writeFileSync(tls.chain, chainPem);
  writeFileSync(tls.key, keyPem);
  for (const [name, content] of files) writeFileSync(join(room, name), content);
  for (const name of ["db", "logs"]) mkdirSync(join(room, name));
  const register = NAMES.map(
    ({ name }) => `ok = ejabberd_auth:try_register(<<"${name}">>, <<"${EJABBERD_HOST}">>, <<"${PASSWORD}">>)`,
  ).join(", ");
  const start = `{ok, _} = application:ensure_all_started(ejabberd), ${register}, io:format("ready~n").`;
  const env = {
    PATH: process.env["PATH"],
    HOME: room,
    ERL_LIBS: "/usr/lib/x86_64-linux-gnu",
    EJABBERD_CONFIG_PATH: join(room, "ejabberd.yml"),
    EJABBERD_LOG_PATH: join(room, "logs/ejabberd.log"),
  };
  // Debian's script would become the user ejabberd, who may not read the test's files; without a node name it needs no port mapper.
  const child = spawn("erl", ["-noinput", "-mnesia", "dir", JSON.stringify(join(room, "db")), "-eval", start], {
    env,
    cwd: room,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = once(child, "close");
  void ended.then(watchOver(child));
  stop = () => {
    child.kill("SIGKILL");
    return ended;
  };
  let log = "";
  for await (const chunk of child.stdout) {
    log += String(chunk);
    if (/^ready$/m.test(log) && log.includes("Start accepting TLS connections")) return child.stdout.resume() && undefined;
  }
  throw new Error(`ejabberd did not start: ${log.slice(-2000)}`);
});

afterAll(async () => {
  await stop();
  removeDirectory(room);
});

function connect(name: string, options: IClientOptions = {}): Promise<MqttClient> {
  return connectAsync({
    host: "127.0.0.1",
    port,
    protocol: "mqtts",
    protocolVersion: 5,
    clientId: name,
    username: name,
    password: PASSWORD,
    ca: authority.trustAnchorPem,
    servername: "localhost",
    reconnectPeriod: 0,
    ...options,
  });
}

/** Topics that begin with `$` are nobody's there, and a shared subscription ends the connection. */
const isKnownDifference = (question: string): boolean => / \$/.test(question);

describe("ejabberd, configured by the compiler", () => {
  const topics = truthTopics();
  let engine: PolicyEngine;
  beforeAll(() => (engine = truthEngine(text(port), NAMES)));
  const maySubscribe = (name: string, topic: string): boolean =>
    engine.authorize({ name, listener: "mtls", action: "subscribe", topic, atMs: Date.now() }).allowed;
  // A subscription has to be granted for messages to come: every name asks for each topic that it might read.
  const readable = (name: string): string[] => topics.filter((topic) => !topic.startsWith("$") && maySubscribe(name, topic));

  it("answers the truth table as the policy does", async () => {
    const expected = engineAnswers(engine, topics);
    const actual = await brokerAnswers(connect, NAMES, topics, (name) => ["#", ...readable(name)]);
    expect(expected.size).toBeGreaterThan(4000);
    expect(differences(expected, actual, isKnownDifference)).toEqual([]);
  });

  it("grants the filters with wildcards that the policy grants", async () => {
    const filters = truthFilters(topics).filter((filter) => !filter.startsWith("$share/"));
    const expected = new Map<string, boolean>();
    const actual = new Map<string, boolean>();
    for (const { name } of NAMES) {
      const client = await connect(name);
      await Promise.all(
        filters.map(async (filter) => {
          expected.set(`${name} subscribe ${filter}`, maySubscribe(name, filter));
          const granted = client.subscribeAsync(filter, { qos: 0 }).then(
            () => true,
            () => false,
          );
          actual.set(`${name} subscribe ${filter}`, await granted);
        }),
      );
      await client.endAsync(true);
    }
    expect(expected.size).toBeGreaterThan(2000);
    expect(differences(expected, actual, isKnownDifference)).toEqual([]);
  });

  it("holds wills and retained messages to the same rules", async () => {
    const names = NAMES.map(({ name }) => name).filter((name) => name !== "root");
    const questions = { engine, connect, topics, names };
    const wills = await willAnswers(questions);
    expect(wills.expected.size).toBeGreaterThan(100);
    expect(differences(wills.expected, wills.actual, isKnownDifference)).toEqual([]);
    const retained = await retainedAnswers(questions, { filtersOf: readable });
    expect(retained.expected.size).toBeGreaterThan(4000);
    // Whoever subscribes to exactly a topic with an empty last level is not sent what is kept there.
    const isKnown = (question: string, answer: boolean): boolean =>
      isKnownDifference(question) || (answer && / replay .*\/$/.test(question));
    expect(differences(retained.expected, retained.actual, isKnown)).toEqual([]);
  });
});

describe("the compiler for ejabberd", () => {
  const refuse = (policy: string, names = NAMES): string => {
    try {
      compileEjabberd(new CompileInput(truthEngine(policy, names), "/x", { anchors: "", chain: "/c", key: "/k", crl: "", psk: "" }));
      return "";
    } catch (error) {
      return (error as { findings: { message: string }[] }).findings.map(({ message }) => message).join("\n");
    }
  };

  it("refuses what would be wider there, or somebody else's", () => {
    expect(refuse(text(1).replace("config/a", "config/+"))).toMatch(/would let its client subscribe to .*config\/#/);
    expect(refuse(text(1).replace("tools", "x"), [...TRUTH_NAMES])).toMatch(/takes Dev1 and dev1 for one user/);
    expect(
      refuse(text(1).replace("root:", "odd:\n    grants: [{ allow: read, topics: ['x/%u'] }]\n  root:"), [
        ...NAMES,
        { name: "o", kind: "client", role: "odd", attributes: {}, active: true, recoverable: false },
      ]),
    ).toMatch(/%u/);
    expect(refuse(truthPolicyText(1))).toMatch(/does not read client certificates/);
  });
});
