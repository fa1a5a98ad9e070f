import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connectAsync } from "mqtt";
import type { IClientOptions } from "mqtt";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { parseManagementUrl } from "../../brokers/management-api.js";
import { ManagementApi } from "../../brokers/rabbitmq/management-api.js";
import { TestRabbitmq } from "../../../test/support/brokers/test-rabbitmq.js";
import { buildCli, CLI, hawser, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";
import { freePort } from "../../../test/support/node/test-mosquitto.js";

const room = mkdtempSync(join(tmpdir(), "hawser-rabbitmq-"));
const LOGIN = { username: "guest", password: "guest" };
let broker: TestRabbitmq;
let url: string;

beforeAll(async () => {
  await buildCli();
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const lines = (mqttPort: number): string[] => [
    "listeners.tcp = none",
    `mqtt.listeners.tcp.1 = 127.0.0.1:${mqttPort}`,
    "mqtt.allow_anonymous = false",
    "management.tcp.ip = 127.0.0.1",
    `management.tcp.port = ${port}`,
    "collect_statistics_interval = 500",
  ];
  broker = await TestRabbitmq.startWith(
    room,
    (_, mqttPort) =>
      new Map([
        ["enabled_plugins", "[rabbitmq_mqtt,rabbitmq_management]."],
        ["advanced.config", "[{rabbit,[{track_auth_attempt_source,true}]}]."],
        ["rabbitmq.conf", `${lines(mqttPort).join("\n")}\n`],
      ]),
  );
});

afterAll(async () => {
  await broker?.stop();
  rmSync(room, { recursive: true, force: true });
});

const reach = (user: string, password: string): string[] => ["-h", "127.0.0.1", "-p", String(broker.mtlsPort), "-u", user, "-P", password];

/** A client that stays. */
async function subscriber(reconnectPeriod = 0): Promise<{ ended: Promise<unknown> }> {
  const options: IClientOptions = { clientId: "board", ...LOGIN, protocolVersion: 4, reconnectPeriod };
  const client = await connectAsync(`mqtt://127.0.0.1:${broker.mtlsPort}`, options);
  onTestFinished(() => void client.end(true));
  const ended = new Promise((resolve) => client.once("close", () => resolve(undefined)));
  await client.subscribeAsync("a/#");
  return { ended };
}

async function metricsThat(address: string, pattern: RegExp): Promise<string> {
  for (;;) {
    const text = await (await fetch(address)).text();
    if (pattern.test(text)) return text;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("RabbitMQ's numbers have the names of mosquitto's, and who fails to log in is named and alerted", async () => {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "login.json"), JSON.stringify(LOGIN));
  const args = ["monitor", "--rabbitmq", url, "--credentials", "login.json", "--metrics", "0", "--events", "e.jsonl"];
  const monitor = new RunningCli(args, { cwd });
  const address = String((await monitor.waitFor("metrics"))["url"]);
  await metricsThat(address, /^hawser_broker_up 1$/m);
  await subscriber();
  for (let attempt = 0; attempt < 12; attempt += 1)
    spawnSync("mosquitto_pub", [...reach("mallory", "wrong"), "-t", "a", "-m", "x"], { stdio: "ignore" });
  expect(spawnSync("mosquitto_pub", [...reach("guest", "guest"), "-t", "a/b", "-m", "x", "-q", "1"]).status).toBe(0);
  expect(await monitor.waitFor("alert")).toMatchObject({ rule: "failed-logins", by: "address", offender: "127.0.0.1" });
  const text = await metricsThat(address, /^hawser_broker_publishes_received_total [1-9]/m);
  expect(text).toMatch(/^hawser_broker_refusals_total\{reason="password"\} 12$/m);
  expect(text).toMatch(/^hawser_broker_connects_total [1-9]/m);
  expect(text).toMatch(/^hawser_monitor_alerts_total\{rule="failed-logins"\} 1$/m);
  expect(text).not.toMatch(/mallory|log_read_timestamp/);
  const kept = readFileSync(join(cwd, "e.jsonl"), "utf8");
  expect(kept.match(/"reason":"password","address":"127\.0\.0\.1","claimedClient":"mallory"/g)).toHaveLength(12);
  await metricsThat(address, /^hawser_broker_clients_connected 1$/m);
  await broker.kill();
  expect(await metricsThat(address, /^hawser_broker_up 0$/m)).not.toContain("clients_connected");
  await monitor.waitFor("broker-unreachable");
  await broker.restart();
  expect(await monitor.waitFor("broker-started")).toMatchObject({ version: expect.stringMatching(/^RabbitMQ 3\./) as string });
  monitor.signal("SIGTERM");
  expect((await monitor.ended).code).toBe(0);
});

/** The first table of `monitor top --json` that is as it should be. */
async function topThat(cwd: string, isMeant: (table: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
  const args = ["monitor", "top", "--rabbitmq", url, "--credentials", "login.json", "--every", "200ms", "--json"];
  const top = spawn(process.execPath, [CLI, ...args], { cwd, stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void top.kill("SIGKILL"));
  for await (const line of createInterface({ input: top.stdout })) {
    const table = JSON.parse(line) as Record<string, unknown>;
    if (isMeant(table)) return table;
  }
  throw new Error("top ended");
}

interface Refusals {
  readonly password?: { readonly total: number };
}

test("top shows RabbitMQ's own numbers, names whose logins fail, and says when it is away", async () => {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "login.json"), JSON.stringify(LOGIN));
  await subscriber();
  let hasFailed = false;
  const table = await topThat(cwd, ({ connected, refusedBy }) => {
    // After this very process has looked once: it counts what comes after.
    for (let attempt = 0; attempt < 3 && !hasFailed && connected === 1; attempt += 1)
      spawnSync("mosquitto_pub", [...reach("eve", "wrong"), "-t", "a", "-m", "x"], { stdio: "ignore" });
    hasFailed ||= connected === 1;
    return connected === 1 && (refusedBy as Refusals).password?.total === 3;
  });
  expect(table).toMatchObject({
    broker: "rabbitmq",
    connectedBy: "rabbitmq",
    version: expect.stringMatching(/^3\./) as string,
    refusedBy: { password: { total: 3 } },
    offenders: [{ rule: "failed-logins", by: "address", offender: "127.0.0.1" }],
    notices: [],
  });
  await broker.kill();
  const away = await topThat(cwd, ({ notices }) => (notices as string[]).length > 0);
  expect(away).not.toHaveProperty("connected");
  expect(away["notices"]).toEqual([expect.stringMatching(/^RabbitMQ: the management API/)]);
  await broker.restart();
}, 180_000);

test("the connections of a user are found whatever their client ids, and ended", async () => {
  const api = new ManagementApi({ url: parseManagementUrl(url), ...LOGIN });
  const { ended } = await subscriber();
  let [found] = await api.connectionsOf("guest");
  while (found === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    [found] = await api.connectionsOf("guest");
  }
  expect(found).toMatchObject({ user: "guest", clientId: "board", address: "127.0.0.1" });
  expect(await api.connectionsOf("gues")).toEqual([]);
  await api.close(found.name, "revoked");
  await ended;
  await api.close(found.name, "revoked");
});

test("revoke ends the connections at RabbitMQ, and says when the broker still lets the name in", async () => {
  const cwd = await directoryWithCa();
  writeFileSync(join(cwd, "login.json"), JSON.stringify(LOGIN));
  // RabbitMQ's one user here has the name of the device.
  expect(await hawser(["provision", "--dir", "ca", "--id", "guest", "--vault", "v"], { cwd, env: ENV })).toMatchObject({ code: 0 });
  const revoke = ["revoke", "--dir", "ca", "--id", "guest", "--rabbitmq", url, "--rabbitmq-login", "login.json"];
  const api = new ManagementApi({ url: parseManagementUrl(url), ...LOGIN });
  const listed = async (): Promise<void> => {
    while ((await api.connectionsOf("guest")).length === 0) await new Promise((resolve) => setTimeout(resolve, 100));
  };
  const { ended } = await subscriber();
  await listed();
  const { code, stdout } = await hawser(revoke, { cwd, env: ENV });
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/guest is shut out[^]*RabbitMQ at \S+: no connection is left \(1 ended\)/) as string,
  ]);
  await ended;
  // This RabbitMQ asks nobody whether the name is shut out.
  await subscriber(50);
  await listed();
  const again = await hawser([...revoke, "--json"], { cwd, env: ENV });
  expect([again.code, again.stderr]).toEqual([4, expect.stringContaining("SESSIONS_NOT_ENDED") as string]);
  expect(JSON.parse(again.stdout)).toMatchObject({ id: "guest", state: "revoked", rabbitmq: { proved: false } });
}, 120_000);

test("a wrong password, too much of an answer and a broker that is not there are said as what they are", async () => {
  const failing = (login: Partial<typeof LOGIN>, at = url, most?: number): Promise<unknown> =>
    new ManagementApi({ url: parseManagementUrl(at), ...LOGIN, ...login }, most).overview();
  await expect(failing({ password: "other" })).rejects.toMatchObject({
    code: "MANAGEMENT_FAILED",
    message: expect.stringMatching(/password/) as string,
  });
  await expect(failing({}, url, 100)).rejects.toThrow(/more than 100 bytes/);
  await expect(failing({}, "http://127.0.0.1:1")).rejects.toMatchObject({ code: "MANAGEMENT_FAILED" });
});

test.each([
  [["--rabbitmq", "http://broker.example:15672"], 2, /^error BAD_URL: /],
  [["--rabbitmq", "https://u:secret@localhost"], 2, /^error BAD_URL: (?!.*secret)/],
  [["--rabbitmq", "https://localhost"], 2, /^error USAGE: --rabbitmq needs --credentials/],
  [["--rabbitmq", "https://localhost", "--credentials", "none.json", "--once"], 2, /--rabbitmq and --once/],
  [["--rabbitmq", "https://localhost", "--credentials", "empty.json"], 2, /^error BAD_CREDENTIALS_FILE: /],
])("monitor %j ends with %i and one line", async (args, exit, line) => {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "empty.json"), "{}");
  const { code, stderr } = await hawser(["monitor", ...args], { cwd });
  expect([code, stderr]).toEqual([exit, expect.stringMatching(line) as string]);
});
