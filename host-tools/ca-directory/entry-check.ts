/** Compares one entry's file with what the CA wrote last. */
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { readCaFile } from "./ca-files.js";
import { corrupt, entryFile } from "./directory-layout.js";
import { entryDigest } from "./registry-tree.js";

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
  if (digest !== entryDigest(name, bytes)) throw corrupt(join(directory, file), "its content differs from what the CA last wrote");
}
