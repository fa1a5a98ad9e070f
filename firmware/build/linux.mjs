/**
 * `npm run firmware:lin`: builds the firmware for Linux with the Moddable SDK in $MODDABLE, as a project of its own that depends on this
 * package, and runs it through the connection scenario without a display.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDeviceBundle, buildDeviceTypes } from "./device-bundle.mjs";
import { writeLinuxLibraries } from "./linux-libraries.mjs";
import { LinuxScenario } from "./linux-scenario.mjs";
import { findModdable, lastLines, needPrograms, packageFlags } from "./moddable-sdk.mjs";
import { ROOT } from "./package-root.mjs";
import { Missing, runScript, say } from "./script.mjs";

const OUTPUT = join(ROOT, ".cache", "firmware", "moddable");

const USAGE = `npm run firmware:lin

Builds the firmware for Linux with the Moddable SDK in $MODDABLE and takes it through the connection scenario against a real mosquitto. Takes no options.
Exit codes: 0 passed; 1 something is missing or went wrong; 2 a bad command line`;

await runScript({ command: "npm run firmware:lin", usage: USAGE }, async () => {
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
  say(`Mbed TLS ${(await writeLinuxLibraries()).version}`);
  const { sizeBytes } = await buildDeviceBundle();
  buildDeviceTypes();
  say(`hawser/device: ${sizeBytes} bytes`);
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
  // mcconfig goes on with what a failed tsc left behind; the engine's own objects lie elsewhere and stay.
  rmSync(join(OUTPUT, "tmp", "lin", "mc", "release", "sensor"), { recursive: true, force: true });
  symlinkSync(ROOT, join(project, "node_modules", "hawser"));
  copyFileSync(join(ROOT, "firmware", "scenario", "main.ts"), join(project, "main.ts"));
  const manifest = {
    include: ["./node_modules/hawser/manifest.json"],
    modules: { "*": "./main", sensor: "./node_modules/hawser/firmware/main" },
    typescript: { tsconfig: { compilerOptions: { lib: ["es2024", "esnext.disposable"], target: "es2024" } } },
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
  if (status !== 0) throw new Missing(`${command} ${words.slice(0, 4).join(" ")} ... failed:\n${lastLines(`${stdout}${stderr}`)}`);
}
