/**
 * `npm run firmware:lin`: builds the firmware for Linux with the Moddable SDK in $MODDABLE, as a project of its own that depends on this package, and runs it
 * through the connection scenario without a display.
 *
 * `--libraries` stops once Mbed TLS is built and the files that manifest.json names for Linux are there: for other projects built with `-p lin`.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync, copyFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mbedTls } from "../native/build-mbedtls.mjs";
import { buildDeviceBundle, buildDeviceTypes, ROOT } from "./device-bundle.mjs";
import { findModdable, Missing, needPrograms, packageFlags, runScript, say } from "./moddable-sdk.mjs";

const LIBRARIES = join(ROOT, ".cache", "firmware", "linux");
const OUTPUT = join(ROOT, ".cache", "firmware", "moddable");

await runScript(async () => {
  if (process.argv.includes("--libraries")) return say(`for -p lin: ${await writeLibraries()}`);
  const moddable = findModdable();
  needPrograms({
    gcc: "apt-get install gcc",
    make: "apt-get install make",
    "pkg-config": "apt-get install pkg-config",
    openssl: "apt-get install openssl",
    mosquitto: "apt-get install mosquitto",
    mosquitto_sub: "apt-get install mosquitto-clients",
  });
  say(`Moddable SDK ${moddable.version} in ${moddable.home}`);
  await writeLibraries();
  const { sizeBytes } = await buildDeviceBundle();
  buildDeviceTypes();
  say(`hawser/device: ${sizeBytes} bytes`);
  // mosquitto alone would pull this in for nothing where the SDK is missing.
  const { LinuxScenario } = await import("./linux-scenario.mjs");
  const folder = mkdtempSync(join(tmpdir(), "hawser-firmware-"));
  const scenario = new LinuxScenario(folder);
  try {
    const host = buildHost(moddable, folder);
    const library = buildFirmware(moddable, join(folder, "sensor"), await scenario.prepare());
    say("running it:");
    await scenario.run(host, library);
    say("the firmware passed the connection scenario on Linux");
  } finally {
    await scenario.end();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Mbed TLS, and the two files of arguments that manifest.json hands to compiler and linker. @returns their folder */
async function writeLibraries() {
  const { version, library, includeFolders, defines } = await mbedTls({ bits: 64 });
  mkdirSync(LIBRARIES, { recursive: true });
  const words = [...includeFolders.map((folder) => `-I${folder}`), ...defines];
  writeFileSync(join(LIBRARIES, "compile.rsp"), `${words.map((word) => `'${word}'`).join("\n")}\n`);
  writeFileSync(join(LIBRARIES, "link.rsp"), `'${library}'\n`);
  say(`Mbed TLS ${version}`);
  return LIBRARIES;
}

function buildHost({ home, environment }, folder) {
  const host = join(folder, "linux-host");
  const source = join(ROOT, "firmware", "build", "linux-host.c");
  const flags = ["-O1", "-Wall", "-Wextra", "-DmxLinux=1", `-I${join(home, "build", "simulators", "modules")}`];
  execute("gcc", [...flags, source, ...packageFlags("glib-2.0"), "-ldl", "-o", host], { env: environment });
  return host;
}

/** A project in a folder of its own, as docs/firmware.md tells to make one. @returns the path of mc.so */
function buildFirmware({ environment }, project, config) {
  mkdirSync(join(project, "node_modules"), { recursive: true });
  mkdirSync(OUTPUT, { recursive: true });
  symlinkSync(ROOT, join(project, "node_modules", "hawser"));
  copyFileSync(join(ROOT, "firmware", "scenario", "main.ts"), join(project, "main.ts"));
  const manifest = {
    include: ["./node_modules/hawser/manifest.json"],
    modules: { "*": "./main", sensor: "./node_modules/hawser/firmware/main" },
    typescript: { tsconfig: { compilerOptions: { lib: ["es2024"], target: "es2024" } } },
  };
  writeFileSync(join(project, "manifest.json"), JSON.stringify(manifest, null, 2));
  const settings = Object.entries(config).map(([name, value]) => `${name}=${value}`);
  say("building with mcconfig (about a minute the first time)");
  execute("nice", ["mcconfig", "-m", "-p", "lin", "-t", "build", "-o", OUTPUT, ...settings], { cwd: project, env: environment });
  return join(OUTPUT, "bin", "lin", "mc", "release", "sensor", "mc.so");
}

function execute(command, words, options) {
  const { status, stdout, stderr, error } = spawnSync(command, words, { encoding: "utf8", ...options });
  if (error) throw new Missing(`${command} cannot be run: ${error.message}`);
  if (status !== 0) throw new Missing(`${command} ${words.slice(0, 4).join(" ")} ... failed:\n${`${stdout}${stderr}`.split("\n").filter((line) => !line.includes("warning")).slice(-30).join("\n")}`);
}
