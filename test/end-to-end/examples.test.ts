/** The programs in examples/, against `hawser broker run`, as their README says to start them. */
import { readdirSync, readFileSync, writeFileSync, mkdirSync, rmSync } from "node:fs";
import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import { buildCli, hawser, RunningCli, temporaryDirectory } from "../support/host-tools/test-cli.js";
import { freePorts } from "../../sim/brokers/free-port.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ENV = { HAWSER_PASSPHRASE: "correct horse battery staple" };
/** Inside the package, where `import "hawser"` finds this package by its own name. */
const COMPILED = join(ROOT, ".cache", `examples-${process.pid}`);

class Program {
  #said = "";
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly #looks = new Set<() => void>();

  constructor(cwd: string, path: string, ...args: string[]) {
    this.#child = spawn(process.execPath, [path, ...args], { cwd, env: { ...process.env, ...ENV }, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on("data", (chunk: Buffer) => this.#hear(chunk.toString()));
    this.ended = new Promise((resolve) => this.#child.once("close", resolve));
    void this.ended.then(() => this.#hear(""));
    onTestFinished(() => void this.#child.kill("SIGKILL"));
  }

  /** Resolves when `words` were printed; rejects when the program ends without them. */
  says(words: RegExp): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (words.test(this.#said)) resolve();
        else if (this.#child.exitCode === null && this.#child.signalCode === null) return;
        else reject(new Error(`ended without ${String(words)}: ${this.#said}`));
        this.#looks.delete(look);
      };
      this.#looks.add(look);
      look();
    });
  }

  kill(): Promise<unknown> {
    this.#child.kill("SIGKILL");
    return this.ended;
  }

  #hear(text: string): void {
    this.#said += text;
    for (const look of [...this.#looks]) look();
  }
}

/** A site as README.md sets it up; `start` runs an example in it, with this site's ports. */
async function site(): Promise<{ cwd: string; start: (name: string, ...args: string[]) => Program }> {
  const cwd = temporaryDirectory();
  const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
  const ports = ["--mtls-port", String(mtlsPort), "--psk-port", String(pskPort)];
  for (const args of [
    ["init", "fleet", ...ports],
    ["issue", "--dir", "fleet/ca", "--name", "gateway-1", "--role", "backend", "--out", "gateway-1"],
  ]) {
    expect(await hawser(args, { cwd, env: ENV })).toMatchObject({ code: 0 });
  }
  await new RunningCli(["broker", "run", "--dir", "fleet/ca", ...ports], { cwd, env: ENV }).waitFor("ready");
  return { cwd, start: (name, ...args) => new Program(cwd, compiled(name, mtlsPort, pskPort), ...args) };
}

function compiled(name: string, mtlsPort: number, pskPort: number): string {
  const source = readFileSync(join(ROOT, "examples", `${name}.ts`), "utf8")
    .replace(/\b8883\b/, String(mtlsPort))
    .replace(/\b8884\b/, String(pskPort));
  mkdirSync(COMPILED, { recursive: true });
  onTestFinished(() => rmSync(COMPILED, { recursive: true, force: true }));
  const path = join(COMPILED, `${name}.mjs`);
  writeFileSync(path, transformSync(source, { loader: "ts", format: "esm" }).code);
  writeFileSync(join(COMPILED, "own-pki.sh"), readFileSync(join(ROOT, "examples/own-pki.sh")));
  return path;
}

beforeAll(buildCli);

it("work together: a gateway with sensors that report, sleep, answer commands and vanish", { timeout: 240_000 }, async () => {
  const { start } = await site();
  const gateway = start("gateway");
  await gateway.says(/^ready$/m);

  const sensor = start("first-sensor");
  await gateway.says(/^devices\/sensor-1\/up\/temperature \{"celsius":2\d/m);
  await sensor.kill();

  // The gateway answers a reading with a command, which waits for the next waking.
  const sleeper = start("deep-sleep");
  await sleeper.says(/^sent$/m);
  expect(await sleeper.ended).toBe(0);
  await gateway.says(/up\/reading \{"celsius":21\.5\}/);

  const status = start("will-and-status");
  await status.says(/^online$/m);
  await gateway.says(/up\/status online/);
  await status.kill();
  await gateway.says(/up\/status offline/);

  const listener = start("several-subscriptions");
  for (const name of ["settings", "firmware", "everything"]) await listener.says(new RegExp(`^${name} ready$`, "m"));
  await listener.kill();

  const answering = start("commands-with-answers");
  await answering.says(/^ready$/m);
  await answering.kill();
});

it("get a certificate from a PKI made with openssl, RSA keys and all", { timeout: 120_000 }, async () => {
  const cwd = temporaryDirectory();
  const program = new Program(cwd, compiled("own-pki", 1, 1));
  await program.says(/sensor-1\.crt\.pem: OK/);
  expect(await program.ended).toBe(0);
});

it.each([
  [
    "sign in with a token beside the certificate",
    "password-and-token",
    /^connected$/m,
    "requires: [certificate]",
    "requires: [certificate, token]",
  ],
])("%s where the policy says so", { timeout: 120_000 }, async (_, name, words, before, after) => {
  const cwd = temporaryDirectory();
  const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
  const run = async (...args: string[]): Promise<void> => expect(await hawser(args, { cwd, env: ENV })).toMatchObject({ code: 0 });
  await run("ca", "init", "--dir", "fleet/ca");
  await run("provision", "--dir", "fleet/ca", "--id", "sensor-1", "--vault", "fleet/sensor-1.vault");
  await run("policy", "init", "--out", "policy.yaml");
  const policy = readFileSync(join(cwd, "policy.yaml"), "utf8");
  writeFileSync(join(cwd, "policy.yaml"), policy.replace(before, after));
  await run("policy", "apply", "policy.yaml", "--dir", "fleet/ca", "--force");
  await new RunningCli(["broker", "run", "--dir", "fleet/ca", "--mtls-port", String(mtlsPort), "--psk-port", String(pskPort)], {
    cwd,
    env: ENV,
  }).waitFor("ready");
  const program = new Program(cwd, compiled(name, mtlsPort, pskPort));
  await program.says(words);
  expect(await program.ended).toBe(0);
});

it("are all run by a test or listed with what runs them", () => {
  const run = [
    "commands-with-answers",
    "deep-sleep",
    "first-sensor",
    "gateway",
    "own-pki",
    "password-and-token",
    "several-subscriptions",
    "will-and-status",
  ];
  const programs = readdirSync(join(ROOT, "examples")).filter((name) => name.endsWith(".ts"));
  expect(programs.sort()).toEqual(run.map((name) => `${name}.ts`));
});
