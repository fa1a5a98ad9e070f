/** Attacks on a real mosquitto, as the monitor names them and as a real Prometheus alerts. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { findMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { buildCli, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { freePort } from "../../../test/support/node/test-mosquitto.js";

beforeAll(buildCli);

const EXAMPLES = fileURLToPath(new URL("../../../examples/monitoring", import.meta.url));
const LOOK_MS = 100;
const run = promisify(execFile);

/** Prometheus with the example's configuration, looking once a second; resolves to its address. */
async function prometheus(cwd: string, metricsUrl: string): Promise<string> {
  const port = await freePort();
  const example = readFileSync(join(EXAMPLES, "prometheus.yml"), "utf8");
  const config = example
    .replaceAll("15s", "1s")
    .replace("hawser-rules.yml", join(EXAMPLES, "hawser-rules.yml"))
    .replace("localhost:9883", new URL(metricsUrl).host);
  writeFileSync(join(cwd, "prometheus.yml"), config);
  const place = ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", `--web.listen-address=127.0.0.1:${port}`];
  const server = spawn("prometheus", place, { cwd, stdio: "ignore" });
  onTestFinished(() => void server.kill("SIGKILL"));
  return `http://127.0.0.1:${port}`;
}

/** The alerts that fire, once those named are among them. */
async function firing(address: string, ...names: string[]): Promise<string[]> {
  for (;;) {
    const alerts = await firingNow(address);
    if (names.every((name) => alerts.includes(name))) return alerts;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

async function firingNow(address: string): Promise<string[]> {
  try {
    const answer = (await (await fetch(`${address}/api/v1/alerts`)).json()) as {
      data: { alerts: { state: string; labels: { alertname: string; rule?: string } }[] };
    };
    const alerts = answer.data.alerts.filter(({ state }) => state === "firing");
    return alerts.map(({ labels }) => (labels.rule === undefined ? labels.alertname : `${labels.alertname} ${labels.rule}`));
  } catch {
    return [];
  }
}

async function sampled(address: string, metric: string): Promise<void> {
  for (;;) {
    const answer = await fetch(`${address}/api/v1/query?query=${metric}`).then(
      (response) => response.text(),
      () => "",
    );
    if (answer.includes('"value"')) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

test(
  "password guessing, foreign topics, takeovers and garbage are each seen as what they are, and Prometheus alerts",
  { timeout: 180_000 },
  async () => {
    const cwd = temporaryDirectory();
    const port = await freePort();
    execFileSync("mosquitto_passwd", ["-c", "-b", join(cwd, "passwd"), "pump-1", "a-long-passphrase-9"]);
    writeFileSync(join(cwd, "acl"), "pattern readwrite devices/%u/#\n");
    const types = ["error", "warning", "notice", "information", "debug"].map((type) => `log_type ${type}`);
    const files = [`password_file ${join(cwd, "passwd")}`, `acl_file ${join(cwd, "acl")}`, `log_dest file ${join(cwd, "m.log")}`];
    const lines = [`listener ${port} 127.0.0.1`, "user root", "allow_anonymous false", ...files, ...types];
    writeFileSync(join(cwd, "m.conf"), `${lines.join("\n")}\n`);
    writeFileSync(join(cwd, "m.log"), "");
    const broker = spawn(findMosquitto(), ["-c", "m.conf"], { cwd, stdio: "ignore" });
    onTestFinished(() => void broker.kill("SIGKILL"));
    const monitor = new RunningCli(["monitor", "--log", "m.log", "--config", "m.conf", "--events", "e.jsonl", "--metrics", "0"], { cwd });
    const metricsUrl = String((await monitor.waitFor("metrics"))["url"]);
    const eyes = await prometheus(cwd, metricsUrl);
    await monitor.waitFor("broker-started");
    await sampled(eyes, "hawser_monitor_alerts_total");

    const at = ["-h", "127.0.0.1", "-p", String(port), "-u", "pump-1"];
    const login = [...at, "-P", "a-long-passphrase-9"];
    for (let guess = 0; guess < 3; guess += 1)
      await run("mosquitto_pub", [...at, "-P", `guess${guess}`, "-t", "t", "-m", "1"]).catch(() => undefined);
    const foreign = spawn("mosquitto_pub", [...login, "-i", "pump-1", "-q", "1", "-t", "devices/pump-2/up/a", "-l"], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    foreign.stdin.end("1\n".repeat(25));
    // Each comes back when the other has taken its id.
    for (let twin = 0; twin < 2; twin += 1) {
      const rival = spawn("mosquitto_sub", [...login, "-i", "twin", "-t", "devices/pump-1/#"], { stdio: "ignore" });
      onTestFinished(() => void rival.kill("SIGKILL"));
    }
    connect(port, "127.0.0.1")
      .on("error", () => undefined)
      .end(Buffer.from("ffffffffffff", "hex"))
      .resume();

    await monitor.waitFor("refused", ({ reason }) => reason === "password");
    await monitor.waitFor("refused", ({ reason }) => reason === "protocol");
    await monitor.waitFor("denied", ({ client, topic }) => client === "pump-1" && topic === "devices/pump-2/up/a");
    await monitor.waitFor("alert", ({ rule, offender }) => rule === "denied-publishes" && offender === "pump-1");
    await monitor.waitFor("alert", ({ rule, offender }) => rule === "clone-suspected" && offender === "twin");
    const alerts = await firing(eyes, "HawserOffender clone-suspected", "HawserOffender denied-publishes");
    expect(alerts.filter((name) => !name.startsWith("HawserOffender"))).toEqual([]);
    monitor.signal("SIGTERM");
    expect((await monitor.ended).code).toBe(0);
  },
);
