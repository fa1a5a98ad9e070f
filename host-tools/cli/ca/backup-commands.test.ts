import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, watch } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { provisionDevice } from "../../../test/support/host-tools/scene.js";
import { buildCli, CLI, hawser } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, PASSPHRASE } from "../../../test/support/host-tools/test-fleet.js";
import { openCa } from "../../ca/certificate-authority.js";
import { verifyCa } from "../../ca/verification.js";

beforeAll(buildCli);

/** Runs a command and kills it, by SIGKILL, as soon as a file appears in the directory. False when it was through before. */
async function killedWhen(directory: string, isThere: (file: string) => boolean, cwd: string, args: readonly string[]): Promise<boolean> {
  const child = spawn(process.execPath, [CLI, ...args], { cwd, env: { PATH: process.env["PATH"] ?? "", ...ENV }, stdio: "ignore" });
  const watcher = watch(directory, () => {
    if (readdirSync(directory).some(isThere)) child.kill("SIGKILL");
  });
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  watcher.close();
  if (signal !== "SIGKILL") expect(code).toBe(0);
  return signal === "SIGKILL";
}

test("a backup that is killed half-way leaves no backup, and the next one is whole", async () => {
  const cwd = await directoryWithCa();
  mkdirSync(join(cwd, "out"));
  const backup = ["ca", "backup", "--dir", "ca", "--out", "out/b"];
  // On a busy machine the command may be through before it is killed: then it is made again.
  while (!(await killedWhen(join(cwd, "out"), (file) => file.endsWith(".tmp~"), cwd, backup))) rmSync(join(cwd, "out/b"));
  // The rename may have come first: then it is whole.
  if (!existsSync(join(cwd, "out/b"))) await json(cwd, "ca", "backup", "--dir", "ca", "--out", "out/b");
  expect(await json(cwd, "ca", "restore", "--backup", "out/b")).toMatchObject({ name: "Test", revision: 1, problems: [], changesSince: 0 });
});

test("a restore that is killed half-way leaves no CA, and the same command goes through and tidies up", async () => {
  const cwd = await directoryWithCa();
  const ca = await openCa(join(cwd, "ca"), PASSPHRASE);
  for (const id of ["dev1", "dev2"]) await provisionDevice(ca, id);
  await json(cwd, "ca", "backup", "--dir", "ca", "--out", "b");
  await ca.revoke({ id: "dev1" });
  cpSync(join(cwd, "ca/crl.pem"), join(cwd, "crl.pem"));
  renameSync(join(cwd, "ca"), join(cwd, "lost"));
  const restore = ["ca", "restore", "--backup", "b", "--dir", "ca", "--crl", "crl.pem"];
  const restoredBefore = (): boolean => existsSync(join(cwd, "ca"));
  while (!(await killedWhen(cwd, (file) => file.startsWith("ca.staged-"), cwd, restore)) || restoredBefore())
    rmSync(join(cwd, "ca"), { recursive: true });
  expect(await json(cwd, ...restore)).toMatchObject({ dir: "ca", names: 2, shutOut: ["dev1"] });
  expect(readdirSync(cwd).sort()).toEqual(["b", "ca", "crl.pem", "lost"]);
  expect(await verifyCa(join(cwd, "ca"), PASSPHRASE)).toMatchObject({ problems: [] });
  expect(readFileSync(join(cwd, "ca/audit.jsonl"), "utf8")).toContain('"event":"restored"');
});

test("a restored CA gets the broker of before when it is told to take it over, and the old directory has it no more", async () => {
  const cwd = await directoryWithCa();
  const configure = ["broker", "config", "--for", "mosquitto", "--out", "broker", "--mtls-port", "8883", "--psk-port", "8884", "--dir"];
  await json(cwd, ...configure, "ca");
  await json(cwd, "ca", "backup", "--dir", "ca", "--out", "b");
  renameSync(join(cwd, "ca"), join(cwd, "old"));
  await json(cwd, "ca", "restore", "--backup", "b", "--dir", "new", "--crl", "broker/crl.pem");
  expect(await hawser([...configure, "new"], { cwd, env: ENV })).toMatchObject({ code: 6, stderr: expect.stringContaining("another CA") });
  await json(cwd, ...configure, "new", "--take-over");
  const sync = await hawser(["broker", "sync", "--dir", "old", "--json"], { cwd, env: ENV });
  expect(sync).toMatchObject({ code: 4, stdout: expect.stringContaining("OUTPUT_TAKEN") });
});

test.each([
  [["--backup", "b", "--dir", "new"], "RESTORE_UNPROVED", 5],
  [["--backup", "b", "--crl", "ca/crl.pem"], "USAGE", 2],
  [["--backup", "ca/ca.json"], "BACKUP_DAMAGED", 6],
  [["--backup", "b", "--passphrase-file", "other"], "PASSPHRASE_FILE_UNREADABLE", 3],
] as const)("ca restore refuses %j", async (flags, code, exit) => {
  const cwd = await directoryWithCa();
  await (await openCa(join(cwd, "ca"), PASSPHRASE)).backUp(join(cwd, "b"));
  const { code: exitCode, stderr } = await hawser(["ca", "restore", ...flags], { cwd, env: ENV });
  expect([exitCode, stderr]).toEqual([exit, expect.stringMatching(new RegExp(`^error ${code}: `)) as string]);
  expect(readdirSync(cwd).sort()).toEqual(["b", "ca"]);
});
