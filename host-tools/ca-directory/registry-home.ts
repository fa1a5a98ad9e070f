/** Writes a complete registry beside the one that is in use, and removes the one that a move has left behind. */
import { existsSync, renameSync, rmSync } from "node:fs";
import { basename, dirname } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { storageError, syncDirectory, temporaryPath, unlinkIfThere, writeNewFile } from "../../sim/node/files/atomic-file.js";
import type { CaDirectory } from "./ca-directory.js";
import { DIRECTORIES, FILES, entryFile } from "./directory-layout.js";
import { FileParts, makePartDirectory } from "./file-parts.js";
import type { RegistryKind } from "./registry-kinds.js";
import type { RegistryParts } from "./registry-parts.js";
import { SqliteParts } from "./sqlite-parts.js";

/** Content by path below the CA directory. */
export type PartContent = ReadonlyMap<string, Uint8Array>;

/**
 * Writes all parts of a registry, reads them back and compares. What a home of this kind had before is gone afterwards, so none may be in
 * use; when it fails, nothing of it is left.
 *
 * @throws HawserError `STORAGE_FULL`, `STORAGE_FAILED`, `SQLITE_MISSING`
 */
export function makeRegistryHome(directory: CaDirectory, kind: RegistryKind, content: PartContent): void {
  try {
    removeRegistryHome(directory, kind);
    if (kind === "files") fillFolders(directory, content);
    else fillDatabase(directory, content);
  } catch (error) {
    removeRegistryHome(directory, kind);
    throw storageError(error, "write", directory.pathOf(kind === "files" ? DIRECTORIES.registry : FILES.registry));
  }
}

/** Whether anything of such a home is there. */
export function isRegistryHomeThere(directory: CaDirectory, kind: RegistryKind): boolean {
  return pathsOf(directory, kind).some((path) => existsSync(path));
}

/** Throws `STORAGE_FAILED`. */
export function removeRegistryHome(directory: CaDirectory, kind: RegistryKind): void {
  try {
    for (const path of pathsOf(directory, kind)) rmSync(path, { recursive: true, force: true });
    syncDirectory(directory.path);
  } catch (error) {
    throw storageError(error, "remove", directory.path);
  }
}

/** A rollback journal that outlives its database would be played back into the next one of that name: it goes first. */
function pathsOf(directory: CaDirectory, kind: RegistryKind): string[] {
  const files =
    kind === "files" ? [DIRECTORIES.index, DIRECTORIES.registry] : ["-journal", "-wal", "-shm", ""].map((end) => `${FILES.registry}${end}`);
  return files.map((file) => directory.pathOf(file));
}

function fillFolders(directory: CaDirectory, content: PartContent): void {
  const folders = new Set([DIRECTORIES.registry, ...[...content.keys()].map((part) => dirname(part))]);
  for (const folder of folders) makePartDirectory(directory, folder);
  for (const [part, bytes] of content) writeNewFile(directory.pathOf(part), bytes, 0o600);
  for (const folder of folders) syncDirectory(directory.pathOf(folder));
  compare(new FileParts(directory), content);
}

/** Under a temporary name until it is complete and on the disk. */
function fillDatabase(directory: CaDirectory, content: PartContent): void {
  const path = temporaryPath(directory.pathOf(FILES.registry));
  try {
    compare(SqliteParts.make(directory, basename(path), content), content);
    renameSync(path, directory.pathOf(FILES.registry));
    syncDirectory(directory.path);
  } catch (error) {
    unlinkIfThere(path);
    throw error;
  }
}

function compare(parts: RegistryParts, content: PartContent): void {
  const expected = [...content.keys()].filter((part) => dirname(part) === DIRECTORIES.registry).sort();
  const found = parts.names().map(entryFile).sort();
  const isSame = found.length === expected.length && found.every((part, index) => part === expected[index]);
  const differs = isSame ? [...content].find(([part, bytes]) => !parts.read(part).equals(bytes))?.[0] : "the list of names";
  parts.close();
  if (differs !== undefined)
    throw new HawserError("STORAGE_FAILED", `${parts.pathOf(differs)} is not what was written`, "Check the disk, then try again.");
}
