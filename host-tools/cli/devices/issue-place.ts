/**
 * Where `hawser issue` puts the files of a client. They are written beside their place before the registry knows of them, so that only
 * renames are left to do once the client is let in. A command that was killed or refused before those leaves the files there, for the same
 * command to find.
 */
import { randomBytes, X509Certificate } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, statSync } from "node:fs";
import type { Dirent } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import {
  errnoCode,
  isTemporaryName,
  removeLeftoverTemporaries,
  storageError,
  syncDirectory,
  unlinkIfThere,
  writeFileAtomic,
} from "../../../sim/node/files/atomic-file.js";
import { isOurDirectory } from "../../../sim/node/files/safe-path.js";
import { lockNow } from "../../../sim/node/files/process-lock.js";
import type { ProcessLock } from "../../../sim/node/files/process-lock.js";
import type { ClientCredentials } from "../../ca/clients.js";

/** Not named after the client: a client may be called "ca". The certificate is written and moved last: where it is staged, all is. */
export const FILES = { key: "client.key.pem", ca: "ca.crt.pem", certificate: "client.crt.pem" } as const;

/**
 * Begins what is added to a place's path for the directory beside it, and names the one in a place that is there: a mount point takes no
 * renames from outside. Something unpredictable follows, so that nobody can have put anything there for us to write through or remove.
 */
const STAGING = ".hawser-staged-";
const LOCK = ".hawser-lock";

export class IssuePlace {
  readonly #path: string;
  readonly #replace: boolean;
  readonly #staging: string;
  /** Becomes the directory asked for, so nothing else may be in it. */
  readonly #files: string;
  readonly #lock: ProcessLock;
  #staged = false;

  private constructor(path: string, replace: boolean, staging: string, lock: ProcessLock) {
    this.#path = path;
    this.#replace = replace;
    this.#staging = staging;
    this.#files = join(staging, "files");
    this.#lock = lock;
  }

  /**
   * Holds the place for this process.
   *
   * @throws HawserError as {@link checkFree}; `OUT_EXISTS` also when another process holds it; `STORAGE_FULL`
   */
  static claim(out: string, replace: boolean): IssuePlace {
    const path = resolve(out);
    checkNoLink(path);
    const lock = lockNow(
      `${prefixFor(path)}${LOCK}`,
      () => new HawserError("OUT_EXISTS", `another process is writing to ${out}`, "Wait for it to finish, or choose another directory."),
    );
    try {
      removeLockLeftovers(`${prefixFor(path)}${LOCK}`);
      const staging = stagedBefore(path) ?? `${prefixFor(path)}${STAGING}${randomBytes(8).toString("hex")}`;
      makeDirectory(staging, path);
      return new IssuePlace(path, replace, staging, lock).#checked();
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Whoever held the place before may have filled it. */
  #checked(): this {
    try {
      checkFree(this.#path, this.#replace);
      return this;
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  /** The serial of the certificate that is staged with all that belongs to it; undefined when there is none. */
  stagedSerial(): string | undefined {
    try {
      return new X509Certificate(readFileSync(join(this.#files, FILES.certificate))).serialNumber.toLowerCase();
    } catch {
      // Not there, or not whole: nothing was let in with it.
      return undefined;
    }
  }

  /** Writes the files, in the place of any that were staged before. Throws as {@link checkFree}, and `STORAGE_FULL`. */
  stage(credentials: ClientCredentials): void {
    checkHolds(this.#path, this.#replace);
    this.#removeFiles();
    this.#staged = true;
    makeDirectory(this.#files, this.#path);
    writeFileAtomic(join(this.#files, FILES.key), credentials.keyPem, 0o600);
    writeFileAtomic(join(this.#files, FILES.ca), credentials.trustAnchorPem, 0o644);
    writeFileAtomic(join(this.#files, FILES.certificate), credentials.chainPem, 0o644);
    syncDirectory(this.#staging);
    syncDirectory(dirname(this.#staging));
  }

  /** Moves the staged files to their place. Should it throw (`STORAGE_FAILED`), they stay staged. */
  take(): void {
    try {
      removeLeftoverTemporaries(this.#files);
      if (existsSync(this.#path)) this.#moveEach();
      else renameSync(this.#files, this.#path);
      syncDirectory(this.#path);
      syncDirectory(dirname(this.#path));
    } catch (error) {
      this.leave();
      const { code, message } = storageError(error, "make", this.#path);
      throw new HawserError(
        code,
        `the certificate is issued and its files are in ${this.#files}, but ${message}`,
        "Fix that, then run the same command again with --replace.",
      );
    }
    this.#removeFiles();
    this.leave();
  }

  #moveEach(): void {
    // Those not there were moved before, by a command that was killed.
    const files = Object.values(FILES).filter((file) => existsSync(join(this.#files, file)));
    for (const file of files) renameSync(join(this.#files, file), join(this.#path, file));
  }

  /** Lets go of the place; what is staged stays, for the next who claims it. */
  leave(): void {
    removeLeftoverTemporaries(this.#staging);
    this.#lock.release();
    removeIfEmpty(this.#staging);
  }

  /** Lets go of the place and removes what this process staged. */
  discard(): void {
    if (this.#staged) this.#removeFiles();
    this.leave();
  }

  #removeFiles(): void {
    try {
      rmSync(this.#files, { recursive: true, force: true });
    } catch (error) {
      throw storageError(error, "remove", this.#files);
    }
  }
}

/** @throws HawserError `OUT_EXISTS` when there is anything but what may be replaced, `STORAGE_FAILED` */
export function checkFree(out: string, replace: boolean): void {
  // The certificate moves last: some of the files may be in their place already.
  const staging = isDirectory(out) ? stagedBefore(resolve(out)) : undefined;
  const isMoveUnfinished = staging !== undefined && existsSync(join(staging, "files", FILES.certificate));
  checkHolds(out, replace || isMoveUnfinished);
}

function checkHolds(out: string, mayReplace: boolean): void {
  const entries = entriesOf(out).filter(({ name }) => !name.startsWith(STAGING) && !name.startsWith(LOCK));
  const allOurs = entries.every((entry) => (Object.values(FILES) as string[]).includes(entry.name) && !entry.isDirectory());
  if (entries.length > 0 && !(mayReplace && allOurs))
    throw new HawserError(
      "OUT_EXISTS",
      `${out} is not empty`,
      "Choose another directory, or use --replace to replace credential files there.",
    );
}

/** What the names of staging directory and lock begin with: in the place when it is there, beside it otherwise. */
function prefixFor(path: string): string {
  return isDirectory(path) ? join(path, "/") : path;
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** The directory that a command for this place left behind. Only one that this user made: any other was planted. */
function stagedBefore(path: string): string | undefined {
  const prefix = `${prefixFor(path)}${STAGING}`;
  const names = existsSync(dirname(prefix)) ? readdirSync(dirname(prefix)) : [];
  const found = names.filter((name) => name.startsWith(basename(prefix)) && /^[0-9a-f]{16}$/.test(name.slice(basename(prefix).length)));
  return found.map((name) => join(dirname(prefix), name)).find(isOurDirectory);
}

/** Of processes that were killed while they took the lock. A live one that loses its own tries again. */
function removeLockLeftovers(lockPath: string): void {
  const directory = dirname(lockPath);
  for (const name of readdirSync(directory))
    if (name.startsWith(`${basename(lockPath)}.`) && isTemporaryName(name)) unlinkIfThere(join(directory, name));
}

/** A link that another user put there would have the key written where he says. */
function checkNoLink(path: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status?.isSymbolicLink() !== true || status.uid === process.geteuid?.() || status.uid === 0) return;
  throw new HawserError("OUT_EXISTS", `${path} is a link made by another user`, "Choose another directory.");
}

function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (errnoCode(error) === "ENOENT" && !isThere(directory)) return [];
    if (["ENOENT", "ENOTDIR"].includes(errnoCode(error)))
      throw new HawserError("OUT_EXISTS", `${directory} is not a directory`, "Choose another directory.");
    throw storageError(error, "read", directory);
  }
}

/** Also true of a link that leads nowhere. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function makeDirectory(directory: string, path: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (errnoCode(error) !== "EEXIST") throw storageError(error, "make", path);
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Held by another process, or of one that was killed.
  }
}
