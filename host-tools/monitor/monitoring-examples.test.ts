/** The files of examples/monitoring, by the tools that read them: promtool, amtool and fail2ban-regex. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { METRIC_NAMES } from "./broker-metrics.js";

const EXAMPLES = fileURLToPath(new URL("../../examples/monitoring", import.meta.url));
const run = (command: string, ...args: string[]): string => execFileSync(command, args, { cwd: EXAMPLES, encoding: "utf8" });
const metricsIn = (text: string): string[] => [...new Set(text.match(/\bhawser_\w+/g))];

interface Dashboard {
  readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
}

function folder(): string {
  const directory = mkdtempSync(join(tmpdir(), "hawser-monitoring-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("promtool accepts the configuration and its rules, and each alert fires when it should and not before", () => {
  expect(run("promtool", "check", "config", "prometheus.yml")).toContain("SUCCESS");
  expect(run("promtool", "test", "rules", "hawser-rules.test.yml")).toContain("SUCCESS");
});

test("Alertmanager accepts its configuration, and wakes somebody for what is critical alone", () => {
  expect(run("amtool", "check-config", "alertmanager.yml")).toContain("SUCCESS");
  const receiverOf = (...labels: string[]): string =>
    run("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", ...labels).trim();
  expect(receiverOf("severity=critical", "alertname=HawserBrokerDown")).toBe("pager");
  expect(receiverOf("severity=warning", "alertname=HawserTakeovers")).toBe("team");
  expect(receiverOf("severity=warning", "alertname=HawserOffender")).toBe("team");
  const rules = readFileSync(join(EXAMPLES, "hawser-rules.yml"), "utf8");
  const named = readFileSync(join(EXAMPLES, "alertmanager.yml"), "utf8").match(/Hawser[A-Z]\w+/g) ?? [];
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !rules.includes(`alert: ${name}\n`))).toEqual([]);
});

test("every expression of the dashboard is one that Prometheus can evaluate", () => {
  const { panels } = JSON.parse(readFileSync(join(EXAMPLES, "grafana-dashboard.json"), "utf8")) as Dashboard;
  const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const rules = expressions.map((expr, index) => ({ record: `panel:number:${index}`, expr }));
  const file = join(folder(), "rules.yml");
  writeFileSync(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
  expect(run("promtool", "check", "rules", file)).toContain(`SUCCESS: ${expressions.length} rules found`);
});

test.each(["hawser-rules.yml", "grafana-dashboard.json"])("%s names only metrics that the monitor serves", (file) => {
  const named = metricsIn(readFileSync(join(EXAMPLES, file), "utf8"));
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !METRIC_NAMES.includes(name))).toEqual([]);
});

/** The addresses that fail2ban would count, a line each. */
function counted(lines: readonly string[]): string[] {
  const log = join(folder(), "m.log");
  writeFileSync(log, lines.map((line) => `2026-11-28T09:53:55: ${line}\n`).join(""));
  const filter = join(EXAMPLES, "mosquitto-2.1-filter.conf");
  try {
    return run("fail2ban-regex", "-o", "ip", log, filter)
      .trim()
      .split("\n")
      .filter((line) => line !== "");
  } catch (error) {
    // It ends with 1 where nothing matches.
    return String((error as { stdout: string }).stdout)
      .trim()
      .split("\n")
      .filter((line) => line !== "");
  }
}

test("fail2ban counts the failed logins of 2.1, each for its own address", () => {
  const lines = [
    "New connection from 198.51.100.7:40000 on port 8883.",
    "Client pw1 [203.0.113.66:51758] disconnected: not authorised.",
    "Client pump 1 [203.0.113.67:51758] disconnected: bad username or password.",
    "Client connection from 203.0.113.68 failed: error:0A00010B:SSL routines::wrong version number.",
    "New client connected from 198.51.100.7:40000 as dev7 (p4, c1, k60, u'dev7').",
    "Client dev7 [198.51.100.7:40000] disconnected: session taken over.",
    "Client dev7 [198.51.100.7:40000] disconnected.",
  ];
  expect(counted(lines)).toEqual(["203.0.113.66", "203.0.113.67", "203.0.113.68"]);
});

test("fail2ban bans nobody whose address a client wrote into its id, and nobody on the word of 2.0", () => {
  const forged = "x [198.51.100.7:1] disconnected: not authorised.";
  expect(counted([`Client ${forged} [203.0.113.66:5] disconnected: not authorised.`])).toEqual(["203.0.113.66"]);
  // What mosquitto leaves of an id that is longer than its lines.
  const longest = (filler: string): string => `Client ${filler.repeat(Math.floor(900 / Buffer.byteLength(filler)))} ${forged}`;
  expect(counted([longest("x"), longest("\u{1f600}")])).toEqual([]);
  const lines = [
    `New client connected from 203.0.113.66:5 as ${forged} (p2, c1, k60, u'dev7').`,
    `Client ${forged} disconnected, not authorised.`,
    `Client ${forged} closed its connection.`,
    `Client ${forged} already connected, closing old connection.`,
    "New connection from 198.51.100.7:40000 on port 8883.",
    "New connection from 203.0.113.66:51758 on port 8883.",
    "Client <unknown> disconnected, not authorised.",
    "Client <unknown> disconnected: Protocol error.",
    "New client connected from 198.51.100.7:40000 as dev7 (p2, c1, k60, u'dev7').",
  ];
  expect(counted(lines)).toEqual([]);
});
