/**
 * Files that hold a secret and are named on the command line: keys, tokens, what a label hides. A secret that every user of the machine can
 * read is none.
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { readRegularFile } from "../../sim/node/files/safe-path.js";

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
    checkNotExposed(path, status.mode);
    if (status.size > MOST_SECRET_BYTES)
      throw new HawserError("BAD_TABLE", `${path} has ${status.size} bytes, far more than any secret`, "Check the path.");
    return readFileSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * A secret that another file names. The caller wipes what it was given.
 *
 * @throws HawserError `PASSPHRASE_FILE_EXPOSED` when all users may read the file; as {@link readRegularFile}
 */
export function readNamedSecretFile(path: string): Buffer {
  const { bytes, mode } = readRegularFile(path, MOST_SECRET_BYTES);
  checkNotExposed(path, mode);
  return bytes;
}

function checkNotExposed(path: string, mode: number): void {
  if ((mode & 0o004) !== 0) throw new HawserError("PASSPHRASE_FILE_EXPOSED", `${path} is readable by all users`, `Run: chmod 600 ${path}`);
}

/** The first line of a file that holds a secret. Throws as {@link readSecretFile}. */
export function readSecretLine(path: string): string {
  return readSecretFile(path).toString("utf8").split(/\r?\n/, 1)[0] ?? "";
}
