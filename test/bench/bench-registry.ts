/**
 * `npm run bench:registry [-- NAMES]`: how long the command line takes on a CA with so many names (100,000 without an argument). One device
 * is provisioned; the others are copies of its entry under other names, put into the registry as the CA would have.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fillCa, meterName } from "./filled-ca.js";

const PASSPHRASE = "of a CA that lives for a minute";
const names = Number(process.argv[2] ?? 100_000);
const cli = fileURLToPath(new URL("../../host-tools/cli/main.js", import.meta.url));
const room = mkdtempSync(join(tmpdir(), "hawser-registry-"));
const env = { ...process.env, HAWSER_PASSPHRASE: PASSPHRASE, HAWSER_STATE_DIR: join(room, "state") };
const directory = join(room, "ca");

function hawser(...args: string[]): void {
  execFileSync(process.execPath, [cli, ...args, "--dir", directory], { env, cwd: room, stdio: ["ignore", "ignore", "inherit"] });
}

function measure(what: string, args: readonly string[], withPassphrase = true): void {
  const start = performance.now();
  const timed = ["-c", 'TIMEFORMAT="%U %S"; time "$@" > output 2> errors', "bench", process.execPath, cli, ...args, "--dir", directory];
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
  process.stdout.write(
    `${what.padEnd(44)} ${cpu.toFixed(2).padStart(8)} ${wall.toFixed(2).padStart(8)}${status === 0 ? "" : `  exit ${status ?? "?"}`}\n`,
  );
}

try {
  hawser("ca", "init", "--name", "Bench");
  hawser("provision", "--id", meterName(0), "--vault", join(room, "first.vault"));
  fillCa(directory, PASSPHRASE, names);
  process.stdout.write(`${`${names} names`.padEnd(44)} ${"CPU s".padStart(8)} ${"wall s".padStart(8)}\n`);
  measure("list, verified", ["list"]);
  measure("list, not verified", ["list"], false);
  measure("list --json, not verified", ["list", "--json"], false);
  measure("list --state active --limit 50, verified", ["list", "--state", "active", "--limit", "50"]);
  measure("list --attribute site=b7 --count, verified", ["list", "--attribute", "site=b7", "--count"]);
  measure("list --expires-within 30d, verified", ["list", "--expires-within", "30d"]);
  measure("ca status, not verified", ["ca", "status"], false);
  measure("provision one more", ["provision", "--id", "one-more", "--vault", join(room, "more.vault")]);
  measure("revoke one", ["revoke", "--id", meterName(1)]);
} finally {
  rmSync(room, { recursive: true, force: true });
}
