/** Finds the mosquitto program, and the running mosquitto that uses a configuration of ours. */
import { accessSync, constants, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { basename, delimiter, isAbsolute, join, resolve } from "node:path";
import { MOSQUITTO_FILES } from "./mosquitto-config.js";

/** Debian keeps it where the PATH of ordinary users does not look. */
const MORE_PLACES = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];

/** The mosquitto program, if it is installed. */
export function findMosquitto(): string | undefined {
  const places = [...(process.env["PATH"] ?? "").split(delimiter).filter(isAbsolute), ...MORE_PLACES];
  return places.map((place) => join(place, "mosquitto")).find(isExecutable);
}

/**
 * The process id of the mosquitto that runs with the configuration in `directory`. The pid file alone is not believed: after a kill -9 it names a
 * process that is gone, and by now perhaps another one.
 */
export function runningMosquitto(directory: string): number | undefined {
  const pid = readPid(join(directory, MOSQUITTO_FILES.pid));
  if (pid === undefined) return undefined;
  const config = configurationOf(pid);
  return config !== undefined && sameFile(config, join(directory, MOSQUITTO_FILES.config)) ? pid : undefined;
}

function readPid(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, "utf8").trim());
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** The configuration file in the command line of a mosquitto; undefined for any other process. */
function configurationOf(pid: number): string | undefined {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const flag = args.findIndex((arg) => arg === "-c" || arg === "--config-file");
    const file = args[flag + 1];
    if (basename(args[0] ?? "") !== "mosquitto" || flag < 0 || file === undefined) return undefined;
    return isAbsolute(file) ? file : resolve(readlinkSync(`/proc/${pid}/cwd`), file);
  } catch {
    return undefined;
  }
}

function sameFile(a: string, b: string): boolean {
  try {
    return realpathSync(a) === realpathSync(b);
  } catch {
    return false;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
