import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { findMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { TestCa } from "../../../test/support/node/test-pki.js";
import { freePort } from "../../../test/support/node/test-mosquitto.js";
import { buildCli, CLI, hawser, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";

beforeAll(buildCli);

const START = "2026-11-28T09:53:55: mosquitto version 2.0.21 starting\n";
const refusal = (number: number): string => `2026-11-28T09:53:55: Client dev${number} disconnected, not authorised.\n`;

interface EventLine {
  readonly seq: number;
  readonly event: string;
  readonly claimedClient?: string;
}

const eventsIn = (file: string): EventLine[] =>
  readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as EventLine);

test("killed with kill -9 again and again while the log grows and rotates, the event file has each event once", async () => {
  const cwd = temporaryDirectory();
  const log = join(cwd, "m.log");
  writeFileSync(log, START);
  let written = 0;
  for (let turn = 0; turn < 4; turn += 1) {
    const monitor = new RunningCli(["monitor", "--log", "m.log", "--events", "e.jsonl"], { cwd });
    for (let line = 0; line < 300; line += 1) appendFileSync(log, refusal((written += 1)));
    const last = `dev${written}`;
    await monitor.waitFor("refused", ({ claimedClient }) => claimedClient === last || turn % 2 === 1);
    monitor.signal("SIGKILL");
    await monitor.ended;
    if (turn === 1) {
      renameSync(log, `${log}.1`);
      writeFileSync(log, "");
    }
  }
  appendFileSync(join(cwd, "e.jsonl"), '{"time":"2026-11-28T09:53:55.000Z","event":"ref');
  const { code, stderr } = await hawser(["monitor", "--log", "m.log", "--events", "e.jsonl", "--once"], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  const events = eventsIn(join(cwd, "e.jsonl"));
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  expect(events.slice(1).map(({ claimedClient }) => claimedClient)).toEqual(
    Array.from({ length: written }, (_, index) => `dev${index + 1}`),
  );
  expect(statSync(join(cwd, "e.jsonl")).mode & 0o777).toBe(0o600);
});

test("the event file is renamed when it is full, and the numbers of its events continue", async () => {
  const cwd = temporaryDirectory();
  const run = (): Promise<unknown> =>
    hawser(["monitor", "--log", "m.log", "--events", "e.jsonl", "--events-size", "1", "--events-keep", "2", "--once"], { cwd });
  writeFileSync(join(cwd, "m.log"), START + Array.from({ length: 6000 }, (_, index) => refusal(index)).join(""));
  await run();
  appendFileSync(join(cwd, "m.log"), refusal(1));
  await run();
  const files = ["e.jsonl.1", "e.jsonl"].map((name) => join(cwd, name));
  for (const file of files) expect(statSync(file).size).toBeLessThanOrEqual(1024 * 1024);
  expect(files.flatMap(eventsIn).map(({ seq }) => seq)).toEqual(Array.from({ length: 6002 }, (_, index) => index + 1));
});

test("a log that clients can write into is refused, by its configuration and by its lines", async () => {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "mosquitto.conf"), "listener 1883 127.0.0.1\nlog_type all\n");
  const forged = "2026-11-28T09:53:55: New client connected from 9.9.9.9:1 as admin 0 (p2, c1, k60, u'admin').\n";
  writeFileSync(join(cwd, "m.log"), `${START}2026-11-28T09:53:55: pump-1 0 devices/pump-1/down/#\n${forged}`);
  const byConfig = await hawser(["monitor", "--log", "m.log", "--config", "mosquitto.conf", "--once"], { cwd });
  expect([byConfig.code, byConfig.stderr]).toEqual([
    6,
    expect.stringMatching(/^error LOG_FORGEABLE: .*mosquitto\.conf:2: log_type all/) as string,
  ]);
  const byLine = await hawser(["monitor", "--log", "m.log", "--events", "e.jsonl", "--once", "--json"], { cwd });
  expect([byLine.code, byLine.stdout]).toEqual([6, expect.not.stringContaining("9.9.9.9") as string]);
  expect(byLine.stderr).toContain("LOG_FORGEABLE");
  // Not by starting it again, either.
  expect((await hawser(["monitor", "--log", "m.log", "--events", "e.jsonl", "--once"], { cwd })).code).toBe(6);
  expect((await hawser(["monitor", "--log", "m.log", "--events", "e.jsonl", "--once", "--new-only"], { cwd })).code).toBe(0);
});

test("a real broker with log_type all betrays itself as soon as an ordinary client subscribes", async () => {
  const cwd = temporaryDirectory();
  const port = await freePort();
  writeFileSync(join(cwd, "m.conf"), `listener ${port} 127.0.0.1\nallow_anonymous true\nuser root\nlog_dest stderr\nlog_type all\n`);
  const broker = spawn(findMosquitto(), ["-c", "m.conf"], { cwd, stdio: ["ignore", "ignore", "pipe"] });
  onTestFinished(() => void broker.kill("SIGKILL"));
  const monitor = spawn(process.execPath, [CLI, "monitor", "--log", "-"], { cwd, stdio: ["pipe", "ignore", "pipe"] });
  onTestFinished(() => void monitor.kill("SIGKILL"));
  const stderr: string[] = [];
  monitor.stderr.setEncoding("utf8").on("data", (text: string) => stderr.push(text));
  const ended = once(monitor, "close");
  monitor.stdin.on("error", () => undefined);
  broker.stderr.pipe(monitor.stdin);
  await listening(port);
  execFileSync("mosquitto_sub", ["-h", "127.0.0.1", "-p", String(port), "-i", "pump-1", "-t", "devices/pump-1/#", "-E"]);
  expect((await ended)[0]).toBe(6);
  expect(stderr.join("")).toMatch(/^error LOG_FORGEABLE: .*pump-1 0 devices\/pump-1\/#/);
});

test("a line from standard input that is longer than any of mosquitto's is dropped and said once, and forges nothing", () => {
  const cwd = temporaryDirectory();
  const forged = "2026-11-28T09:53:55: Client admin disconnected, not authorised.";
  const tooLong = `${"x".repeat(20_000)}${forged}\n`;
  const denied = `2026-11-28T09:53:57: Denied PUBLISH from pump-1 (d0, q1, r0, m1, 'devices/\u2028${forged}', ... (1 bytes))\n`;
  execFileSync(process.execPath, [CLI, "monitor", "--log", "-", "--events", "e.jsonl"], {
    cwd,
    input: START + tooLong.repeat(3) + denied + refusal(1).trimEnd(),
  });
  const events = eventsIn(join(cwd, "e.jsonl"));
  expect(events.map(({ event }) => event)).toEqual(["broker-started", "log-gap", "denied", "refused"]);
  expect(events[3]).toMatchObject({ claimedClient: "dev1" });
});

test("a file that is not the broker's log is said, once, and not taken for a quiet broker; times with a blank are read", () => {
  const cwd = temporaryDirectory();
  const read = (text: string, ...more: string[]): string => {
    writeFileSync(join(cwd, "m.log"), text);
    return execFileSync(process.execPath, [CLI, "monitor", "--log", "m.log", "--once", "--json", ...more], { cwd, encoding: "utf8" });
  };
  const syslog = "Nov 28 09:53:55 host mosquitto[1]: 1764323635: Client dev1 disconnected, not authorised.\n";
  expect(read(syslog.repeat(30)).trimEnd()).toMatch(/^.*"event":"log-unfamiliar","detail":"m\.log: none of 30 lines .*journalctl.*$/);
  expect(read(START, "--log-format", "embedded")).toMatch(/hawser broker run --json/);
  expect([read(""), read("1764323635: No will message specified.\n")]).toEqual(["", ""]);
  expect(read(refusal(1).replace("T", " "))).toMatch(
    /"2026-11-28T[\d:]+.000Z","event":"refused","reason":"password","claimedClient":"dev1"/,
  );
});

test.each([
  [["--log", "nothing.log"], 6, /^error NOT_FOUND: /],
  [["--log", "."], 6, /^error NOT_A_LOG_FILE: /],
  [["--log", "m.log", "--events", "m.log"], 6, /^error EVENTS_CORRUPT: /],
  [["--log", "m.log", "--broker-version", "new"], 2, /^error BAD_VERSION: /],
  [[], 2, /^error USAGE: /],
])("monitor %j ends with %i and one line", async (args, exit, line) => {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "m.log"), START);
  const { code, stderr } = await hawser(["monitor", "--once", ...args], { cwd });
  expect([code, stderr]).toEqual([exit, expect.stringMatching(line) as string]);
  expect(readFileSync(join(cwd, "m.log"), "utf8")).toBe(START);
});

test("a second monitor of one event file is refused", async () => {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "m.log"), START);
  const first = new RunningCli(["monitor", "--log", "m.log", "--events", "e.jsonl"], { cwd });
  await first.waitFor("broker-started");
  const second = await hawser(["monitor", "--log", "m.log", "--events", "e.jsonl", "--once"], { cwd });
  expect([second.code, second.stderr]).toEqual([5, expect.stringMatching(/^error EVENTS_IN_USE: /) as string]);
  first.signal("SIGTERM");
  expect((await first.ended).code).toBe(0);
});

test("docs/monitoring.md's first commands run as written", () => {
  const page = readFileSync(fileURLToPath(new URL("../../../docs/monitoring.md", import.meta.url)), "utf8");
  const script = /<!-- monitor-first -->\s*```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  expect(script).toContain("npx hawser");
  const cwd = temporaryDirectory();
  const output = execFileSync("bash", ["-euc", script.replaceAll("npx hawser", `"${process.execPath}" "${CLI}"`)], {
    cwd,
    encoding: "utf8",
  });
  expect(
    output
      .trimEnd()
      .split("\n")
      .map((line) => line.replace(/^\S+ /, "")),
  ).toEqual([
    "broker-started mosquitto 2.0.21",
    'connected     "pump-1" from 192.0.2.7',
    'denied        "pump-1" may not publish to "devices/pump-2/up/a" (1 bytes)',
    'refused       not authorized: wrong name or password, calls itself "admin"',
  ]);
  expect(eventsIn(join(cwd, "events.jsonl")).map(({ event }) => event)).toEqual(["broker-started", "connected", "denied", "refused"]);
});

/** A block of docs/monitoring.md. */
function fromPage(mark: string): string {
  const page = readFileSync(fileURLToPath(new URL("../../../docs/monitoring.md", import.meta.url)), "utf8");
  return new RegExp(`<!-- ${mark} -->\\s*\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? "";
}

test("docs/monitoring.md's hook runs as written", () => {
  const script = fromPage("monitor-hooks");
  expect(script).toContain("npx hawser");
  const cwd = temporaryDirectory();
  execFileSync("bash", ["-euc", script.replaceAll("npx hawser", `"${process.execPath}" "${CLI}"`)], { cwd, encoding: "utf8" });
  expect(eventsIn(join(cwd, "alerts.jsonl"))).toMatchObject([
    { event: "alert", rule: "clone-suspected", offender: "pump-1", severity: "critical" },
  ]);
});

test("docs/monitoring.md's file of hooks is taken", async () => {
  const cwd = temporaryDirectory();
  const [hooks, ca] = [fromPage("monitor-hooks-all"), await TestCa.create("soc")];
  expect(hooks).toContain("per-minute");
  const mode = 0o600;
  for (const [name, text] of Object.entries({ "hooks.yaml": hooks, "hook.secret": "0".repeat(32), "soc-ca.pem": ca.caPem, "m.log": START }))
    writeFileSync(join(cwd, name), text, { mode });
  expect(await hawser(["monitor", "--log", "m.log", "--once", "--hooks", "hooks.yaml"], { cwd })).toMatchObject({ code: 0, stderr: "" });
});

/** Resolves when something listens on the port. */
async function listening(port: number): Promise<void> {
  const isOpen = await new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.on("error", () => resolve(false)).on("connect", () => socket.destroy());
  });
  if (isOpen) return;
  await new Promise((resolve) => setTimeout(resolve, 50));
  return listening(port);
}

test("a device that fights for its client id is an alert, in the event file and for hooks, and never in its arguments", async () => {
  const cwd = temporaryDirectory();
  const takeover = "2026-11-28T09:53:56: Client pump-1; touch x already connected, closing old connection.\n";
  writeFileSync(join(cwd, "m.log"), START + takeover.repeat(5));
  const bodies: unknown[] = [];
  const server = createServer((request, response) => {
    request.setEncoding("utf8").on("data", (text: string) => bodies.push(JSON.parse(text)));
    request.on("end", () => response.writeHead(204).end());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close().closeAllConnections());
  const hooks = [
    { name: "log", command: ["/bin/sh", "-c", "cat >> alerts.jsonl; env > env; exit 3"] },
    { name: "web", url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, events: ["alert", "taken-over"], "per-minute": 3 },
  ];
  writeFileSync(join(cwd, "hooks.json"), JSON.stringify({ hooks }));
  const args = ["--log", "m.log", "--events", "e.jsonl", "--once", "--hooks", "hooks.json", "--json"];
  const env = { HAWSER_PASSPHRASE: "not to be told", HAWSER_PASSPHRASE_FILE: "p" };
  const { code, stdout, stderr } = await hawser(["monitor", ...args], { cwd, env });
  const failed = '"event":"hook-failed","hook":"log","reason":"it ended with 3"';
  expect([code, stdout, stderr]).toEqual([4, expect.stringContaining(failed) as string, expect.stringContaining("HOOKS_FAILED") as string]);
  const alert = { event: "alert", rule: "clone-suspected", by: "client", offender: "pump-1; touch x", count: 3 };
  expect(eventsIn(join(cwd, "e.jsonl")).filter(({ event }) => event === "alert")).toMatchObject([alert]);
  expect(eventsIn(join(cwd, "alerts.jsonl"))[0]).toMatchObject(alert);
  expect(readFileSync(join(cwd, "env"), "utf8")).not.toMatch(/HAWSER/);
  expect(existsSync(join(cwd, "x"))).toBe(false);
  const kinds = ["taken-over", "taken-over", "taken-over", "held-back"];
  expect(bodies).toMatchObject(kinds.map((event) => ({ event })));
  expect(bodies.at(-1)).toMatchObject({ count: 3, events: { "taken-over": 2, alert: 1 } });
});
