/** Finds the Moddable SDK and what else a build needs on this machine, and says how to get what is missing. */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { ROOT } from "./package-root.mjs";
import { Missing } from "./script.mjs";

const GETTING_STARTED = "https://www.moddable.com/documentation/Moddable%20SDK%20-%20Getting%20Started";

/** What the SDK's tools need of the environment, and the version that was found. */
export function findModdable() {
  const home = process.env.MODDABLE;
  if (!home) {
    throw new Missing(
      [
        "The Moddable SDK is not here: MODDABLE is not set.",
        `  Get it as its documentation says: ${GETTING_STARTED}`,
        "  (version 8.2.3 is what this firmware was built with; of the Linux tools, the command line ones are enough)",
        "  then: export MODDABLE=/path/to/moddable",
      ].join("\n"),
    );
  }
  const bin = join(home, "build", "bin", "lin", "release");
  if (!existsSync(join(home, "tools", "VERSION"))) {
    throw new Missing(
      `MODDABLE is ${home}, which is not a Moddable SDK: it has no tools/VERSION.\n  Next: export MODDABLE=/path/to/moddable, the folder that was cloned; to get it: ${GETTING_STARTED}`,
    );
  }
  if (!existsSync(join(bin, "mcconfig"))) {
    throw new Missing(
      `The Moddable SDK in ${home} has no tools yet: build them as its documentation says.\n  Expected: ${join(bin, "mcconfig")}`,
    );
  }
  const version = readFileSync(join(home, "tools", "VERSION"), "utf8").trim();
  // mcconfig calls tsc; this package's own fits.
  const path = [bin, join(ROOT, "node_modules", ".bin"), process.env.PATH ?? ""].join(delimiter);
  return { home, version, environment: { ...process.env, MODDABLE: home, PATH: path } };
}

/** @param {Record<string, string>} programs each with what to install for it */
export function needPrograms(programs) {
  const lacking = Object.entries(programs).filter(([name]) => !findProgram(name));
  if (lacking.length === 0) return;
  throw new Missing(lacking.map(([name, advice]) => `${name} is not installed: ${advice}`).join("\n"));
}

export function findProgram(name) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin"];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Compiler and linker arguments of a pkg-config module. */
export function packageFlags(name) {
  try {
    return execFileSync("pkg-config", ["--cflags", "--libs", name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
      .trim()
      .split(/\s+/);
  } catch {
    throw new Missing(`${name} is not installed for development: apt-get install libglib2.0-dev`);
  }
}

/** The end of what a build printed, without its warnings: Moddable's own are many. */
export function lastLines(output) {
  return output
    .split("\n")
    .filter((line) => !line.includes("warning"))
    .slice(-30)
    .join("\n");
}
