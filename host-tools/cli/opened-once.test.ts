/** How often commands turn a CA's passphrase into its key, which is on purpose the slowest step of opening a CA. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Command } from "commander";
import { afterAll, beforeAll, expect, test } from "vitest";
import { API_KEY } from "../../test/support/brokers/emqx-double.js";
import { PostgresServer } from "../../test/support/host-tools/postgres-server.js";
import { freePorts } from "../../test/support/host-tools/scene.js";
import { buildCli, hawser, RunningCli } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, makeCa, PASSPHRASE } from "../../test/support/host-tools/test-fleet.js";
import { buildProgram } from "./command-line.js";
import { Terminal } from "./terminal.js";

let server: PostgresServer;
beforeAll(async () => {
  await buildCli();
  server = await PostgresServer.start();
}, 120_000);
afterAll(() => server.stop());

/** Writes the salt of every run of scrypt to a file, a line each: which key was derived how often. */
function counter(file: string): string {
  const module = `
    import crypto from "node:crypto";
    import { appendFileSync } from "node:fs";
    import { syncBuiltinESMExports } from "node:module";
    for (const name of ["scrypt", "scryptSync"]) {
      const derive = crypto[name];
      crypto[name] = (passphrase, salt, ...rest) => {
        appendFileSync(${JSON.stringify(file)}, salt.toString("base64") + "\\n");
        return derive(passphrase, salt, ...rest);
      };
    }
    syncBuiltinESMExports();`;
  return `--import=data:text/javascript,${encodeURIComponent(module)}`;
}

/** As `hawser monitor` gives it to a program. */
const ALERT = JSON.stringify({
  event: "alert",
  time: new Date().toISOString(),
  rule: "message-rate",
  by: "client",
  offender: "sensor-1",
});

interface Run {
  readonly args: readonly string[];
  /** Where the CA is: `ca` when left out. */
  readonly ca?: string;
  /** The event that a service prints once it is at work; it is told to stop then. */
  readonly until?: string;
  readonly input?: string;
  /** The code of the error for want of a broker: the CA is open by then. */
  readonly fails?: string;
}

/** Every command that opens a CA, in an order in which each finds what it needs. */
function runs(cwd: string, [mtlsPort, pskPort]: readonly number[]): Record<string, Run> {
  const shared = ["--name", basename(cwd), "--registry-url-file", server.urlFile];
  const ports = ["--mtls-port", String(mtlsPort), "--psk-port", String(pskPort)];
  const ca = ["--dir", "ca"];
  const nobody = "127.0.0.1:1";
  return {
    init: { args: ["fleet"], ca: "fleet/ca" },
    "ca init": { args: ["--dir", "one", "--registry", "postgres", ...shared], ca: "one" },
    "registry join": { args: ["--dir", "two", ...shared], ca: "two" },
    "registry snapshot": { args: ["--dir", "two"], ca: "two" },
    "registry follow": { args: ["--dir", "two"], ca: "two", until: "ready" },
    "ca verify": { args: ["--dir", "two"], ca: "two" },
    provision: { args: [...ca, "--id", "sensor-1", "--vault", "sensor-1.vault"] },
    // The device that they would provision is there.
    "sim fleet": { args: [...ca, "--devices", "1", "--ids", "sensor-{n}", "--url", `mqtts://${nobody}`], fails: "ID_EXISTS" },
    "sim scenario": { args: ["scenario.yaml"], fails: "ID_EXISTS" },
    issue: { args: [...ca, "--name", "dash", "--role", "backend", "--out", "dash"] },
    list: { args: ca },
    "ca status": { args: ca },
    "ca crl": { args: ca },
    "ca broker-cert": { args: ca },
    "ca checkpoint": { args: [...ca, "--out", "checkpoint"] },
    "ca rollover": { args: ca },
    "registry move": { args: [...ca, "--to", "sqlite"] },
    revoke: { args: [...ca, "--id", "sensor-1"] },
    "broker config": { args: [...ca, "--for", "mosquitto", "--out", "broker", ...ports] },
    "broker sync": { args: ca },
    "broker end-sessions": { args: [...ca, "--id", "dash", "--host", "127.0.0.1", "--port", "1"], fails: "SESSIONS_NOT_ENDED" },
    "broker block": { args: [...ca, "--network", "203.0.113.0/24", "--out", "blocks"] },
    "broker unblock": { args: [...ca, "--network", "203.0.113.0/24", "--out", "blocks"] },
    "broker unban": { args: [...ca, "--id", "dash", "--emqx", `http://${nobody}`, "--emqx-key", "key.json"], fails: "MANAGEMENT_FAILED" },
    "broker run": { args: [...ca, "--mtls-port", "0", "--psk-port", "0"], until: "ready" },
    authority: { args: [...ca, "--url", `mqtts://${nobody}`, "--connect-timeout", "1s"], fails: "CONNECTION_REFUSED" },
    "policy apply": { args: [...ca, "policy.yaml"] },
    "policy set": { args: [...ca, "--id", "sensor-1", "--role", "valve", "--default-rights"] },
    "policy quarantine": { args: [...ca, "--on", "message-rate"], input: ALERT },
    "policy password": { args: [...ca, "--id", "dash", "--out", "password"] },
    "policy compile": { args: [...ca, "--for", "mosquitto", "--keys", "--out", "compiled"] },
    "policy serve": { args: [...ca, "--port", "0"], until: "ready" },
    "image nvs": { args: [...ca, "--device", "sensor-2", "--out", "nvs.bin", "--plain"] },
    "image secure-cert": { args: [...ca, "--device", "sensor-3", "--out", "secure-cert.bin", "--plain"] },
    "label make": { args: [...ca, "--device", "sensor-2", "--out", "label.svg", "--format", "svg"] },
    export: { args: ["erp", ...ca, "--out", "fleet.csv"] },
    "station run": {
      args: [...ca, "--operator", "alice", "--order", "1", "--ids", "m-{n}", "--proof", "challenge", "--simulated", "1"],
      until: "ready",
    },
    "station authority": { args: [...ca, "--batch", "line-1=1", "--port", "0"], until: "ready" },
    "ca request": { args: ["--dir", "offline/ca", "--for", "crl", "--out", "request"], ca: "offline/ca" },
    "ca answer": { args: ["--dir", "offline/ca", "--answer", "answer"], ca: "offline/ca" },
    "ca passphrase": { args: ["--dir", "fleet/ca", "--new-passphrase-file", "new"], ca: "fleet/ca" },
    "ca backup": { args: [...ca, "--out", "backup"] },
    "ca restore": { args: ["--backup", "backup", "--dir", "restored", "--without-crl"], ca: "restored" },
  };
}

test("every command that opens a CA derives its key once", async () => {
  const cwd = await directoryWithCa();
  await makeCa(join(cwd, "offline"), { offlineRoot: { passphrase: PASSPHRASE } });
  const salts = join(cwd, "salts");
  const env = { HAWSER_PASSPHRASE: PASSPHRASE, HAWSER_STATE_DIR: join(cwd, "state"), NODE_OPTIONS: counter(salts) };
  writeFileSync(join(cwd, "new"), "another horse and another battery\n", { mode: 0o600 });
  writeFileSync(
    join(cwd, "scenario.yaml"),
    "name: one\nfleet: { devices: 1, ids: 'sensor-{n}' }\nbroker: { url: mqtts://127.0.0.1:1, ca: ca }\nduration: 1s\nexpect: [no message lost]\n",
  );
  writeFileSync(join(cwd, "key.json"), JSON.stringify(API_KEY), { mode: 0o600 });
  const table = runs(cwd, await freePorts());
  const seen: Record<string, { readonly ended: string; readonly derived: number }> = {};
  for (const [command, run] of Object.entries(table)) {
    if (command === "policy apply") await hawser(["policy", "init", "--out", "policy.yaml"], { cwd });
    if (command === "ca answer") {
      const sign = ["ca", "root-sign", "--root", "offline/ca/offline-root", "--request", "request", "--out", "answer", "--yes"];
      expect(await hawser(sign, { cwd, env })).toMatchObject({ code: 0 });
    }
    // A CA that is still there would not be restored beside itself.
    if (command === "ca restore") rmSync(join(cwd, "ca"), { recursive: true });
    const before = saltOf(cwd, run);
    writeFileSync(salts, "");
    const ended = await endOf([...command.split(" "), ...run.args], run, { cwd, env });
    const salt = before ?? saltOf(cwd, run);
    const derived = readFileSync(salts, "utf8")
      .split("\n")
      .filter((line) => line === salt).length;
    seen[command] = { ended, derived };
  }
  expect(seen).toEqual(
    Object.fromEntries(commandsWithCa().map((command) => [command, { ended: table[command]?.fails ?? "well", derived: 1 }])),
  );
}, 600_000);

function saltOf(cwd: string, { ca = "ca" }: Run): string | undefined {
  try {
    const { derivation } = JSON.parse(readFileSync(join(cwd, ca, "ca.json"), "utf8")) as { derivation: { salt: string } };
    return derivation.salt;
  } catch {
    return undefined;
  }
}

/** @returns the code of the error that it ended with, if any */
async function endOf(
  args: readonly string[],
  { until, input }: Run,
  options: { readonly cwd: string; readonly env: Record<string, string> },
): Promise<string> {
  if (until === undefined) return verdict(await hawser([...args, "--json"], { ...options, ...(input === undefined ? {} : { input }) }));
  const service = new RunningCli(args, options);
  await service.waitFor(until);
  service.signal("SIGTERM");
  return verdict(await service.ended);
}

function verdict({ code, stderr }: { readonly code: number | null; readonly stderr: string }): string {
  if (code === 0) return "well";
  return /"error":\{"code":"(\w+)"/.exec(stderr)?.[1] ?? stderr;
}

/** Those that take the passphrase of a CA. */
function commandsWithCa(): string[] {
  const found: string[] = [];
  const walk = (command: Command, path: readonly string[]): void => {
    if (command.options.some(({ long }) => long === "--ca-passphrase-file")) found.push(path.join(" "));
    for (const below of command.commands) walk(below, [...path, below.name()]);
  };
  walk(buildProgram(new Terminal(false, process.stdout, process.stderr, {})), []);
  return found;
}
