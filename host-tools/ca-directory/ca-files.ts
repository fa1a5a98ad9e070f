/** How the files of a CA directory are read: as they are, or proved against the sealed state. */
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { problemWithDirectory } from "../../sim/node/files/safe-path.js";
import { readCaFile } from "./ca-file.js";
import { corrupt, DIRECTORIES, FILES, isIndexFile } from "./directory-layout.js";
import { parseWritten } from "./registry-entry.js";
import { registryParts } from "./registry-parts.js";
import type { RegistryParts } from "./registry-parts.js";
import { openState, parseState, registryKindOf, sha256 } from "./sealed-state.js";
import type { CaState } from "./sealed-state.js";

export interface CaFiles {
  readonly directory: string;
  /** @throws HawserError `CA_CORRUPT` when the file is missing, is a link, or is not what the CA wrote */
  read(file: string): Buffer;
  /** Whether the CA has this file, for those that not every CA has. */
  has(file: string): boolean;
}

/** Reads files as they are, for those who have no passphrase: nothing is proved. */
export function unprovedFiles(directory: string): CaFiles {
  return {
    directory,
    read: (file) => readCaFile(directory, file),
    has: (file) => lstatSync(join(directory, file), { throwIfNoEntry: false }) !== undefined,
  };
}

/** Reads files that are what the sealed state says, and no others. */
export class ProvedFiles implements CaFiles {
  /** Where entries and index are, which the registry proves. */
  readonly parts: RegistryParts;

  constructor(
    readonly directory: string,
    readonly state: CaState,
    /** The state's text as it is on the disk. */
    readonly text: string,
  ) {
    this.parts = registryParts(directory, registryKindOf(state));
  }

  read(file: string): Buffer {
    const bytes = isIndexFile(file) ? this.parts.read(file) : readCaFile(this.directory, file);
    if (this.state.files[file] !== sha256(bytes))
      throw corrupt(
        isIndexFile(file) ? this.parts.pathOf(file) : join(this.directory, file),
        "its content differs from what the CA last wrote",
      );
    return bytes;
  }

  has(file: string): boolean {
    return this.state.files[file] !== undefined;
  }

  /**
   * All but the index, which whoever uses it reads.
   *
   * @throws HawserError `CA_CORRUPT` naming the first file that is not what it should be
   */
  checkAll(): void {
    for (const file of Object.keys(this.state.files)) if (!isIndexFile(file)) this.read(file);
  }
}

/**
 * The sealed state as it is on the disk, proved by its MAC.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function readState(directory: string, key: Uint8Array): ProvedFiles {
  const text = readCaFile(directory, FILES.state).toString("utf8");
  const state = openState(key, text);
  if (state === undefined) throw corrupt(join(directory, FILES.state), "it was not written by this CA");
  return new ProvedFiles(directory, state, text);
}

/** The state as it says itself; nothing is proved. Throws `CA_CORRUPT` when it is none. */
export function readUnprovedState(directory: string): CaState {
  const state = parseState(readCaFile(directory, FILES.state).toString("utf8"));
  if (state === undefined) throw corrupt(join(directory, FILES.state), "it is not a CA state file");
  return state;
}

/**
 * The object in a JSON file as we write them: closed by a line feed, so that a cut-off last byte shows too.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function readCaJson(files: CaFiles, file: string): Record<string, unknown> {
  const value = parseWritten(files.read(file).toString("utf8"));
  if (value === undefined) throw corrupt(join(files.directory, file), "it is not complete JSON");
  return value;
}

/**
 * Whether nobody else may write to a CA directory, and no link in it leads elsewhere.
 *
 * @throws HawserError `CA_EXPOSED`, `CA_CORRUPT`
 */
export function checkDirectories(directory: string): void {
  for (const name of ["", DIRECTORIES.keys, DIRECTORIES.registry, DIRECTORIES.reservations, DIRECTORIES.index]) {
    const path = join(directory, name);
    if (isOptional(directory, name) && lstatSync(path, { throwIfNoEntry: false }) === undefined) continue;
    const problem = problemWithDirectory(path, name === "");
    if (problem === undefined) continue;
    if (problem.startsWith("it is")) throw corrupt(path, problem);
    throw new HawserError("CA_EXPOSED", `the CA directory ${path} is not safe to use: ${problem}`, `Run: chmod go-w ${path}`);
  }
  for (const name of readdirSync(directory)) {
    if (lstatSync(join(directory, name), { throwIfNoEntry: false })?.isSymbolicLink() === true)
      throw corrupt(join(directory, name), "it is a link; the CA creates no links");
  }
}

/** A registry in a database has no folder of entries. Whether it should have, the sealed state says. */
function isOptional(directory: string, name: string): boolean {
  if (name === DIRECTORIES.registry) return lstatSync(join(directory, FILES.registry), { throwIfNoEntry: false }) !== undefined;
  return name === DIRECTORIES.index;
}
