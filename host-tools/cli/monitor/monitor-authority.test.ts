import { execFileSync } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { buildCli, CLI, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const START = "2026-11-28T09:53:55: mosquitto version 2.0.21 starting\n";

async function place(): Promise<{ cwd: string; run: (...args: string[]) => Promise<void> }> {
  const cwd = await directoryWithCa();
  writeFileSync(join(cwd, "m.log"), START);
  return { cwd, run: async (...args) => expect(await hawser(args, { cwd, env: ENV })).toMatchObject({ code: 0 }) };
}

async function metricsThat(url: string, pattern: RegExp): Promise<string> {
  for (;;) {
    const text = await (await fetch(url)).text();
    if (pattern.test(text)) return text;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("what the CA does is in the event file, each change once, whatever stops the monitor", async () => {
  const { cwd, run } = await place();
  const args = ["monitor", "--log", "m.log", "--dir", "ca", "--events", "e.jsonl"];
  const changes = (): unknown[] =>
    readFileSync(join(cwd, "e.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ event }) => event === "authority")
      .map(({ change, name }) => (name === undefined ? change : `${String(change)} ${String(name)}`));
  await run(...args, "--once");
  const before = changes();
  expect(before).toContain("ca-created");
  const monitor = new RunningCli(args, { cwd });
  await run("provision", "--dir", "ca", "--id", "pump-1", "--vault", "v");
  await monitor.waitFor("authority", ({ name }) => name === "pump-1");
  monitor.signal("SIGKILL");
  await monitor.ended;
  // A run that follows the log alone keeps the place in the trail.
  await run("monitor", "--log", "m.log", "--events", "e.jsonl", "--once");
  await run("revoke", "--dir", "ca", "--id", "pump-1");
  await run(...args, "--once");
  const all = changes();
  expect(all.slice(0, before.length)).toEqual(before);
  expect(new Set(all).size).toBe(all.length);
  expect(all.at(-1)).toMatch(/revoked pump-1$/);
});

test("docs/monitoring.md's commands for the CA run as written", async () => {
  const { cwd } = await place();
  const page = readFileSync(fileURLToPath(new URL("../../../docs/monitoring.md", import.meta.url)), "utf8");
  const script = /<!-- monitor-authority -->\s*```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  expect(script).toContain("npx hawser monitor");
  const command = script.replaceAll("npx hawser", `"${process.execPath}" "${CLI}"`);
  const env = { ...process.env, ...ENV };
  expect(execFileSync("bash", ["-euc", command], { cwd, encoding: "utf8", env })).toMatch(/"name":"pump-1".*\n$/);
});

test("Prometheus is told of devices, certificates and revocation lists, and when the CA cannot be read", async () => {
  const { cwd, run } = await place();
  await run("provision", "--dir", "ca", "--id", "pump-1", "--vault", "v");
  const monitor = new RunningCli(["monitor", "--log", "m.log", "--metrics", "0", "--dir", "ca"], { cwd });
  const url = String((await monitor.waitFor("metrics"))["url"]);
  const text = await metricsThat(url, /^hawser_devices\{state="active"\} 1$/m);
  expect(execFileSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" })).toBe("");
  expect(text).not.toContain("pump-1");
  const seconds = (pattern: RegExp): number => Number(pattern.exec(text)?.[1]);
  expect(seconds(/^hawser_crl_next_update_timestamp_seconds (\S+)$/m)).toBeGreaterThan(Date.now() / 1000);
  for (const kind of ["root", "issuing", "broker"])
    expect(seconds(new RegExp(`^hawser_certificate_not_after_timestamp_seconds\\{kind="${kind}"\\} (\\S+)$`, "m"))).toBeGreaterThan(0);
  expect(text).toMatch(/^hawser_crl_entries 0$/m);
  await run("revoke", "--dir", "ca", "--id", "pump-1");
  await metricsThat(url, /^hawser_devices\{state="revoked"\} 1$[^]*^hawser_crl_entries 1$/m);
  renameSync(join(cwd, "ca"), join(cwd, "away"));
  expect(await metricsThat(url, /^hawser_authority_up 0$/m)).not.toContain("hawser_devices");
  await monitor.waitFor("authority-unread");
  renameSync(join(cwd, "away"), join(cwd, "ca"));
  await metricsThat(url, /^hawser_authority_up 1$/m);
});
