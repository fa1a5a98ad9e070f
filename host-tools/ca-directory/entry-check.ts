/** Reads one entry's file, or looks at it, and compares it with what the CA wrote last. */
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { readCaFile } from "./ca-files.js";
import { corrupt, entryFile } from "./directory-layout.js";
import { readEntry } from "./registry.js";
import type { RegistryEntry } from "./registry-entry.js";
import { entryDigest } from "./registry-tree.js";

const DIFFERS = "its content differs from what the CA last wrote";

/**
 * Whether an entry's file is still what it was when it was proved, before it is replaced or removed.
 *
 * @param digest undefined when there must be none
 * @throws HawserError `CA_CORRUPT`
 */
export function checkEntry(directory: string, name: string, digest: string | undefined): void {
  const file = entryFile(name);
  let bytes: Buffer;
  try {
    bytes = readCaFile(directory, file);
  } catch (error) {
    if (digest === undefined && error instanceof HawserError && error.message.endsWith("it is missing")) return;
    throw error;
  }
  if (digest !== entryDigest(name, bytes)) throw corrupt(join(directory, file), DIFFERS);
}

/**
 * One entry, proved.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function readCheckedEntry(directory: string, name: string, digest: string): RegistryEntry {
  const { entry, text } = readEntry(directory, name);
  if (digest !== entryDigest(name, text)) throw corrupt(join(directory, entryFile(name)), DIFFERS);
  return entry;
}
