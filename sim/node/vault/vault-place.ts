/**
 * The path where a new vault will be: checked first, taken by one rename at last, so that nobody ever sees half a vault there.
 */
import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { errnoCode, storageError, syncDirectory } from "../files/atomic-file.js";
import type { ProcessLock } from "../files/process-lock.js";
import { isOurDirectory } from "../files/safe-path.js";
import { HEADER_FILE, LOCK_FILE, lockVault } from "./vault-files.js";

export class VaultPlace {
  readonly path: string;
  /** Held while a vault that is to be replaced is still there. */
  readonly #oldLock: ProcessLock | undefined;
  #staging: string | undefined;

  private constructor(path: string, oldLock: ProcessLock | undefined) {
    this.path = path;
    this.#oldLock = oldLock;
  }

  /** @throws HawserError `VAULT_EXISTS`, `VAULT_IN_USE`, `STORAGE_FAILED` */
  static claim(path: string, replace: boolean): VaultPlace {
    if (!exists(path)) return new VaultPlace(path, undefined);
    if (!replace) throw occupied(path);
    // Replacing removes a whole directory: only one that is a vault.
    if (!exists(join(path, HEADER_FILE)))
      throw new HawserError("VAULT_EXISTS", `${path} exists and is not a vault`, "Choose another path, or remove it yourself.");
    return new VaultPlace(path, lockVault(path));
  }

  /** Makes the directory, mode 0700, in which the new vault is built. */
  makeStaging(): string {
    removeLeftovers(this.path);
    const staging = siblingOf(this.path, "staged");
    try {
      mkdirSync(staging, { mode: 0o700 });
    } catch (error) {
      throw storageError(error, "make", staging);
    }
    this.#staging = staging;
    return staging;
  }

  /** Puts the staged directory at the path. */
  take(): void {
    if (this.#staging === undefined) return;
    const aside = this.#oldLock === undefined ? undefined : siblingOf(this.path, "replaced");
    try {
      if (aside !== undefined) renameSync(this.path, aside);
      moveToFreePath(this.#staging, this.path);
    } catch (error) {
      if (aside !== undefined && exists(aside) && !exists(this.path)) renameSync(aside, this.path);
      throw storageError(error, "make", this.path);
    }
    this.#staging = undefined;
    syncDirectory(dirname(this.path));
    if (aside !== undefined) rmSync(aside, { recursive: true, force: true });
  }

  /** Removes the staged directory and lets go of the vault that was to be replaced. */
  abandon(): void {
    if (this.#staging !== undefined) rmSync(this.#staging, { recursive: true, force: true });
    this.#staging = undefined;
    this.#oldLock?.release();
  }
}

function moveToFreePath(from: string, to: string): void {
  // rename(2) would silently take the place of an empty directory.
  if (exists(to)) throw occupied(to);
  try {
    renameSync(from, to);
  } catch (error) {
    throw ["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(errnoCode(error)) ? occupied(to) : error;
  }
}

function occupied(path: string): HawserError {
  return new HawserError("VAULT_EXISTS", `${path} already exists`, "Choose another path, or use --replace to put a new vault there.");
}

function siblingOf(path: string, purpose: "staged" | "replaced"): string {
  return `${path}.${purpose}-${randomBytes(8).toString("hex")}`;
}

/** What a killed maker of a vault for this path left beside it, unless it is still alive. */
function removeLeftovers(path: string): void {
  let names: string[];
  try {
    names = readdirSync(dirname(path));
  } catch (error) {
    throw storageError(error, "read", dirname(path));
  }
  for (const name of names) {
    const leftover = name.startsWith(`${basename(path)}.`) && /^\.(staged|replaced)-[0-9a-f]{16}$/.test(name.slice(basename(path).length));
    if (leftover) removeUnlessHeld(join(dirname(path), name));
  }
}

function removeUnlessHeld(directory: string): void {
  try {
    // A link, or a directory of somebody else, may have been planted for us to reach through. Without a lock file its maker may be about to
    // lock it.
    if (!isOurDirectory(directory) || !exists(join(directory, LOCK_FILE))) return;
    lockVault(directory);
    rmSync(directory, { recursive: true, force: true });
  } catch {
    // Held by a live process, or gone already: not ours to remove.
  }
}

function exists(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    const code = errnoCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw storageError(error, "look at", path);
  }
}
