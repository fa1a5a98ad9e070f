/** Reads one entry, or looks at it, and compares it with what the CA wrote last. */
import { HawserError } from "../../sdk/errors.js";
import { corrupt, entryFile } from "./directory-layout.js";
import { readEntry } from "./registry.js";
import type { RegistryEntry } from "./registry-entry.js";
import type { RegistryParts } from "./registry-parts.js";
import { entryDigest } from "./registry-tree.js";

const DIFFERS = "its content differs from what the CA last wrote";

/**
 * Whether an entry is still what it was when it was proved, before it is replaced or removed.
 *
 * @param digest undefined when there must be none
 * @throws HawserError `CA_CORRUPT`
 */
export function checkEntry(parts: RegistryParts, name: string, digest: string | undefined): void {
  const part = entryFile(name);
  let bytes: Buffer;
  try {
    bytes = parts.read(part);
  } catch (error) {
    if (digest === undefined && error instanceof HawserError && error.message.endsWith("it is missing")) return;
    throw error;
  }
  if (digest !== entryDigest(name, bytes)) throw corrupt(parts.pathOf(part), DIFFERS);
}

/**
 * One entry, proved.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function readCheckedEntry(parts: RegistryParts, name: string, digest: string): RegistryEntry {
  const { entry, text } = readEntry(parts, name);
  if (digest !== entryDigest(name, text)) throw corrupt(parts.pathOf(entryFile(name)), DIFFERS);
  return entry;
}
