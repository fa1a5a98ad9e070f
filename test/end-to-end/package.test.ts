/** What is published, installed in an empty project as a user does. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { temporaryDirectory } from "../support/host-tools/test-cli.js";
import { freePorts } from "../../sim/brokers/free-port.js";
import { startMosquitto } from "../support/node/test-mosquitto.js";
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

it(
  "installs from its tarball with a working command, all entry points and their types, and runs the README's programs",
  { timeout: 600_000 },
  async () => {
    const directory = temporaryDirectory();
    const run = (program: string, ...args: string[]): string =>
      execFileSync(program, args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    // From a copy: building for publication empties dist, which other tests run from.
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
    expect(packed?.files.filter(({ path }) => /\.test\.|(^|\/)test\//.test(path)).map(({ path }) => path)).toEqual([]);
    const env = { ...process.env, HAWSER_PASSPHRASE: /HAWSER_PASSPHRASE='(.*)'/.exec(block("first"))?.[1] };
    const shell = (script: string): string =>
      execFileSync("bash", ["-euc", script], { cwd: directory, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    const [mtlsPort = 0, pskPort = 0, plainPort = 0] = await freePorts(3);
    const withPorts = (text: string): string =>
      text
        .replace(/\b8883\b/, String(mtlsPort))
        .replace(/\b8884\b/, String(pskPort))
        .replace(/\b1883\b/, String(plainPort));
    const [installing = "", rest = ""] = block("first").split(/^(?=export )/m);
    shell(installing.replace("$(npm pack --silent ../hawser)", packed?.filename ?? ""));
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
  },
);

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
