/**
 * Files that are either as they were or as they were meant to be, whatever stops the process or the machine in between.
 *
 * A write goes to a temporary file beside its target, is fsynced, renamed over the target, and the directory is fsynced: only then does the
 * call return. Everything is synchronous, because the ports of the SDK are.
 */
import { randomBytes } from "node:crypto";
import { closeSync, constants, fchmodSync, fsyncSync, openSync, readdirSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";

/** Ends the name of every temporary file. `~` is in no storage key, slot or id, so no real file can carry it. */
export const TEMPORARY_SUFFIX = ".tmp~";

/** A fresh name beside `path` for something unfinished; {@link removeLeftoverTemporaries} knows it again. */
export function temporaryPath(path: string): string {
  return `${path}.${randomBytes(8).toString("hex")}${TEMPORARY_SUFFIX}`;
}

export function isTemporaryName(name: string): boolean {
  return name.endsWith(TEMPORARY_SUFFIX);
}

/**
 * Replaces the file at `path`, or makes it, durably.
 *
 * @param mode exact permissions of the file, whatever the umask
 * @throws HawserError `STORAGE_FULL`, or `STORAGE_FAILED` for any other refusal; the old file is then still whole
 */
export function writeFileAtomic(path: string, bytes: Uint8Array | string, mode = 0o600): void {
  const content = typeof bytes === "string" ? Buffer.from(bytes, "utf8") : bytes;
  const temporary = temporaryPath(path);
  try {
    writeNewFile(temporary, content, mode);
    renameSync(temporary, path);
  } catch (error) {
    unlinkIfThere(temporary);
    throw storageError(error, "write", path);
  }
  syncDirectory(dirname(path));
}

/**
 * Removes the file at `path`, durably; nothing happens when it is absent.
 *
 * @throws HawserError `STORAGE_FAILED`
 */
export function removeFileDurably(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") return;
    throw storageError(error, "remove", path);
  }
  syncDirectory(dirname(path));
}

/**
 * Removes what killed writers left in a directory. Only for the one who holds the directory's lock: it would pull the temporary
 * file away from under another writer.
 */
export function removeLeftoverTemporaries(directory: string): void {
  for (const name of readdirSync(directory)) if (isTemporaryName(name)) unlinkIfThere(join(directory, name));
}

/**
 * Makes the names in a directory durable.
 *
 * @throws HawserError `STORAGE_FAILED`
 */
export function syncDirectory(directory: string): void {
  try {
    const descriptor = openSync(directory, constants.O_RDONLY);
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw storageError(error, "sync", directory);
  }
}

/** Makes a file that must not exist yet, with all its bytes on the disk. */
export function writeNewFile(path: string, bytes: Uint8Array, mode: number): void {
  const descriptor = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  try {
    fchmodSync(descriptor, mode);
    for (let written = 0; written < bytes.length;) written += writeSync(descriptor, bytes, written);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Removes a file that others may have removed already, or that was never made. */
export function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Only tidying up: what went wrong before this matters more.
  }
}

/** The `code` of an operating system error ("ENOENT"), or an empty string. */
export function errnoCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** What the operating system refused, in the words of the storage port. */
export function storageError(error: unknown, action: string, path: string): HawserError {
  if (error instanceof HawserError) return error;
  const code = errnoCode(error);
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG")
    return new HawserError("STORAGE_FULL", `no room to ${action} ${path} (${code})`, "Free some disk space, then try again.");
  const reason = REASONS[code] ?? (error instanceof Error ? error.message : String(error));
  return new HawserError(
    "STORAGE_FAILED",
    `cannot ${action} ${path}: ${reason}`,
    "Check that the path exists and that this user may write there.",
  );
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied (EACCES)",
  EPERM: "operation not permitted (EPERM)",
  EROFS: "the file system is read-only (EROFS)",
  ENOENT: "no such file or directory (ENOENT)",
  ENOTDIR: "part of the path is not a directory (ENOTDIR)",
  EISDIR: "it is a directory (EISDIR)",
  EIO: "the disk reports an error (EIO)",
  EMFILE: "too many open files (EMFILE)",
};
