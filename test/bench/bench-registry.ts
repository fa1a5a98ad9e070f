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
const names = Number(process.argv[2] ?? 100_000);
const kind = process.argv[3] ?? "sqlite";
const cli = fileURLToPath(new URL("../../host-tools/cli/main.js", import.meta.url));
const room = mkdtempSync(join(tmpdir(), "hawser-registry-"));
const env = { ...process.env, HAWSER_PASSPHRASE: PASSPHRASE, HAWSER_STATE_DIR: join(room, "state") };
const directory = join(room, "ca");

function hawser(...args: string[]): void {
  execFileSync(process.execPath, [cli, ...args, "--dir", directory], { env, cwd: room, stdio: ["ignore", "ignore", "inherit"] });
}

function measure(what: string, args: readonly string[], withPassphrase = true, withDirectory = true): void {
  const start = performance.now();
  const command = [process.execPath, cli, ...args, ...(withDirectory ? ["--dir", directory] : [])];
  const timed = ["-c", 'TIMEFORMAT="%U %S"; time "$@" > output 2> errors', "bench", ...command];
  const { status, stderr } = spawnSync("bash", timed, {
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
  print(what, cpu, wall, status === 0 ? "" : `  exit ${status ?? "?"}`);
}

function print(what: string, cpu: number, wall: number, note = ""): void {
  process.stdout.write(`${what.padEnd(44)} ${cpu.toFixed(3).padStart(8)} ${wall.toFixed(3).padStart(8)}${note}\n`);
}

/** In a process that has the CA open, as a station or the authority has: CPU and wall time of one of so many. */
async function measureOpen(what: string, count: number, work: (number: number) => Promise<unknown>): Promise<void> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  for (let number = 0; number < count; number += 1) await work(number);
  const { user, system } = process.cpuUsage(before);
  print(what, (user + system) / 1e6 / count, (performance.now() - start) / 1000 / count);
}

const database = kind === "postgres" ? await PostgresServer.start() : undefined;
try {
  hawser("ca", "init", "--name", "Bench", "--registry", database === undefined ? kind : "sqlite");
  hawser("provision", "--id", meterName(0), "--vault", join(room, "first.vault"));
  fillCa(directory, PASSPHRASE, names);
  if (database !== undefined) hawser("registry", "move", "--to", "postgres", "--registry-url-file", database.urlFile);
  process.stdout.write(`${`${names} names in ${kind}`.padEnd(44)} ${"CPU s".padStart(8)} ${"wall s".padStart(8)}\n`);
  measure("the command alone: --version", ["--version"], false, false);
  measure("list, before there is an index", ["list", "--count"]);
  measure("revoke one, which makes the index", ["revoke", "--id", meterName(2)]);
  measure("list, verified", ["list"]);
  measure("list, not verified", ["list"], false);
  measure("list --json, not verified", ["list", "--json"], false);
  measure("list --state active --limit 50, verified", ["list", "--state", "active", "--limit", "50"]);
  measure("list --attribute site=b7 --count, verified", ["list", "--attribute", "site=b7", "--count"]);
  measure("list --expires-within 30d, verified", ["list", "--expires-within", "30d"]);
  measure("ca status, not verified", ["ca", "status"], false);
  measure("provision one more", ["provision", "--id", "one-more", "--vault", join(room, "more.vault")]);
  measure("revoke one", ["revoke", "--id", meterName(1)]);
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
  if (before !== names + OPEN_ROUNDS + 1) throw new Error(`the second machine has ${before} names`);
  await measureOpen(
    "revoke one from two machines in turn",
    OPEN_ROUNDS,
    (number) => [ca, second][number % 2]?.revoke({ id: meterName(number + 100) }) ?? Promise.resolve(),
  );
}
