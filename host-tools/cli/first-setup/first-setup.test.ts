import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { buildCli, CLI, hawser, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";

beforeAll(buildCli);

const PASSPHRASE = { HAWSER_PASSPHRASE: "correct horse battery staple" };

describe("hawser init", () => {
  test("makes a folder whose broker runs and whose device connects, without a question", { timeout: 120_000 }, async () => {
    const cwd = temporaryDirectory();
    const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
    const ports = ["--mtls-port", String(mtlsPort), "--psk-port", String(pskPort)];
    const made = await hawser(["init", "fleet", ...ports], { cwd });
    expect([made.code, made.stderr]).toEqual([0, ""]);
    expect(made.stdout).toContain(`hawser broker run --dir ca --mtls-port ${mtlsPort} --psk-port ${pskPort}`);
    const folder = join(cwd, "fleet");
    expect(readdirSync(folder).sort()).toEqual([".gitignore", "README.md", "broker", "ca", "passphrase", "sensor-1.vault"]);
    expect(statSync(join(folder, "passphrase")).mode & 0o777).toBe(0o600);
    // Its page, as printed.
    const env = { HAWSER_PASSPHRASE_FILE: "passphrase" };
    const commands = [...readFileSync(join(folder, "README.md"), "utf8").matchAll(/^hawser (.*?)(?: +#.*)?$/gm)].map(([, words = ""]) =>
      words.split(" "),
    );
    const named = (name: string): string[] => commands.find((words) => words.join(" ").startsWith(name)) ?? [];
    const broker = new RunningCli(named("broker run"), { cwd: folder, env });
    await broker.waitFor("ready");
    const device = await hawser([...named("sim run"), "--count", "1"], { cwd: folder, env });
    expect([device.code, device.stderr]).toEqual([0, ""]);
    for (const name of ["provision", "issue", "list"]) expect(await hawser(named(name), { cwd: folder, env })).toMatchObject({ code: 0 });
  });

  test("keeps no passphrase that was given, and refuses a folder in use", async () => {
    const cwd = temporaryDirectory();
    const made = await hawser(["init", "f", "--id", "press-1", "--json"], { cwd, env: PASSPHRASE });
    expect(JSON.parse(made.stdout)).toMatchObject({ dir: "f", id: "press-1", vault: join("f", "press-1.vault") });
    expect(readdirSync(join(cwd, "f"))).not.toContain("passphrase");
    const again = await hawser(["init", "f"], { cwd });
    expect([again.code, again.stderr]).toEqual([5, "error OUT_EXISTS: f is not empty. Next: Choose another directory, or empty it.\n"]);
  });

  test("leaves nothing behind when it fails", { timeout: 120_000 }, async () => {
    const cwd = temporaryDirectory();
    mkdirSync(join(cwd, "empty"));
    writeFileSync(join(cwd, "file"), "");
    const refused: [string[], number, string?][] = [
      [["bad-host", "--broker-host", "mqtt://x"], 2],
      [["empty", "--broker-host", "mqtt://x"], 2],
      [["one-port", "--mtls-port", "1", "--psk-port", "1"], 2],
      [["bad-id", "--id", "a/b"], 2],
      [["weak"], 3, "weak"],
      [["file"], 5],
    ];
    const codes = await Promise.all(
      refused.map(
        async ([args, , passphrase]) =>
          (await hawser(["init", ...args], { cwd, env: passphrase === undefined ? {} : { HAWSER_PASSPHRASE: passphrase } })).code,
      ),
    );
    expect(codes).toEqual(refused.map(([, code]) => code));
    expect([readdirSync(cwd).sort(), readdirSync(join(cwd, "empty"))]).toEqual([["empty", "file"], []]);
  });
});

test("a broker started by npx ends when npx is killed, and leaves its ports free", { timeout: 120_000 }, async () => {
  const cwd = temporaryDirectory();
  await hawser(["init", "f"], { cwd, env: PASSPHRASE });
  const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
  const args = ["broker", "run", "--dir", "f/ca", "--mtls-port", String(mtlsPort), "--psk-port", String(pskPort)];
  // As npx does: it starts the program and passes no signal on.
  const npx = spawn(
    process.execPath,
    ["-e", `require("child_process").spawn(process.execPath, ${JSON.stringify([CLI, ...args])}, { stdio: "inherit" })`],
    {
      cwd,
      env: { ...PASSPHRASE, PATH: process.env["PATH"], HOME: cwd, npm_command: "exec" },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  onTestFinished(() => void npx.kill("SIGKILL"));
  let said = "";
  npx.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString();
    if (said.includes("ready")) npx.kill("SIGKILL");
  });
  // The broker holds the other end of the pipe until it is gone.
  await once(npx.stdout, "close");
  expect(said).toMatch(/ready .*\n(.*\n)*.*stopped /);
  const again = new RunningCli(args, { cwd, env: PASSPHRASE });
  expect(await again.waitFor("ready")).toMatchObject({ mtlsPort, pskPort });
});
