import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAsync } from "mqtt";
import type { IClientOptions, MqttClient } from "mqtt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestAuthority } from "../../../test/support/brokers/test-certificates.js";
import type { TestIdentity } from "../../../test/support/brokers/test-certificates.js";
import { TestRabbitmq } from "../../../test/support/brokers/test-rabbitmq.js";
import { retainedAnswers, willAnswers } from "../../../test/support/brokers/truth-kept.js";
import {
  differences,
  truthEngine,
  truthFilters,
  truthPolicyText,
  truthTopics,
  TRUTH_NAMES,
} from "../../../test/support/brokers/truth-table.js";
import { startDecisionServer } from "../../decision-point/decision-server.js";
import type { DecisionServer } from "../../decision-point/decision-server.js";
import type { PolicyEngine } from "../../policy/policy-engine.js";
import { CompileInput } from "../../policy/policy-target.js";
import { compileRabbitmq, routingExpression } from "./rabbitmq-policy.js";

/** A dot is a slash there: names with one are refused. */
const NAMES = TRUTH_NAMES.filter(({ name }) => !name.includes("."));
const room = mkdtempSync(join(tmpdir(), "hawser-rabbitmq-policy-"));
let authority: TestAuthority;
let broker: TestRabbitmq;
let engine: PolicyEngine;
let decisions: DecisionServer;

beforeAll(async () => {
  authority = await TestAuthority.create();
  const server = await authority.issue("broker", "server");
  const crl = await authority.crlPem();
  engine = truthEngine(truthPolicyText(8883), NAMES);
  decisions = await startDecisionServer(() => engine, { port: 0 });
  broker = await TestRabbitmq.startWith(room, (directory, port) => {
    const tls = {
      anchors: join(directory, "ca.pem"),
      chain: join(directory, "server.pem"),
      key: join(directory, "server.key"),
      crl: "",
      psk: "",
    };
    const compiled = compileRabbitmq(new CompileInput(truthEngine(truthPolicyText(port), NAMES), directory, tls)).files;
    const lists = crl.split(/(?<=-----END X509 CRL-----\n)/).filter((text) => text !== "");
    return new Map([
      ...compiled,
      ["ca.pem", authority.trustAnchorPem],
      ["server.pem", server.chainPem],
      ["server.key", server.keyPem],
      ...lists.map((text) => [`crls/${hashOf(text)}.r0`, text] as const),
    ]);
  });
});

afterAll(async () => {
  await broker?.stop();
  await decisions?.close();
  rmSync(room, { recursive: true, force: true });
});

function hashOf(crlPem: string): string {
  return execFileSync("openssl", ["crl", "-hash", "-noout"], { input: crlPem, encoding: "utf8" }).trim();
}

const identities = new Map<string, Promise<TestIdentity>>();

async function connect(name: string, options: IClientOptions = {}): Promise<MqttClient> {
  const identity = identities.get(name) ?? authority.issue(name);
  identities.set(name, identity);
  const { chainPem, keyPem } = await identity;
  return connectAsync({
    host: "127.0.0.1",
    port: broker.mtlsPort,
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
}

interface Question {
  readonly name: string;
  readonly action: "publish" | "subscribe";
  readonly topic: string;
}

/** Topics with a dot, an asterisk or a `#` of AMQP mean another topic there. */
function usableTopics(): string[] {
  return truthTopics().filter((topic) => !/[.*]/.test(topic));
}

function questions(): Question[] {
  const topics = usableTopics();
  const filters = truthFilters(topics).filter((filter) => !/[.*]/.test(filter));
  return NAMES.flatMap(({ name }) => [
    ...topics.map((topic) => ({ name, action: "publish" as const, topic })),
    ...filters.map((topic) => ({ name, action: "subscribe" as const, topic })),
  ]);
}

/** Asks RabbitMQ's own access control, in the node, about everything at once. */
async function answersOf(backend: string, asked: readonly Question[]): Promise<boolean[]> {
  const file = join(room, `questions-${backend}.txt`);
  writeFileSync(
    file,
    asked
      .map(
        ({ name, action, topic }) =>
          `{<<${bytes(name)}>>,${action === "publish" ? "write" : "read"},<<${bytes(topic.replace(/\//g, ".").replace(/\+/g, "*"))}>>}.\n`,
      )
      .join(""),
  );
  const expression = `{ok, Qs} = file:consult(${JSON.stringify(file)}), R = {resource, <<"/">>, topic, <<"amq.topic">>}, file:write_file(${JSON.stringify(`${file}.out`)}, [case catch ${backend}:check_topic_access({auth_user, N, [], none}, R, P, #{routing_key => K, variable_map => #{<<"client_id">> => N, <<"username">> => N, <<"vhost">> => <<"/">>}}) of true -> "1"; false -> "0"; E -> io_lib:format("~p", [E]) end || {N, P, K} <- Qs]).`;
  await broker.evaluate(expression);
  const text = readFileSync(`${file}.out`, "utf8");
  expect(text).toMatch(/^[01]+$/);
  return [...text].map((digit) => digit === "1");
}

function bytes(text: string): string {
  return [...Buffer.from(text)].join(",");
}

function wrongAnswers(asked: readonly Question[], answers: readonly boolean[]): string[] {
  return asked.flatMap(({ name, action, topic }, index) => {
    // RabbitMQ 3.10 knows no shared subscriptions: it would take the filter for a topic.
    const expected = !topic.startsWith("$share/") && engine.authorize({ name, listener: "mtls", action, topic, atMs: Date.now() }).allowed;
    return answers[index] === expected ? [] : [`${name} ${action} ${topic}: the policy says ${expected}`];
  });
}

describe("RabbitMQ, configured by the compiler", () => {
  it("answers the truth table as the policy does", async () => {
    const asked = questions();
    expect(asked.length).toBeGreaterThan(4000);
    expect(wrongAnswers(asked, await answersOf("rabbit_auth_backend_internal", asked))).toEqual([]);
  });

  it("holds wills and retained messages to the same rules", async () => {
    const topics = usableTopics();
    // Wildcards find no retained messages there: whoever wants one subscribes to its topic.
    const readable = (name: string): string[] =>
      topics.filter((topic) => engine.authorize({ name, listener: "mtls", action: "receive", topic, atMs: Date.now() }).allowed);
    const names = NAMES.map(({ name }) => name).filter((name) => name !== "root");
    const wills = await willAnswers({ engine, connect, topics, names });
    expect(wills.expected.size).toBeGreaterThan(100);
    expect(differences(wills.expected, wills.actual, () => false)).toEqual([]);
    const questions = { engine, connect, topics, names, filters: readable("root") };
    const retained = await retainedAnswers(questions, { filtersOf: readable, perAnswer: 12, hangsUp: true });
    expect(retained.expected.size).toBeGreaterThan(2000);
    expect(differences(retained.expected, retained.actual, () => false)).toEqual([]);
  });

  it("lets a device do its own, and hangs up on everything else", async () => {
    const device = await connect("dev1");
    await device.subscribeAsync("devices/dev1/down/#", { qos: 1 });
    const backend = await connect("backend", { clientId: "backend~1" });
    await backend.subscribeAsync("devices/+/up/#", { qos: 1 });
    const reported = new Promise((resolve) => backend.once("message", (topic, payload) => resolve(`${topic} ${payload.toString()}`)));
    await device.publishAsync("devices/dev1/up/t", "21", { qos: 1 });
    expect(await reported).toBe("devices/dev1/up/t 21");
    const closed = new Promise<void>((resolve) => device.once("close", () => resolve()));
    device.on("error", () => undefined);
    device.publish("devices/dev10/up/t", "forged", { qos: 1 });
    await closed;
    await backend.endAsync(true);
  });

  it("keeps a name from the queue of another's session", async () => {
    const thief = await connect("dev10", { clientId: "dev1" });
    const closed = new Promise<void>((resolve) => thief.once("close", () => resolve()));
    thief.on("error", () => undefined);
    thief.subscribe("devices/dev10/down/#", { qos: 1 });
    await closed;
  });

  it("gets the same answers from the decision point over HTTP", async () => {
    const base = `http://127.0.0.1:${decisions.port}/rabbitmq`;
    const settings = Object.entries({
      http_method: "post",
      ...Object.fromEntries(["user", "vhost", "resource", "topic"].map((path) => [`${path}_path`, `${base}/${path}`])),
    });
    await broker.evaluate("{ok, _} = application:ensure_all_started(rabbitmq_auth_backend_http).");
    for (const [key, value] of settings)
      await broker.evaluate(
        `application:set_env(rabbitmq_auth_backend_http, ${key}, ${key === "http_method" ? value : JSON.stringify(value)}).`,
      );
    // One connection for each question: a sample.
    const asked = questions().filter(({ topic }, index) => index % 7 === 0 || topic.startsWith("$share/"));
    expect(wrongAnswers(asked, await answersOf("rabbit_auth_backend_http", asked))).toEqual([]);
    await broker.evaluate("application:set_env(rabbit, auth_backends, [rabbit_auth_backend_http]).");
    const device = await connect("dev1");
    await device.subscribeAsync("devices/dev1/down/#", { qos: 1 });
    await device.publishAsync("devices/dev1/up/t", "21", { qos: 1 });
    await device.endAsync(true);
    await expect(connect("stranger")).rejects.toThrow();
  });
});

describe("the compiler for RabbitMQ", () => {
  const tls = { anchors: "/a", chain: "/c", key: "/k", crl: "/r", psk: "/p" };
  const refuse = (text: string, names = NAMES): string => {
    try {
      compileRabbitmq(new CompileInput(truthEngine(text, names), "/x", tls));
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };

  it("puts names in literally, and never lets a wildcard of a subscription pass for a level", () => {
    const source = { line: 1, path: "" };
    expect(routingExpression("devices/a-b_c/up/#", source)).toBe("devices\\.a\\-b_c\\.up(\\..*)?");
    expect(routingExpression("+/x", source)).toBe("(?!\\$)[^.#]*\\.x");
    expect(() => routingExpression("a.b/c", source)).toThrow(/dot for a slash/);
  });

  it("refuses names with a dot, denials, and the recovery listener", () => {
    expect(refuse(truthPolicyText(1), [...TRUTH_NAMES])).toMatch(/a\.b_c-d/);
    expect(refuse(truthPolicyText(1, "  x:\n    grants: [{ deny: read, topics: [t] }]\n"))).toMatch(/cannot say a denial/);
    expect(refuse(truthPolicyText(1).replace("classes:", "  psk: { port: 2, requires: [psk], scope: recovery }\nclasses:"))).toMatch(
      /pre-shared keys/,
    );
  });
});
