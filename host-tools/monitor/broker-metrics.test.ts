import { execFileSync } from "node:child_process";
import { request } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { BrokerMetrics } from "./broker-metrics.js";
import { startMetricsServer } from "./metrics-server.js";

const TIME_MS = Date.parse("2026-11-28T09:53:55Z");
const seriesIn = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.replace(/ \S+$/, ""));

test("promtool finds nothing to complain of, and every value is there from the start", () => {
  const metrics = new BrokerMetrics("1.2.3");
  metrics.setUp(true);
  metrics.logRead(TIME_MS);
  for (const topic of ["clients/connected", "bytes/received", "retained messages/count"]) metrics.sysMessage(`$SYS/broker/${topic}`, "7");
  metrics.sysMessage("$SYS/broker/uptime", "117 seconds");
  metrics.event({ kind: "refused", reason: "psk", timeMs: TIME_MS });
  const text = metrics.render();
  expect(execFileSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" })).toBe("");
  expect(text).toMatch(/^hawser_broker_refusals_total\{reason="psk"\} 1$/m);
  expect(text).toMatch(/^hawser_broker_refusals_total\{reason="certificate"\} 0$/m);
  expect(text).toMatch(/^hawser_broker_uptime_seconds 117$/m);
  expect(text).toMatch(/^hawser_build_info\{version="1\.2\.3"\} 1$/m);
});

test("neither clients nor a broker that sends what it likes add a series", () => {
  const metrics = new BrokerMetrics("1");
  metrics.setUp(true);
  const before = seriesIn(metrics.render());
  for (let number = 0; number < 1000; number += 1) {
    const client = `dev${number}`;
    metrics.event({ kind: "connected", client, address: `192.0.2.${number % 250}`, user: client, timeMs: TIME_MS });
    metrics.event({ kind: "refused", reason: "password", claimedClient: client, timeMs: TIME_MS });
    metrics.event({ kind: "denied", client, topic: `t/${number}`, sizeBytes: 1, timeMs: TIME_MS });
    metrics.sysMessage(`$SYS/broker/load/${client}`, "1");
    metrics.sysMessage("$SYS/broker/version", 'x"} 1\nforged 1');
    metrics.sysMessage("$SYS/broker/clients/connected", "1\nforged 1");
  }
  expect(seriesIn(metrics.render())).toEqual(before);
});

test("values of a broker that is out of reach are left out", () => {
  const metrics = new BrokerMetrics("1");
  metrics.setUp(true);
  metrics.sysMessage("$SYS/broker/clients/connected", "7");
  metrics.setUp(false);
  expect(seriesIn(metrics.render())).not.toContain("hawser_broker_clients_connected");
  expect(metrics.render()).toMatch(/^hawser_broker_up 0$/m);
});

test("the page is for loopback: other host names, methods and paths are refused", async () => {
  const server = await startMetricsServer(0, () => "x 1\n");
  onTestFinished(() => server.close());
  const ask = (path: string, host: string, method = "GET"): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const asked = request({ host: "127.0.0.1", port: server.port, path, method, headers: { host } }, (response) =>
        resolve(response.resume().statusCode),
      );
      asked.on("error", reject).end();
    });
  const local = `localhost:${server.port}`;
  const answers = [ask("/metrics", local), ask("/metrics", "attacker.example"), ask("/metrics", local, "POST"), ask("/", local)];
  expect(await Promise.all(answers)).toEqual([200, 421, 405, 404]);
  await expect(startMetricsServer(server.port, () => "")).rejects.toMatchObject({ code: "PORT_IN_USE" });
});
