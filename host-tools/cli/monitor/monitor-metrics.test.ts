import { execFileSync, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { findMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { buildCli, hawser, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, runningBroker } from "../../../test/support/host-tools/test-fleet.js";
import { freePort } from "../../../test/support/node/test-mosquitto.js";

beforeAll(buildCli);

const LOOK_MS = 100;

/** What is served once it matches. */
async function metricsThat(url: string, pattern: RegExp): Promise<string> {
  for (;;) {
    const text = await (await fetch(url)).text();
    if (pattern.test(text)) return text;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

test("Prometheus is told of a real broker's refusals and its $SYS, and that it went away", async () => {
  const cwd = temporaryDirectory();
  const port = await freePort();
  const lines = [
    "listener " + `${port} 127.0.0.1`,
    "user root",
    "allow_anonymous true",
    "sys_interval 1",
    `log_dest file ${join(cwd, "m.log")}`,
    "max_packet_size 1000",
  ];
  writeFileSync(join(cwd, "m.conf"), `${lines.join("\n")}\n`);
  writeFileSync(join(cwd, "m.log"), "");
  const broker = spawn(findMosquitto(), ["-c", "m.conf"], { cwd, stdio: "ignore" });
  onTestFinished(() => void broker.kill("SIGKILL"));
  const monitor = new RunningCli(["monitor", "--log", "m.log", "--metrics", "0", "--sys", `mqtt://127.0.0.1:${port}`], { cwd });
  const url = String((await monitor.waitFor("metrics"))["url"]);
  await metricsThat(url, /^hawser_broker_up 1$/m);
  const publish = ["-h", "127.0.0.1", "-p", String(port), "-i", "big", "-t", "t", "-m", "x".repeat(2000)];
  expect(() => execFileSync("mosquitto_pub", [...publish, "-q", "1"], { stdio: "ignore", timeout: 2000 })).toThrow();
  const text = await metricsThat(url, /^hawser_broker_refusals_total\{reason="oversize"\} [1-9]/m);
  const up = await metricsThat(url, /^hawser_broker_clients_connected [1-9]/m);
  expect(execFileSync("promtool", ["check", "metrics"], { input: up, encoding: "utf8" })).toBe("");
  expect(text).toMatch(/^hawser_broker_connects_total [1-9]/m);
  broker.kill("SIGKILL");
  expect(await metricsThat(url, /^hawser_broker_up 0$/m)).not.toMatch(/^hawser_broker_clients_connected/m);
  await monitor.waitFor("broker-unreachable");
  monitor.signal("SIGTERM");
  expect((await monitor.ended).code).toBe(0);
});

test("docs/monitoring.md's commands for Prometheus run against mosquitto with Hawser's configuration", async () => {
  const page = readFileSync(fileURLToPath(new URL("../../../docs/monitoring.md", import.meta.url)), "utf8");
  const script = /<!-- monitor-prometheus -->\s*```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const [issue = "", watch = "", look = ""] = script.trim().split("\n");
  const words = (line: string): string[] => line.replace(/ &$/, "").split(" ").slice(1);
  const cwd = await directoryWithCa();
  writeFileSync(join(cwd, "mosquitto.log"), "");
  const { mtlsPort } = await runningBroker(cwd, "mosquitto");
  const metricsPort = await freePort();
  expect(await hawser(words(issue), { cwd, env: ENV })).toMatchObject({ code: 0, stderr: "" });
  const monitor = new RunningCli(words(watch.replace("8883", String(mtlsPort)).replace("9883", String(metricsPort))), { cwd });
  await monitor.waitFor("metrics");
  const address = words(look.replace("9883", String(metricsPort)))[0] ?? "";
  expect(await metricsThat(address, /^hawser_broker_uptime_seconds \d/m)).toMatch(/^hawser_broker_up 1$/m);
});

test.each([
  [["--metrics", "0", "--once"], /--metrics and --once/],
  [["--metrics", "0", "--sys", "http://localhost"], /BAD_URL/],
  [["--sys", "mqtt://localhost:1"], /--sys needs --metrics/],
  [["--metrics", "0", "--ca", "x"], /--credentials and --ca need --sys/],
])("monitor %j is refused", async (args, line) => {
  const { code, stderr } = await hawser(["monitor", "--log", "-", ...args], { cwd: temporaryDirectory() });
  expect([code, stderr]).toEqual([2, expect.stringMatching(line) as string]);
});
