import { execFileSync, spawn } from "node:child_process";
import { appendFileSync, chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { findMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { freePort } from "../../../test/support/node/test-mosquitto.js";
import { buildCli, CLI, hawser, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const START = "2026-11-01T00:00:00: mosquitto version 2.0.21 starting\n";
const DAY_S = 86_400;
const FIRST_S = Date.parse("2026-11-01T08:00:00Z") / 1000;
const connected = (atS: number, client: string, address = "192.0.2.7"): string =>
  `${atS}: New client connected from ${address}:51758 as ${client} (p2, c1, k60, u'${client}').\n`;
const received = (atS: number, client: string, sizeBytes = 100): string =>
  `${atS}: Received PUBLISH from ${client} (d0, q1, r0, m1, 'devices/${client}/up/a', ... (${sizeBytes} bytes))\n`;

/** A day of three pumps that publish every two minutes for two hours. */
function dayOf(day: number): string {
  const startS = FIRST_S + day * DAY_S;
  const pumps = ["pump-1", "pump-2", "pump-3"];
  const minutes = Array.from({ length: 60 }, (_, index) => pumps.map((pump) => received(startS + 60 + index * 120, pump)));
  return pumps.map((pump) => connected(startS, pump)).join("") + minutes.flat().join("");
}

const alertsIn = (stdout: string): Record<string, unknown>[] =>
  stdout
    .split("\n")
    .filter((line) => line.includes('"event":"alert"'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const ARGS = ["monitor", "--log", "m.log", "--events", "e.jsonl", "--state", "normal.json"];

test("what was learned over days survives restarts, and names who behaves otherwise by role", async () => {
  const cwd = await directoryWithCa();
  for (const id of ["pump-1", "pump-2", "pump-3"])
    expect(await hawser(["provision", "--dir", "ca", "--id", id, "--vault", `${id}.vault`], { cwd, env: ENV })).toMatchObject({ code: 0 });
  writeFileSync(join(cwd, "m.log"), START);
  const run = async (text: string): Promise<Record<string, unknown>[]> => {
    appendFileSync(join(cwd, "m.log"), text);
    const { code, stdout, stderr } = await hawser([...ARGS, "--dir", "ca", "--once", "--json"], { cwd });
    expect([code, stderr]).toEqual([0, ""]);
    return alertsIn(stdout);
  };
  for (let day = 0; day < 4; day += 1) expect(await run(dayOf(day))).toEqual([]);
  const startS = FIRST_S + 4 * DAY_S;
  const flood = Array.from({ length: 200 }, () => received(startS + 60, "pump-2")).join("");
  const alerts = await run(connected(startS, "pump-2", "203.0.113.9") + flood + received(startS + 61, "pump-2", 9000));
  const who = { event: "alert", by: "client", offender: "pump-2", role: "sensor" };
  expect(alerts).toMatchObject([
    { ...who, rule: "new-network", observed: "connected from 203.0.0.0/16", normal: "its role's networks of 4 days" },
    { ...who, rule: "message-rate", observed: "31 messages within 10 minutes", normal: "4.8, at most 30 (4 days)" },
    { ...who, rule: "message-size", observed: "a message of 9000 bytes" },
  ]);
  // No event twice.
  expect(await run("")).toEqual([]);
  expect(readFileSync(join(cwd, "e.jsonl"), "utf8").match(/"rule":"message-rate"/g)).toHaveLength(1);
});

test("killed with kill -9, the monitor goes on with what it had saved", async () => {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "m.log"), START + [0, 1, 2, 3].map(dayOf).join(""));
  expect((await hawser([...ARGS, "--once"], { cwd })).code).toBe(0);
  const saved = readFileSync(join(cwd, "normal.json"), "utf8");
  appendFileSync(join(cwd, "m.log"), dayOf(4));
  const monitor = new RunningCli(ARGS, { cwd });
  await monitor.waitFor("connected", ({ client }) => client === "pump-3");
  monitor.signal("SIGKILL");
  await monitor.ended;
  expect(readFileSync(join(cwd, "normal.json"), "utf8")).toBe(saved);
  appendFileSync(join(cwd, "m.log"), received(FIRST_S + 5 * DAY_S, "pump-1", 9000));
  appendFileSync(join(cwd, "m.log"), connected(FIRST_S + 5 * DAY_S, "pump-1") + received(FIRST_S + 5 * DAY_S, "pump-1", 9000));
  const { code, stdout } = await hawser([...ARGS, "--once", "--json"], { cwd });
  expect([code, alertsIn(stdout)]).toMatchObject([0, [{ rule: "message-size", offender: "pump-1" }]]);
});

test("a real broker's debug lines are what profiles learn from", async () => {
  const cwd = temporaryDirectory();
  const port = await freePort();
  const types = ["error", "warning", "notice", "information", "debug"].map((type) => `log_type ${type}`);
  writeFileSync(
    join(cwd, "m.conf"),
    [`listener ${port} 127.0.0.1`, "allow_anonymous true", "user root", "log_dest stderr", ...types, ""].join("\n"),
  );
  const broker = spawn(findMosquitto(), ["-c", "m.conf"], { cwd, stdio: ["ignore", "ignore", "pipe"] });
  onTestFinished(() => void broker.kill("SIGKILL"));
  let log = "";
  const isRunning = new Promise<void>((resolve) => {
    broker.stderr.setEncoding("utf8").on("data", (text: string) => {
      log += text;
      if (log.includes("running")) resolve();
    });
  });
  await isRunning;
  for (const size of [10, 20, 30]) {
    const message = ["-t", "devices/pump-1/up/a", "-m", "x".repeat(size), "-q", "1"];
    execFileSync("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(port), "-i", "pump-1", ...message]);
  }
  await expect.poll(() => log.match(/Received PUBLISH/g)?.length).toBe(3);
  writeFileSync(join(cwd, "m.log"), log);
  expect(await hawser([...ARGS, "--once"], { cwd })).toMatchObject({ code: 0, stderr: "" });
  const { roles } = JSON.parse(readFileSync(join(cwd, "normal.json"), "utf8")) as { roles: Record<string, unknown> };
  const sizes = [13, 17, 20].map((bucket) => [bucket, 1]);
  expect(roles["(unknown)"]).toMatchObject({
    topics: ["devices/{id}/up/a"],
    networks: ["127.0.0.0/16"],
    days: [{ values: { size: sizes } }],
  });
});

test("docs/monitoring.md's profile runs as written", () => {
  const page = readFileSync(fileURLToPath(new URL("../../../docs/monitoring.md", import.meta.url)), "utf8");
  const script = /<!-- monitor-profiles -->\s*```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  expect(script).toContain("npx hawser");
  const cwd = temporaryDirectory();
  const output = execFileSync("bash", ["-euc", script.replaceAll("npx hawser", `"${process.execPath}" "${CLI}"`)], {
    cwd,
    encoding: "utf8",
  });
  expect(output).toMatch(
    /alert +larger messages than normal: "pump-1": a message of 9000 bytes; normal: \d+ bytes, at most 256 \(4 days\)/,
  );
});

test.each([
  [["--dir", "ca"], 6, /^error NOT_A_CA: /],
  [["--state", "m.log"], 6, /^error MONITOR_STATE_INVALID: /],
  [["--state", "open.json"], 6, /^error MONITOR_STATE_INVALID: .*others may write it/],
  [["--state", "normal.json", "--dir", "ca"], 6, /^error NOT_A_CA: /],
])("monitor %j ends with %i and one line", async (args, exit, line) => {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "m.log"), START);
  writeFileSync(join(cwd, "open.json"), "{}");
  chmodSync(join(cwd, "open.json"), 0o622);
  const { code, stderr } = await hawser(["monitor", "--log", "m.log", "--once", ...args], { cwd });
  expect([code, stderr]).toEqual([exit, expect.stringMatching(line) as string]);
});
