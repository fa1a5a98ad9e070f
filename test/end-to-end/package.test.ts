/** What is published, installed in an empty project as a user does. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { temporaryDirectory } from "../support/host-tools/test-cli.js";
import { freePorts } from "../../sim/brokers/free-port.js";
import { startMosquitto } from "../support/node/test-mosquitto.js";
import { block } from "./readme-blocks.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const PROGRAM = `
import { Device, type DeviceEvent } from "hawser";
import { MqttClient } from "hawser/mqtt";
import { nodePlatform, Vault } from "hawser/node";
import { EmbeddedBroker } from "hawser/sim";
import { openCa } from "hawser/host-tools";

export const describeEvent = (event: DeviceEvent): string => (event.type === "connected" ? event.tlsVersion : event.type);
console.log([Device, MqttClient, nodePlatform, Vault, EmbeddedBroker, openCa].every((part) => typeof part === "function"));
`;

it("installs from its tarball with a working command, all entry points and their types, and runs the README's programs", { timeout: 240_000 }, async () => {
  const directory = temporaryDirectory();
  const run = (program: string, ...args: string[]): string => execFileSync(program, args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  // From a copy: building for publication empties dist, which other tests run from.
  const copy = join(directory, "source");
  execFileSync("git", ["clone", "-q", ROOT, copy]);
  execFileSync("ln", ["-s", join(ROOT, "node_modules"), join(copy, "node_modules")]);
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--json", "--pack-destination", directory], { cwd: copy, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).replace(/^[^[]*/, "")) as { filename: string; files: { path: string }[] }[];
  expect(packed?.files.filter(({ path }) => /\.test\.|(^|\/)test\//.test(path)).map(({ path }) => path)).toEqual([]);
  writeFileSync(join(directory, "package.json"), JSON.stringify({ type: "module" }));
  run("npm", "install", "--no-audit", "--no-fund", join(directory, packed?.filename ?? ""));
  expect(run(join(directory, "node_modules/.bin/hawser"), "--help")).toContain("hawser ca init");
  writeFileSync(join(directory, "program.ts"), PROGRAM);
  const [mtlsPort = 0, pskPort = 0, plainPort = 0] = await freePorts(3);
  const withPorts = (text: string): string => text.replace(/\b8883\b/, String(mtlsPort)).replace(/\b8884\b/, String(pskPort)).replace(/\b1883\b/, String(plainPort));
  writeFileSync(join(directory, "sensor.ts"), withPorts(block("sensor")));
  writeFileSync(join(directory, "gateway.ts"), withPorts(block("mqtt")));
  const types = ["--types", "node", "--typeRoots", join(ROOT, "node_modules/@types")];
  run(process.execPath, join(ROOT, "node_modules/typescript/bin/tsc"), "--strict", "--module", "nodenext", "--moduleResolution", "nodenext", "--target", "es2022", ...types, "program.ts", "sensor.ts", "gateway.ts");
  expect(run(process.execPath, "program.js").trim()).toBe("true");

  const env = { ...process.env, HAWSER_PASSPHRASE: "of this test" };
  const command = join(directory, "node_modules/.bin/hawser");
  const hawser = (...args: string[]): string => execFileSync(command, args, { cwd: directory, env, encoding: "utf8" });
  hawser("ca", "init", "--dir", "ca", "--name", "CI", "--broker-host", "localhost");
  hawser("provision", "--dir", "ca", "--id", "sensor-1", "--vault", "sensor-1.vault");
  const start = (...args: string[]): ChildProcess => {
    const child = spawn(process.execPath, args, { cwd: directory, env, stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    return child;
  };
  start(realpathSync(command), "broker", "run", "--dir", "ca", "--mtls-port", String(mtlsPort), "--psk-port", String(pskPort));
  await says(start("sensor.js"), /^connected$/m);
  const mosquitto = await startMosquitto(directory, "mosquitto", {}, [`listener ${plainPort} 127.0.0.1`, "allow_anonymous true"]);
  onTestFinished(() => mosquitto.stop());
  await says(start("gateway.js"), /^greetings\/world hello text\/plain$/m);
});

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
