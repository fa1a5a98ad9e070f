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
import { BadArgument, Missing, runScript, say } from "./script.mjs";

const OUTPUT = join(ROOT, ".cache", "firmware", "moddable");
/** Chips with Wi-Fi that the Moddable SDK builds for, and where it puts the project and the image of each. */
const CHIPS = new Map(
  ["esp32", "esp32s3", "esp32c3", "esp32c6"].map((chip) => {
    const target = chip === "esp32" ? ["esp32"] : ["esp32", chip];
    const project = join(OUTPUT, "tmp", ...target, "release", "firmware");
    const image = join(OUTPUT, "bin", ...target, "release", "firmware", "xs_esp32.bin");
    return [chip, { chip, platform: target.join("/"), project, image, idf: join(project, `xsProj-${chip}`) }];
  }),
);
const SETTINGS = ["sdkconfig.defaults", "sdkconfig.production"];

const USAGE = `npm run firmware:esp32 [-- NAME=VALUE ...]

Builds the reference sensor for a chip of the ESP32 family with the Moddable SDK in $MODDABLE and ESP-IDF ${WANTED_IDF} in $IDF_PATH; without ESP-IDF it prepares the project as far as it can.
chip=NAME: ${[...CHIPS.keys()].join(", ")} (default: esp32)
Other settings go to mcconfig as they are: ssid=... password=... broker=... sntp=... tx=... rx=... (docs/firmware.md, step 5)
Exit codes: 0 an image is built; 1 none, and what is missing or went wrong; 2 a bad command line`;

await runScript({ command: "npm run firmware:esp32", usage: USAGE, takesSettings: true }, async (words) => {
  const { target, settings } = readChip(words);
  const moddable = findModdable();
  say(`Moddable SDK ${moddable.version} in ${moddable.home}`);
  const { sizeBytes } = await buildDeviceBundle();
  buildDeviceTypes();
  say(`hawser/device: ${sizeBytes} bytes`);
  const missing = missingForEsp32(target.chip);
  if (missing.length > 0) return prepareWithout(missing, moddable, target, settings);
  checkSettings(process.env.IDF_PATH);
  buildImage(moddable, target, settings);
  say(`image: ${target.image}`);
  say(`flash it with: mcconfig -m -p ${target.platform} -t deploy (docs/firmware.md, step 6)`);
});

function readChip(words) {
  const settings = words.filter((word) => !word.startsWith("chip="));
  const chip = words.find((word) => word.startsWith("chip="))?.slice("chip=".length) ?? "esp32";
  const target = CHIPS.get(chip);
  if (target === undefined)
    throw new BadArgument(
      `error BAD_ARGUMENT: unknown chip ${JSON.stringify(chip)}. Next: Choose one of: ${[...CHIPS.keys()].join(", ")}.`,
    );
  return { target, settings };
}

/** The image of an earlier build goes first: Moddable's makefile copies whatever is there. */
function buildImage(moddable, target, settings) {
  for (const file of [target.image, ...["bin", "elf"].map((kind) => join(target.idf, "build", `xs_esp32.${kind}`))])
    rmSync(file, { force: true });
  const output = build(moddable, process.env.IDF_PATH, ["-m", "-t", "build"], target, settings);
  if (ignoredFailure(output) || !existsSync(target.image)) throw new Missing(`ESP-IDF made no image:\n${lastLines(output)}`);
}

function prepareWithout(missing, moddable, target, settings) {
  if (process.env.IDF_PATH && existsSync(join(process.env.IDF_PATH, "components"))) checkSettings(process.env.IDF_PATH);
  build(moddable, standIn(), [], target, settings);
  // The JavaScript waits for ESP-IDF's configuration only to be made anew with it: -o takes that as done.
  const configuration = join(target.idf, "build", "config", "sdkconfig.h");
  run("make", ["-f", join(target.project, "makefile"), "-j2", "-o", configuration, join(target.project, "mc.xs.c")], {
    ...moddable.environment,
    IDF_PATH: standIn(),
  });
  say(`prepared: ${target.project}`);
  say(
    `  settings: ${countSettings(target)} of ours are in xsProj-${target.chip}/sdkconfig.mc; partitions: xsProj-${target.chip}/partitions.csv`,
  );
  say("  JavaScript: compiled, preloaded, linked (mc.xs.c)");
  throw new Missing(["No image was built. Missing on this machine:", ...missing.map((line) => `  - ${line}`)].join("\n"));
}

/** mcconfig writes the project; with `-m` make builds it. @returns what it printed */
function build(moddable, idf, options, { platform, project }, settings) {
  mkdirSync(OUTPUT, { recursive: true });
  // make takes for done what a failed tsc wrote in an earlier run.
  rmSync(join(project, "tsc"), { recursive: true, force: true });
  return run("mcconfig", [...options, "-p", platform, "-o", OUTPUT, ...settings], {
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

function countSettings({ idf }) {
  const merged = readFileSync(join(idf, "sdkconfig.mc"), "utf8");
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
