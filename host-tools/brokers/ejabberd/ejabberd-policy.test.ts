import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAsync } from "mqtt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { watchOver } from "../../../sim/brokers/orphan-guard.js";
import { TestAuthority } from "../../../test/support/brokers/test-certificates.js";
import {
  brokerAnswers,
  differences,
  engineAnswers,
  truthEngine,
  truthPolicyText,
  truthTopics,
  TRUTH_NAMES,
} from "../../../test/support/brokers/truth-table.js";
import { CompileInput } from "../../policy/policy-target.js";
import { compileEjabberd, EJABBERD_HOST } from "./ejabberd-policy.js";

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
  rmSync(room, { recursive: true, force: true, maxRetries: 10 });
});

describe("ejabberd, configured by the compiler", () => {
  it("answers the truth table as the policy does", async () => {
    const engine = truthEngine(text(port), NAMES);
    const topics = truthTopics();
    const expected = engineAnswers(engine, topics);
    // A subscription has to be granted for messages to come: every name asks for each topic that it might read, and for all.
    const asked = (name: string): string[] => [
      "#",
      ...topics.filter(
        (topic) =>
          !topic.startsWith("$") && engine.authorize({ name, listener: "mtls", action: "subscribe", topic, atMs: Date.now() }).allowed,
      ),
    ];
    const actual = await brokerAnswers(
      (name) =>
        connectAsync({
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
        }),
      NAMES,
      topics,
      asked,
    );
    // Topics that begin with `$` are nobody's there, and a shared subscription ends the connection.
    const isKnown = (question: string): boolean => / \$/.test(question);
    expect(expected.size).toBeGreaterThan(4000);
    expect(differences(expected, actual, isKnown)).toEqual([]);
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
