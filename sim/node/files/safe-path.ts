/** Looks at paths before they are trusted with secrets: no links, nothing that others may write. */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, statSync } from "node:fs";
import type { Stats } from "node:fs";
import { dirname } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { errnoCode } from "./atomic-file.js";

/** Group and others may write. */
const SHARED_WRITE = 0o022;
const STICKY = 0o1000;

/**
 * Reads a file that is no link. A pipe or device in its place is not waited for.
 *
 * @throws Error with the code `ELOOP` for a link, `EISDIR` for what is no file, and as `readFileSync`
 */
export function readFileOnly(path: string): Buffer {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!fstatSync(descriptor).isFile()) throw Object.assign(new Error(`EISDIR: not a file, read '${path}'`), { code: "EISDIR", path });
    return readFileSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Reads a file that another file names, and that may be a link. A pipe or device in its place is not waited for.
 *
 * @throws HawserError `NOT_A_FILE` for what is no regular file or is larger than `mostBytes`; as `readFileSync`
 */
export function readRegularFile(path: string, mostBytes: number): { readonly bytes: Buffer; readonly mode: number } {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    // Of the file that is read, not of one that is put in its place meanwhile.
    const status = fstatSync(descriptor);
    if (!status.isFile())
      throw new HawserError("NOT_A_FILE", `${path} is not a regular file`, "Name a file: pipes and devices are not read.");
    if (status.size > mostBytes)
      throw new HawserError("NOT_A_FILE", `${path} has ${status.size} bytes, and at most ${mostBytes} are read`, "Check the path.");
    return { bytes: readFileSync(descriptor), mode: status.mode };
  } finally {
    closeSync(descriptor);
  }
}

/**
 * What speaks against a directory that is to hold secrets; undefined when nothing does.
 *
 * @param mayBeLink whether a link to a directory will do, as it does where a user names the place
 */
export function problemWithDirectory(path: string, mayBeLink = false): string | undefined {
  const status = look(path, mayBeLink);
  if (status === undefined) return "it is missing";
  if (status.isSymbolicLink()) return "it is a link";
  if (!status.isDirectory()) return "it is not a directory";
  if ((status.mode & SHARED_WRITE) !== 0) return "users other than its owner may write to it";
  return undefined;
}

/** Whether this is a real directory that this user (or root) made and nobody else may write to: anything else may have been planted. */
export function isOurDirectory(path: string): boolean {
  if (problemWithDirectory(path) !== undefined) return false;
  const owner = look(path, false)?.uid;
  return owner === process.geteuid?.() || owner === 0;
}

/**
 * Who but `owners` could replace `path` or what leads to it, as a sentence; undefined when nobody could. A directory with the sticky bit,
 * as /tmp, lets nobody replace what is another's.
 *
 * @param owners user ids besides root
 */
export function whoCouldReplace(path: string, owners: readonly number[]): string | undefined {
  for (let parent = dirname(path); ; parent = dirname(parent)) {
    const { uid, mode } = statSync(parent);
    if (uid !== 0 && !owners.includes(uid)) return `the directory ${parent} belongs to user ${uid}`;
    if ((mode & SHARED_WRITE) !== 0 && (mode & STICKY) === 0) return `users other than its owner may write to ${parent}`;
    if (parent === dirname(parent)) return undefined;
  }
}

function look(path: string, mayBeLink: boolean): Stats | undefined {
  try {
    return mayBeLink ? statSync(path) : lstatSync(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errnoCode(error))) return undefined;
    throw error;
  }
}
