/** What is published, installed in an empty project as a user does. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { temporaryDirectory } from "../../host-tools/cli/test-cli.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const PROGRAM = `
import { Device, type DeviceEvent } from "hawser";
import { MqttClient } from "hawser/mqtt";
import { nodePlatform, Vault } from "hawser/sim";
import { openCa } from "hawser/host-tools";

export const describeEvent = (event: DeviceEvent): string => (event.type === "connected" ? event.tlsVersion : event.type);
console.log([Device, MqttClient, nodePlatform, Vault, openCa].every((part) => typeof part === "function"));
`;

it("installs from its tarball with a working command, all entry points and their types", { timeout: 240_000 }, () => {
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
  const types = ["--types", "node", "--typeRoots", join(ROOT, "node_modules/@types")];
  run(process.execPath, join(ROOT, "node_modules/typescript/bin/tsc"), "--strict", "--module", "nodenext", "--moduleResolution", "nodenext", "--target", "es2022", ...types, "program.ts");
  expect(run(process.execPath, "program.js").trim()).toBe("true");
});
