/** How the files of a CA directory are read: as they are, or proved against the sealed state. */
import { lstatSync, readdirSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { problemWithDirectory } from "../../sim/node/files/safe-path.js";
import type { CaDirectory } from "./ca-directory.js";
import { corrupt, DIRECTORIES, FILES, isIndexFile } from "./directory-layout.js";
import { parseWritten } from "./registry-entry.js";
import { registryParts } from "./registry-parts.js";
import type { RegistryParts } from "./registry-parts.js";
import { openState, parseState, registryKindOf, sha256 } from "./sealed-state.js";
import type { CaState } from "./sealed-state.js";

export interface CaFiles {
  readonly directory: CaDirectory;
  /** @throws HawserError `CA_CORRUPT` when the file is missing, is a link, or is not what the CA wrote */
  read(file: string): Buffer;
  /** Whether the CA has this file, for those that not every CA has. */
  has(file: string): boolean;
}

/** Reads files as they are, for those who have no passphrase: nothing is proved. */
export function unprovedFiles(directory: CaDirectory): CaFiles {
  return {
    directory,
    read: (file) => directory.readUnproved(file),
    has: (file) => directory.has(file),
  };
}

/** Reads files that are what the sealed state says, and no others. */
export class ProvedFiles implements CaFiles {
  /** Where entries and index are, which the registry proves. */
  readonly parts: RegistryParts;

  constructor(
    readonly directory: CaDirectory,
    readonly state: CaState,
    /** The state's text as it is on the disk. */
    readonly text: string,
  ) {
    this.parts = registryParts(directory, registryKindOf(state));
  }

  read(file: string): Buffer {
    const bytes = isIndexFile(file) ? this.parts.read(file) : this.directory.readUnproved(file);
    if (this.state.files[file] !== sha256(bytes))
      throw corrupt(
        isIndexFile(file) ? this.parts.pathOf(file) : this.directory.pathOf(file),
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
export function readState(directory: CaDirectory, key: Uint8Array): ProvedFiles {
  const text = directory.readUnprovedText(FILES.state);
  const state = openState(key, text);
  if (state === undefined) throw directory.corrupt(FILES.state, "it was not written by this CA");
  return new ProvedFiles(directory, state, text);
}

/** The state as it says itself; nothing is proved. Throws `CA_CORRUPT` when it is none. */
export function readUnprovedState(directory: CaDirectory): CaState {
  const state = parseState(directory.readUnprovedText(FILES.state));
  if (state === undefined) throw directory.corrupt(FILES.state, "it is not a CA state file");
  return state;
}

/**
 * The object in a JSON file as we write them: closed by a line feed, so that a cut-off last byte shows too.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function readCaJson(files: CaFiles, file: string): Record<string, unknown> {
  const value = parseWritten(files.read(file).toString("utf8"));
  if (value === undefined) throw files.directory.corrupt(file, "it is not complete JSON");
  return value;
}

/**
 * Whether nobody else may write to a CA directory, and no link in it leads elsewhere.
 *
 * @throws HawserError `CA_EXPOSED`, `CA_CORRUPT`
 */
export function checkDirectories(directory: CaDirectory): void {
  for (const name of ["", DIRECTORIES.keys, DIRECTORIES.registry, DIRECTORIES.reservations, DIRECTORIES.index]) {
    const path = directory.pathOf(name);
    if (isOptional(directory, name) && !directory.has(name)) continue;
    const problem = problemWithDirectory(path, name === "");
    if (problem === undefined) continue;
    if (problem.startsWith("it is")) throw corrupt(path, problem);
    throw new HawserError("CA_EXPOSED", `the CA directory ${path} is not safe to use: ${problem}`, `Run: chmod go-w ${path}`);
  }
  for (const name of readdirSync(directory.path)) {
    if (lstatSync(directory.pathOf(name), { throwIfNoEntry: false })?.isSymbolicLink() === true)
      throw directory.corrupt(name, "it is a link; the CA creates no links");
  }
}

/** A registry in a database has no folder of entries. Whether it should have, the sealed state says. */
function isOptional(directory: CaDirectory, name: string): boolean {
  if (name === DIRECTORIES.registry) return directory.has(FILES.registry);
  return name === DIRECTORIES.index;
}
