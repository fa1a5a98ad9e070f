/** What is published, installed in an empty project as a user does. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { buildCli, hawser, RunningCli, temporaryDirectory } from "../support/host-tools/test-cli.js";
import { freePorts } from "../../sim/brokers/free-port.js";
import { startMosquitto } from "../support/node/test-mosquitto.js";
import { compiledExample, EXAMPLE_ENV, ExampleProgram, exampleSite } from "./example-programs.js";
import { block } from "./readme-blocks.js";

const GUIDE = "docs/getting-started.md";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const PROGRAM = `
import { Device, type DeviceEvent } from "hawser";
import { MqttClient } from "hawser/mqtt";
import { nodePlatform, Vault } from "hawser/node";
import { awsIotCore } from "hawser/presets";
import { EmbeddedBroker } from "hawser/sim";
import { openCa } from "hawser/host-tools";
import { makeDevice, startBroker, virtualWorld } from "hawser/testing";

export const describeEvent = (event: DeviceEvent): string => (event.type === "connected" ? event.tlsVersion : event.type);
console.log([Device, MqttClient, nodePlatform, Vault, EmbeddedBroker, openCa, makeDevice, startBroker, virtualWorld].every((part) => typeof part === "function") && "check" in awsIotCore);
`;

let directory: string;
let filename: string;
let files: readonly { path: string }[];

/** An empty project; and what is published, from a copy: building for publication empties dist, which other tests run from. */
beforeAll(async () => {
  await buildCli();
  directory = mkdtempSync(join(tmpdir(), "hawser-package-"));
  const copy = join(directory, "source");
  execFileSync("git", ["clone", "-q", ROOT, copy]);
  execFileSync("ln", ["-s", join(ROOT, "node_modules"), join(copy, "node_modules")]);
  const [packed] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--pack-destination", directory], {
      cwd: copy,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).replace(/^[^[]*/, ""),
  ) as { filename: string; files: { path: string }[] }[];
  ({ filename, files } = packed ?? { filename: "", files: [] });
  shell((block("first").split(/^(?=export )/m)[0] ?? "").replace("$(npm pack --silent ../hawser)", filename));
}, 300_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const env = { ...process.env, HAWSER_PASSPHRASE: /HAWSER_PASSPHRASE='(.*)'/.exec(block("first"))?.[1] };
const shell = (script: string): string =>
  execFileSync("bash", ["-euc", script], { cwd: directory, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

it("holds no test and no support of tests", () => {
  expect(files.length).toBeGreaterThan(100);
  expect(files.filter(({ path }) => /\.test\.|(^|\/)test\//.test(path)).map(({ path }) => path)).toEqual([]);
});

it("gives a working command, all entry points and their types, and runs the README's programs", { timeout: 600_000 }, async () => {
  const run = (program: string, ...args: string[]): string =>
    execFileSync(program, args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const [mtlsPort = 0, pskPort = 0, plainPort = 0] = await freePorts(3);
  const withPorts = (text: string): string =>
    text
      .replace(/\b8883\b/, String(mtlsPort))
      .replace(/\b8884\b/, String(pskPort))
      .replace(/\b1883\b/, String(plainPort));
  const [, rest = ""] = block("first").split(/^(?=export )/m);
  const command = join(directory, "node_modules/.bin/hawser");
  expect(run(command, "--help")).toContain("hawser ca init");
  writeFileSync(join(directory, "program.ts"), PROGRAM);
  writeFileSync(join(directory, "sensor.ts"), withPorts(block("sensor")));
  writeFileSync(join(directory, "gateway.ts"), withPorts(block("mqtt", GUIDE)));
  // As printed, and with the library's own declarations checked too.
  shell(`${block("compile").replace(/ && node sensor.js\s*$/, "")} program.ts gateway.ts --skipLibCheck false`);
  expect(run(process.execPath, "program.js").trim()).toBe("true");

  ownTests(directory, shell);
  // All but the broker, which a test must be able to end.
  shell(rest.replace(/^npx hawser broker run .*$/m, ""));
  const start = (...args: string[]): ChildProcess => {
    const child = spawn(process.execPath, args, { cwd: directory, env, stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    return child;
  };
  start(realpathSync(command), "broker", "run", "--dir", "fleet/ca", "--mtls-port", String(mtlsPort), "--psk-port", String(pskPort));
  await says(start("sensor.js"), /^connected$/m);
  const mosquitto = await startMosquitto(directory, "mosquitto", {}, [`listener ${plainPort} 127.0.0.1`, "allow_anonymous true"]);
  onTestFinished(() => mosquitto.stop());
  await says(start("gateway.js"), /^greetings\/world hello text\/plain$/m);
});

/** As mcconfig's tsc compiles a firmware: nothing of Node is declared. */
it("is typed for a Moddable project with the settings that docs/firmware.md gives one", { timeout: 120_000 }, () => {
  interface Manifest {
    typescript: { tsconfig: { compilerOptions: { lib: string[]; target: string } } };
  }
  const printed = /^`manifest\.json`:\n\n```json\n([^`]*)```/m.exec(readFileSync(join(ROOT, "docs/firmware.md"), "utf8"))?.[1] ?? "";
  const settingsOf = (text: string): object => (JSON.parse(text) as Manifest).typescript.tsconfig.compilerOptions;
  const settings = settingsOf(printed);
  for (const file of ["firmware/manifest.json", "examples/moddable-sensor/manifest.json"])
    expect(settingsOf(readFileSync(join(ROOT, file), "utf8")), file).toEqual(settings);
  const folder = join(directory, "chip");
  mkdirSync(folder);
  writeFileSync(
    join(folder, "main.ts"),
    'import { Device } from "hawser";\nimport { openBoard } from "hawser/firmware";\nvoid [Device, openBoard];\n',
  );
  const compilerOptions = { ...settings, module: "nodenext", strict: true, noEmit: true, types: [], skipLibCheck: false };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  shell("npx tsc -p chip");
});

describe("the programs in examples/, over the package", () => {
  it("work together: a gateway with sensors that report, sleep, answer commands and vanish", { timeout: 240_000 }, async () => {
    const { start } = await exampleSite(directory);
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
    const program = new ExampleProgram(cwd, compiledExample(directory, "own-pki", 1, 1));
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
    const run = async (...args: string[]): Promise<void> =>
      expect(await hawser(args, { cwd, env: EXAMPLE_ENV })).toMatchObject({ code: 0 });
    await run("ca", "init", "--dir", "fleet/ca");
    await run("provision", "--dir", "fleet/ca", "--id", "sensor-1", "--vault", "fleet/sensor-1.vault");
    await run("policy", "init", "--out", "policy.yaml");
    const policy = readFileSync(join(cwd, "policy.yaml"), "utf8");
    writeFileSync(join(cwd, "policy.yaml"), policy.replace(before, after));
    await run("policy", "apply", "policy.yaml", "--dir", "fleet/ca", "--force");
    await new RunningCli(["broker", "run", "--dir", "fleet/ca", "--mtls-port", String(mtlsPort), "--psk-port", String(pskPort)], {
      cwd,
      env: EXAMPLE_ENV,
    }).waitFor("ready");
    const program = new ExampleProgram(cwd, compiledExample(directory, name, mtlsPort, pskPort));
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
});

/** The tests of docs/testing.md as a firmware developer runs them: typed, and over the package. vitest is this repository's. */
function ownTests(directory: string, shell: (script: string) => string): void {
  symlinkSync(join(ROOT, "node_modules/vitest"), join(directory, "node_modules/vitest"));
  const folder = join(directory, "own");
  mkdirSync(folder);
  const files = {
    "thermometer.ts": "own-program",
    "sensor.test.ts": "own-test",
    "week.test.ts": "own-week",
    "recipes.test.ts": "own-recipes",
  };
  for (const [file, name] of Object.entries(files)) writeFileSync(join(folder, file), block(name, "docs/testing.md"));
  // vitest's own declarations are not ours to check.
  shell("npx tsc --noEmit --strict --skipLibCheck --target es2022 --lib es2022,esnext.disposable --module nodenext --types node own/*.ts");
  shell("cd own && node ../node_modules/vitest/vitest.mjs run --root . --testTimeout 120000 >&2");
}

/** Waits for words of a child; rejects when it ends without them. */
function says(child: ChildProcess, words: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (words.test(text)) resolve();
    });
    child.on("close", () => reject(new Error(`it ended, having said: ${text}`)));
  });
}
