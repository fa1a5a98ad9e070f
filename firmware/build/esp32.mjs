/**
 * `npm run firmware:esp32 [-- ssid=... password=... broker=...]`: prepares the reference sensor for the ESP32 as far as this machine can,
 * and says what it cannot. With ESP-IDF the result is an image; without, the project with its settings and partitions, and all JavaScript
 * compiled, preloaded and linked.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { buildDeviceBundle, buildDeviceTypes } from "./device-bundle.mjs";
import { ignoredFailure, missingForEsp32, settingNames, unknownSettings, WANTED_IDF } from "./esp-idf.mjs";
import { findModdable, lastLines } from "./moddable-sdk.mjs";
import { ROOT } from "./package-root.mjs";
import { Missing, runScript, say } from "./script.mjs";

const OUTPUT = join(ROOT, ".cache", "firmware", "moddable");
const PROJECT = join(OUTPUT, "tmp", "esp32", "release", "firmware");
const IMAGE = join(OUTPUT, "bin", "esp32", "release", "firmware", "xs_esp32.bin");
const SETTINGS = ["sdkconfig.defaults", "sdkconfig.production"];

const USAGE = `npm run firmware:esp32 [-- NAME=VALUE ...]

Builds the reference sensor for the ESP32 with the Moddable SDK in $MODDABLE and ESP-IDF ${WANTED_IDF} in $IDF_PATH; without ESP-IDF it prepares the project as far as it can.
Settings go to mcconfig as they are: ssid=... password=... broker=... sntp=... (docs/firmware.md, step 5)
Exit codes: 0 an image is built; 1 none, and what is missing or went wrong; 2 a bad command line`;

await runScript({ command: "npm run firmware:esp32", usage: USAGE, takesSettings: true }, async (settings) => {
  const moddable = findModdable();
  say(`Moddable SDK ${moddable.version} in ${moddable.home}`);
  const { sizeBytes } = await buildDeviceBundle();
  buildDeviceTypes();
  say(`hawser/device: ${sizeBytes} bytes`);
  const missing = missingForEsp32();
  if (missing.length > 0) return prepareWithout(missing, moddable, settings);
  checkSettings(process.env.IDF_PATH);
  buildImage(moddable, settings);
  say(`image: ${IMAGE}`);
  say("flash it with: mcconfig -m -p esp32 -t deploy (docs/firmware.md, step 6)");
});

/** The image of an earlier build goes first: Moddable's makefile copies whatever is there. */
function buildImage(moddable, settings) {
  for (const file of [IMAGE, ...["bin", "elf"].map((kind) => join(PROJECT, "xsProj-esp32", "build", `xs_esp32.${kind}`))])
    rmSync(file, { force: true });
  const output = build(moddable, process.env.IDF_PATH, ["-m", "-t", "build"], settings);
  if (ignoredFailure(output) || !existsSync(IMAGE)) throw new Missing(`ESP-IDF made no image:\n${lastLines(output)}`);
}

function prepareWithout(missing, moddable, settings) {
  if (process.env.IDF_PATH && existsSync(join(process.env.IDF_PATH, "components"))) checkSettings(process.env.IDF_PATH);
  build(moddable, standIn(), [], settings);
  // The JavaScript waits for ESP-IDF's configuration only to be made anew with it: -o takes that as done.
  const configuration = join(PROJECT, "xsProj-esp32", "build", "config", "sdkconfig.h");
  run("make", ["-f", join(PROJECT, "makefile"), "-j2", "-o", configuration, join(PROJECT, "mc.xs.c")], {
    ...moddable.environment,
    IDF_PATH: standIn(),
  });
  say(`prepared: ${PROJECT}`);
  say(`  settings: ${countSettings()} of ours are in xsProj-esp32/sdkconfig.mc; partitions: xsProj-esp32/partitions.csv`);
  say("  JavaScript: compiled, preloaded, linked (mc.xs.c)");
  throw new Missing(["No image was built. Missing on this machine:", ...missing.map((line) => `  - ${line}`)].join("\n"));
}

/** mcconfig writes the project; with `-m` make builds it. @returns what it printed */
function build(moddable, idf, options, settings) {
  mkdirSync(OUTPUT, { recursive: true });
  // make takes for done what a failed tsc wrote in an earlier run.
  rmSync(join(PROJECT, "tsc"), { recursive: true, force: true });
  return run("mcconfig", [...options, "-p", "esp32", "-o", OUTPUT, ...settings], {
    ...moddable.environment,
    IDF_PATH: idf,
    LC_ALL: "C.UTF-8",
  });
}

function checkSettings(idf) {
  const unknown = SETTINGS.flatMap((file) => unknownSettings(idf, settingNames(join(ROOT, "firmware", "esp32", file))));
  if (unknown.length > 0)
    throw new Missing(`This ESP-IDF (${idf}) does not know: ${unknown.join(", ")}. It would ignore them: use ${WANTED_IDF}.`);
  say(`every setting of ours is known to the ESP-IDF in ${idf}`);
}

function countSettings() {
  const merged = readFileSync(join(PROJECT, "xsProj-esp32", "sdkconfig.mc"), "utf8");
  return settingNames(join(ROOT, "firmware", "esp32", "sdkconfig.defaults")).filter((name) => merged.includes(`CONFIG_${name}=`)).length;
}

/** Empty folders under the names that manifest.json wants of ESP-IDF, so that mcconfig can write the project without it. */
function standIn() {
  const idf = join(ROOT, ".cache", "firmware", "no-esp-idf");
  for (const folder of ["port/include", "mbedtls/tf-psa-crypto/include", "mbedtls/tf-psa-crypto/drivers/builtin/include"]) {
    mkdirSync(join(idf, "components", "mbedtls", folder), { recursive: true });
  }
  return idf;
}

function run(command, words, env) {
  const { status, stdout, stderr, error } = spawnSync("nice", [command, ...words], {
    cwd: join(ROOT, "firmware"),
    env,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  if (error) throw new Missing(`${command} cannot be run: ${error.message}`);
  const output = `${stdout}${stderr}`;
  if (status !== 0) throw new Missing(`${command} failed:\n${lastLines(output)}`);
  return output;
}
