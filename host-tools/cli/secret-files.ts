/**
 * Files that hold a secret and are named on the command line: keys, tokens, what a label hides. A secret that every user of the machine can
 * read is none.
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";

/** No key or token is near this large. */
const MOST_SECRET_BYTES = 1024 * 1024;

/**
 * The caller wipes what it was given.
 *
 * @throws HawserError `PASSPHRASE_FILE_EXPOSED` when all users may read the file, `NOT_FOUND` for a directory, `BAD_TABLE` for one that is
 *   far too large, and the system's errors
 */
export function readSecretFile(path: string): Buffer {
  const descriptor = openSync(path, "r");
  try {
    // Of the file that is read, not of one that is put in its place meanwhile.
    const status = fstatSync(descriptor);
    if (status.isDirectory()) throw new HawserError("NOT_FOUND", `${path} is a directory`, "Name a file.");
    if ((status.mode & 0o004) !== 0)
      throw new HawserError("PASSPHRASE_FILE_EXPOSED", `${path} is readable by all users`, `Run: chmod 600 ${path}`);
    if (status.size > MOST_SECRET_BYTES)
      throw new HawserError("BAD_TABLE", `${path} has ${status.size} bytes, far more than any secret`, "Check the path.");
    return readFileSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The first line of a file that holds a secret. Throws as {@link readSecretFile}. */
export function readSecretLine(path: string): string {
  return readSecretFile(path).toString("utf8").split(/\r?\n/, 1)[0] ?? "";
}
