/** Devices' own reports: the SDK on a real mosquitto with Hawser's configuration, and the monitor that hears them. */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { connectAsync } from "mqtt";
import { Device } from "../../../sdk/index.js";
import { reportTrouble } from "../../../sdk/reports/index.js";
import { findMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { nodePlatform, Vault } from "../../../sim/node/index.js";
import { freePorts } from "../../../test/support/host-tools/scene.js";
import { buildCli, hawser, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, PASSPHRASE } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const page = readFileSync(join(import.meta.dirname, "../../../docs/monitoring.md"), "utf8");
/** A part of docs/monitoring.md, so that what is written there is what works. */
const written = (mark: string): string => new RegExp(`<!-- ${mark} -->\\s*\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? "";

test("a denied publish is told by the device itself, under the name of its topic alone, and a report in another's name is not let through", async () => {
  const cwd = await directoryWithCa();
  const run = async (...args: string[]): Promise<void> =>
    expect(await hawser(args, { cwd, env: ENV })).toMatchObject({ code: 0, stderr: "" });
  await run("policy", "init", "--out", "policy.yaml");
  const policy = readFileSync(join(cwd, "policy.yaml"), "utf8");
  const [channel, grant] = [written("monitor-reports-channel"), written("monitor-reports-grant")];
  expect(channel).toContain("identity/report");
  const withReports = policy
    .replace("        description: What a device reports.\n        topic: up/#\n        direction: up\n", (up) => up + channel)
    .replace(
      "  monitor:\n    description: Reads what devices report, and the broker's own figures.\n    grants:\n",
      (monitor) => monitor + grant,
    );
  writeFileSync(join(cwd, "policy.yaml"), withReports);
  await run("policy", "apply", "--dir", "ca", "policy.yaml");
  for (const id of ["pump-1", "pump-2"]) await run("provision", "--dir", "ca", "--id", id, "--vault", `${id}.vault`);
  await run("issue", "--dir", "ca", "--name", "watcher", "--role", "monitor", "--out", "watcher");
  await run("issue", "--dir", "ca", "--name", "backend-1", "--role", "backend", "--out", "backend-1");
  const [mtlsPort, pskPort] = await freePorts();
  const ports = ["--mtls-port", String(mtlsPort), "--psk-port", String(pskPort)];
  await run("broker", "config", "--dir", "ca", "--for", "mosquitto", "--out", "broker", ...ports, "--bind", "127.0.0.1", "--user", "root");
  const broker = spawn(findMosquitto(), ["-c", join(cwd, "broker/mosquitto.conf")], { cwd, stdio: ["ignore", "ignore", "pipe"] });
  onTestFinished(() => void broker.kill("SIGKILL"));
  const isRunning = new Promise<void>((resolve) => broker.stderr.on("data", (text) => String(text).includes(" running") && resolve()));
  await isRunning;
  broker.stderr.resume();
  writeFileSync(join(cwd, "m.log"), "");
  const sys = ["--sys", `mqtts://localhost:${mtlsPort}`, "--credentials", "watcher", "--reports", "devices/{id}/identity/report"];
  const monitor = new RunningCli(["monitor", "--log", "m.log", "--metrics", "0", "--events", "e.jsonl", ...sys], { cwd });
  const url = String((await monitor.waitFor("metrics"))["url"]);
  while (!/^hawser_broker_up 1$/m.test(await (await fetch(url)).text())) await new Promise((resolve) => setTimeout(resolve, 100));

  const vault = Vault.open(join(cwd, "pump-1.vault"), PASSPHRASE);
  onTestFinished(() => vault.close());
  const platform = nodePlatform({ vault });
  const device = new Device({ broker: { host: "localhost", port: mtlsPort }, enrolment: false, protocolVersion: 5 }, platform);
  onTestFinished(() => device.stop());
  reportTrouble(device, platform.clock);
  device.start();
  await device.publish("identity/report", JSON.stringify({ v: 1, kind: "clock", count: 3, client: "pump-2" }), { qos: 1 });
  await expect(device.publish({ absolute: "devices/pump-2/up/a" }, "1", { qos: 1 })).rejects.toMatchObject({ code: "NOT_AUTHORIZED" });
  expect(await monitor.waitFor("report", ({ report }) => report === "denied")).toMatchObject({
    client: "pump-1",
    count: 1,
    topic: "devices/pump-2/up/a",
  });
  await expect(
    device.publish({ absolute: "devices/pump-2/identity/report" }, JSON.stringify({ v: 1, kind: "clock", count: 1 }), { qos: 1 }),
  ).rejects.toMatchObject({ code: "NOT_AUTHORIZED" });
  const [cert, key, ca] = ["client.crt.pem", "client.key.pem", "ca.crt.pem"].map((file) => readFileSync(join(cwd, "backend-1", file)));
  const backend = await connectAsync(`mqtts://localhost:${mtlsPort}`, {
    protocolVersion: 5,
    ...(cert && key && ca ? { cert, key, ca } : {}),
  });
  onTestFinished(() => void backend.end(true));
  await expect(backend.publishAsync("devices/pump-2/identity/report", "{}", { qos: 1 })).rejects.toThrow(/Not authorized/i);
  expect(await (await fetch(url)).text()).toMatch(/^hawser_device_reports_total\{kind="denied"\} 1$/m);
  const reports = monitor.events.filter(({ event }) => event === "report").map(({ client, report, count }) => [client, report, count]);
  expect(reports).toEqual([
    ["pump-1", "clock", 3],
    ["pump-1", "denied", 1],
  ]);
  expect(readFileSync(join(cwd, "e.jsonl"), "utf8").match(/"event":"report"/g)).toHaveLength(2);
  monitor.signal("SIGTERM");
  expect((await monitor.ended).code).toBe(0);
});

test.each([
  [["--metrics", "0", "--reports", "devices/{id}/identity/report"], /--reports needs --sys/],
  [["--metrics", "0", "--sys", "mqtt://localhost:1", "--reports", "devices/+/report"], /invalid place of reports/],
])("monitor %j is refused", async (args, line) => {
  const { code, stderr } = await hawser(["monitor", "--log", "-", ...args], { cwd: temporaryDirectory() });
  expect([code, stderr]).toEqual([2, expect.stringMatching(line) as string]);
});
