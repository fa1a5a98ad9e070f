/**
 * `npm run bench:registry [-- NAMES [KIND]]`: how long the command line takes on a CA with so many names (100,000 without an argument),
 * with the registry in SQLite, or in `files` or `postgres` where KIND says so.
 * One device is provisioned; the others are copies of its entry under other
 * names, put into the registry as the CA would have.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openCa } from "../../host-tools/ca/certificate-authority.js";
import { joinRegistry } from "../../host-tools/ca/shared-registry.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { PostgresServer } from "../support/host-tools/postgres-server.js";
import { fillCa, meterName } from "./filled-ca.js";

const PASSPHRASE = "of a CA that lives for a minute";
const OPEN_ROUNDS = 20;
/** Of each command. */
const ROUNDS = 5;
const names = Number(process.argv[2] ?? 100_000);
const kind = process.argv[3] ?? "sqlite";
const cli = fileURLToPath(new URL("../../host-tools/cli/main.js", import.meta.url));
const room = mkdtempSync(join(tmpdir(), "hawser-registry-"));
const env = { ...process.env, HAWSER_PASSPHRASE: PASSPHRASE, HAWSER_STATE_DIR: join(room, "state") };
const directory = join(room, "ca");

function hawser(...args: string[]): void {
  execFileSync(process.execPath, [cli, ...args, "--dir", directory], { env, cwd: room, stdio: ["ignore", "ignore", "inherit"] });
}

interface Costs {
  readonly cpu: number;
  readonly wall: number;
  /** Exit code of a command. */
  readonly status?: number | null;
}

/** Runs a command so often, and prints the median and the range. */
function measure(what: string, argsOf: (round: number) => readonly string[], rounds = ROUNDS, asked: Asked = {}): void {
  const costs: Costs[] = [];
  for (let round = 0; round < rounds; round += 1) costs.push(timed(argsOf(round), asked));
  print(what, costs);
}

interface Asked {
  readonly withPassphrase?: boolean;
  readonly withDirectory?: boolean;
}

function timed(args: readonly string[], { withPassphrase = true, withDirectory = true }: Asked): Costs {
  const start = performance.now();
  const command = [process.execPath, cli, ...args, ...(withDirectory ? ["--dir", directory] : [])];
  const inBash = ["-c", 'TIMEFORMAT="%U %S"; time "$@" > output 2> errors', "bench", ...command];
  const { status, stderr } = spawnSync("bash", inBash, {
    env: withPassphrase ? env : { ...env, HAWSER_PASSPHRASE: undefined },
    cwd: room,
    encoding: "utf8",
  });
  const wall = (performance.now() - start) / 1000;
  // CPU time counts on a machine that has other work; the disk's waits are in the wall time alone.
  const cpu = stderr
    .trim()
    .split(" ")
    .reduce((sum, text) => sum + Number(text), 0);
  return { cpu, wall, status };
}

function print(what: string, costs: readonly Costs[]): void {
  const columns = [costs.map(({ cpu }) => cpu), costs.map(({ wall }) => wall)].map((values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const [median = 0, least = 0, most = 0] = [sorted[sorted.length >> 1], sorted[0], sorted.at(-1)];
    const range = sorted.length > 1 ? `(${least.toFixed(2)} to ${most.toFixed(2)})` : "";
    return `${median.toFixed(3).padStart(8)} ${range.padEnd(16)}`;
  });
  const failed = costs.find(({ status = 0 }) => status !== 0);
  const note = failed === undefined ? "" : `  exit ${failed.status ?? "?"}`;
  process.stdout.write(`${`${what.padEnd(44)} ${columns.join(" ")}`.trimEnd()}${note}\n`);
}

/** In a process that has the CA open, as a station or the authority has: CPU and wall time of one of so many. */
async function measureOpen(what: string, count: number, work: (number: number) => Promise<unknown>): Promise<void> {
  const costs: Costs[] = [];
  for (let number = 0; number < count; number += 1) {
    const [start, before] = [performance.now(), process.cpuUsage()];
    await work(number);
    const { user, system } = process.cpuUsage(before);
    costs.push({ cpu: (user + system) / 1e6, wall: (performance.now() - start) / 1000 });
  }
  print(what, costs);
}

const database = kind === "postgres" ? await PostgresServer.start() : undefined;
try {
  hawser("ca", "init", "--name", "Bench", "--registry", database === undefined ? kind : "sqlite");
  hawser("provision", "--id", meterName(0), "--vault", join(room, "first.vault"));
  await fillCa(directory, PASSPHRASE, names);
  if (database !== undefined) hawser("registry", "move", "--to", "postgres", "--registry-url-file", database.urlFile);
  process.stdout.write(`${`${names} names in ${kind}`.padEnd(44)} ${"CPU s".padStart(8)}${"wall s".padStart(26)}\n`);
  measure("the command alone: --version", () => ["--version"], ROUNDS, { withPassphrase: false, withDirectory: false });
  measure("list, before there is an index", () => ["list", "--count"], 1);
  measure("revoke one, which makes the index", () => ["revoke", "--id", meterName(2)], 1);
  measure("list, verified", () => ["list"]);
  measure("list, not verified", () => ["list"], ROUNDS, { withPassphrase: false });
  measure("list --json, not verified", () => ["list", "--json"], ROUNDS, { withPassphrase: false });
  measure("list --state active --limit 50, verified", () => ["list", "--state", "active", "--limit", "50"]);
  measure("list --attribute site=b7 --count, verified", () => ["list", "--attribute", "site=b7", "--count"]);
  measure("list --expires-within 30d, verified", () => ["list", "--expires-within", "30d"]);
  measure("ca status, not verified", () => ["ca", "status"], ROUNDS, { withPassphrase: false });
  measure("provision one more", (round) => ["provision", "--id", `more-${round}`, "--vault", join(room, `${round}.vault`)]);
  measure("revoke one", (round) => ["revoke", "--id", meterName(1_000 + round)]);
  const ca = await openCa(directory, PASSPHRASE);
  const keys = memoryKeyStore();
  keys.generate("key-a");
  const requests = Array.from({ length: OPEN_ROUNDS }, (_, number) => keys.csr("key-a", `open-${number}`));
  await measureOpen("provision one more, CA open", OPEN_ROUNDS, async (number) => {
    const reservation = await ca.reserve({ id: `open-${number}`, role: "sensor" });
    await ca.complete(reservation, requests[number] ?? new Uint8Array());
    await ca.activate(reservation);
  });
  await measureOpen("revoke one, CA open", OPEN_ROUNDS, (number) => ca.revoke({ id: `open-${number}` }));
  if (database !== undefined) await measureSecond(database);
} finally {
  await database?.stop();
  rmSync(room, { recursive: true, force: true });
}

/** Another machine: joining, and taking in what the first has done. */
async function measureSecond({ urlFile }: PostgresServer): Promise<void> {
  const ca = await openCa(directory, PASSPHRASE);
  const joined = join(room, "joined");
  await measureOpen("registry snapshot", 1, () => ca.addSnapshot());
  await measureOpen("registry join", 1, () => joinRegistry(joined, { passphrase: PASSPHRASE, urlFile }));
  const second = await openCa(joined, PASSPHRASE);
  for (let number = 0; number < OPEN_ROUNDS; number += 1) await ca.revoke({ id: meterName(number + 10) });
  const before = (await second.list()).length;
  if (before !== names + OPEN_ROUNDS + ROUNDS) throw new Error(`the second machine has ${before} names`);
  await measureOpen(
    "revoke one from two machines in turn",
    OPEN_ROUNDS,
    (number) => [ca, second][number % 2]?.revoke({ id: meterName(number + 100) }) ?? Promise.resolve(),
  );
}
