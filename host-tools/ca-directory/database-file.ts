/**
 * `database.json` of a CA directory whose registry is in a database: which machine's directory it is, and which file holds the database's
 * URL. It belongs to this directory alone, and no secret is in it.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { storageError } from "../../sim/node/files/atomic-file.js";
import type { CaDirectory } from "./ca-directory.js";
import { FILES } from "./directory-layout.js";
import { parseObject } from "./registry-entry.js";

export interface DatabaseFile {
  /** Names this directory among those of its CA: 32 hex digits, random. */
  readonly machine: string;
  /** Tells this directory from a copy of it. */
  readonly home: string;
  /** The file with the database's URL, absolute; absent where the environment has it. */
  readonly urlFile?: string;
}

/** @throws HawserError `CA_CORRUPT` */
export function readDatabaseFile(directory: CaDirectory): DatabaseFile | undefined {
  if (!existsSync(directory.pathOf(FILES.database))) return undefined;
  const { v, machine, home, urlFile } = parseObject(directory.readUnprovedText(FILES.database)) ?? {};
  const isSound = v === 1 && typeof machine === "string" && /^[0-9a-f]{32}$/.test(machine) && typeof home === "string";
  if (!isSound || (urlFile !== undefined && typeof urlFile !== "string"))
    throw directory.corrupt(FILES.database, "it does not say which machine's directory this is");
  return { machine, home, ...(urlFile === undefined ? {} : { urlFile }) };
}

/** A machine that is known keeps its name, and its file where no other is given. */
export function writeDatabaseFile(directory: CaDirectory, urlFile: string | undefined): DatabaseFile {
  const known = readDatabaseFile(directory);
  const path = urlFile ?? known?.urlFile;
  const file: DatabaseFile = {
    machine: known?.machine ?? randomBytes(16).toString("hex"),
    home: homeOf(directory),
    ...(path === undefined ? {} : { urlFile: resolve(path) }),
  };
  directory.write(FILES.database, `${JSON.stringify({ v: 1, ...file }, null, 2)}\n`);
  return file;
}

/**
 * Refuses a copy of a directory: two machines with one name would each forget the other's brokers.
 *
 * @throws HawserError `CA_COPIED`
 */
export function checkHome(directory: CaDirectory, { home }: DatabaseFile): void {
  if (home === homeOf(directory)) return;
  throw new HawserError(
    "CA_COPIED",
    `${directory} is a copy of another machine's directory of this CA, or was moved`,
    `For another machine, join instead: hawser registry join. If you moved it and the original is gone, run: hawser registry connect --dir ${directory}`,
  );
}

/** What a copy does not have in common with the directory, and a rename does. */
function homeOf(directory: CaDirectory): string {
  return `${statSync(realpathSync(directory.path)).ino}-${machineId()}`;
}

function machineId(): string {
  try {
    return readFileSync("/etc/machine-id", "utf8").trim();
  } catch {
    return "";
  }
}

/**
 * The URL in a file that only its owner may read.
 *
 * @throws HawserError `REGISTRY_URL_EXPOSED`, `STORAGE_FAILED`
 */
export function readUrlFile(path: string): string {
  try {
    const mode = statSync(path).mode;
    if ((mode & 0o077) !== 0 && process.platform !== "win32")
      throw new HawserError(
        "REGISTRY_URL_EXPOSED",
        `others may read ${path}, which holds the password of the registry's database`,
        `Run: chmod 600 ${path}`,
      );
    return readFileSync(path, "utf8").split("\n")[0] ?? "";
  } catch (error) {
    throw storageError(error, "read", path);
  }
}
