/** A registry of files: one for each name in `registry/`, and those of the index in `index/`. */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { errnoCode, isTemporaryName, storageError, syncDirectory } from "../../sim/node/files/atomic-file.js";
import type { CaDirectory } from "./ca-directory.js";
import { corrupt, DIRECTORIES, isIndexFile, nameOfEntryFile } from "./directory-layout.js";
import type { RegistryParts } from "./registry-parts.js";

/** What common file systems allot at a time. */
export const BLOCK_BYTES = 4096;

/** What files of these sizes take of the disk. */
export function allottedBytes(sizesBytes: readonly number[]): number {
  return sizesBytes.reduce((sum, sizeBytes) => sum + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES, 0);
}

export class FileParts implements RegistryParts {
  readonly kind = "files";
  readonly hasSplitIndex = false;

  constructor(private readonly directory: CaDirectory) {}

  pathOf(part: string): string {
    return this.directory.pathOf(part);
  }

  read(part: string): Buffer {
    return this.directory.readUnproved(part);
  }

  names(): string[] {
    const found = namesIn(this.pathOf(DIRECTORIES.registry)).filter((file) => !isTemporaryName(file));
    return found.sort().map((file) => {
      const path = join(DIRECTORIES.registry, file);
      const name = nameOfEntryFile(path);
      if (name === undefined) throw corrupt(this.pathOf(path), "it does not belong there");
      return name;
    });
  }

  apply(writes: ReadonlyMap<string, Uint8Array>, removes: readonly string[]): void {
    if ([...writes.keys()].some(isIndexFile)) makePartDirectory(this.directory, DIRECTORIES.index);
    for (const [part, content] of writes) this.directory.write(part, content);
    for (const part of removes) this.directory.remove(part);
  }

  /** Every file beside its old self, and directories of registry and index that grow. */
  roomBytes(sizesBytes: readonly number[]): number {
    return allottedBytes(sizesBytes) + 2 * BLOCK_BYTES;
  }

  close(): void {
    // No file is open between two calls.
  }
}

/** Unless it is there. Throws `STORAGE_FULL`, `STORAGE_FAILED`. */
export function makePartDirectory(directory: CaDirectory, name: string): void {
  const path = directory.pathOf(name);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoCode(error) === "EEXIST") return;
    throw storageError(error, "write", path);
  }
  syncDirectory(directory.path);
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw corrupt(path, "it is missing");
    throw storageError(error, "read", path);
  }
}
