/** Finds the mosquitto program, and the running mosquitto that uses a configuration of ours. */
import { accessSync, constants, existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename, delimiter, isAbsolute, join } from "node:path";
import { MOSQUITTO_FILES } from "./mosquitto-config.js";

/** Debian keeps it where the PATH of ordinary users does not look. */
const MORE_PLACES = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];

/** Where distributions put the plugin: Debian's multiarch folders, and the plain ones. */
const PLUGIN_FILE = "mosquitto_dynamic_security.so";
const LIBRARY_FOLDERS = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/mosquitto", "/opt/homebrew/lib"];

/** mosquitto's dynamic-security plugin, if it is installed. */
export function findControlPlugin(): string | undefined {
  const multiarch = names("/usr/lib")
    .filter((name) => name.includes("-linux-"))
    .map((name) => join("/usr/lib", name));
  return [...multiarch, ...LIBRARY_FOLDERS].map((folder) => join(folder, PLUGIN_FILE)).find((path) => existsSync(path));
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** The mosquitto program, if it is installed. */
export function findMosquitto(): string | undefined {
  const places = [...(process.env["PATH"] ?? "").split(delimiter).filter(isAbsolute), ...MORE_PLACES];
  return places.map((place) => join(place, "mosquitto")).find(isExecutable);
}

/**
 * The process ids of the mosquittos that run with the configuration in `directory`, as far as this process sees them: those of containers
 * below it too, whose pid files hold the numbers of another namespace. For signals only: whether a broker loaded its files is asked over
 * the network.
 */
export function runningMosquittos(directory: string): readonly number[] {
  const config = join(directory, MOSQUITTO_FILES.config);
  const named = readPid(join(directory, MOSQUITTO_FILES.pid));
  if (named !== undefined && runsWith(named, config)) return [named];
  return allPids().filter((pid) => runsWith(pid, config));
}

function readPid(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, "utf8").trim());
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function allPids(): number[] {
  return names("/proc").map(Number).filter(Number.isSafeInteger);
}

/** Whether the process is a mosquitto that was started with this configuration file, by whatever path it calls it. */
function runsWith(pid: number, config: string): boolean {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const flag = args.findIndex((arg) => arg === "-c" || arg === "--config-file");
    const file = args[flag + 1];
    if (basename(args[0] ?? "") !== "mosquitto" || flag < 0 || file === undefined) return false;
    const path = isAbsolute(file) ? file : join(readlinkSync(`/proc/${pid}/cwd`), file);
    // Through its own root: a container may have mounted the directory elsewhere.
    const theirs = statSync(`/proc/${pid}/root${path}`);
    const ours = statSync(config);
    return theirs.dev === ours.dev && theirs.ino === ours.ino;
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
