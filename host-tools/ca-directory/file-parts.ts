/** A registry of files: one for each name in `registry/`, and those of the index in `index/`. */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import {
  errnoCode,
  isTemporaryName,
  removeFileDurably,
  storageError,
  syncDirectory,
  writeFileAtomic,
} from "../../sim/node/files/atomic-file.js";
import { readCaFile } from "./ca-file.js";
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

  constructor(private readonly directory: string) {}

  pathOf(part: string): string {
    return join(this.directory, part);
  }

  read(part: string): Buffer {
    return readCaFile(this.directory, part);
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
    for (const [part, content] of writes) writeFileAtomic(this.pathOf(part), content);
    for (const part of removes) removeFileDurably(this.pathOf(part));
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
export function makePartDirectory(directory: string, name: string): void {
  const path = join(directory, name);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoCode(error) === "EEXIST") return;
    throw storageError(error, "write", path);
  }
  syncDirectory(directory);
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw corrupt(path, "it is missing");
    throw storageError(error, "read", path);
  }
}
