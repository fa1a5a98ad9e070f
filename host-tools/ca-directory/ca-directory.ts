/** The directory of a CA on the disk: its files by name, and the lock under which it is changed. Nothing that is read here is proved. */
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode, removeFileDurably, storageError, writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { lockWithin } from "../../sim/node/files/process-lock.js";
import { readFileOnly } from "../../sim/node/files/safe-path.js";
import { corrupt, FILES } from "./directory-layout.js";

/** How long a change waits for another process to finish its own. */
const LOCK_WAIT_MS = 60_000;

export class CaDirectory {
  /** @param path as messages name it; whoever works in another directory makes it absolute before */
  constructor(readonly path: string) {}

  /** As messages name it. */
  toString(): string {
    return this.path;
  }

  /** @param file its path below the directory */
  pathOf(file: string): string {
    return join(this.path, file);
  }

  /** Whether anything has this name, a link included. */
  has(file: string): boolean {
    return lstatSync(this.pathOf(file), { throwIfNoEntry: false }) !== undefined;
  }

  /**
   * A file as it is: nothing is proved.
   *
   * @throws HawserError `CA_CORRUPT` when it is missing or a link, `STORAGE_FAILED`
   */
  readUnproved(file: string): Buffer {
    const path = this.pathOf(file);
    try {
      return readFileOnly(path);
    } catch (error) {
      const problem = { ENOENT: "it is missing", ELOOP: "it is a link", EISDIR: "it is not a file" }[errnoCode(error)];
      if (problem !== undefined) throw corrupt(path, problem);
      throw storageError(error, "read", path);
    }
  }

  /** The same of a file of text. */
  readUnprovedText(file: string): string {
    return this.readUnproved(file).toString("utf8");
  }

  /** Replaces a file as a whole, durably. Throws `STORAGE_FULL`, `STORAGE_FAILED`. */
  write(file: string, content: Uint8Array | string): void {
    writeFileAtomic(this.pathOf(file), content);
  }

  /** Removes a file, durably, if it is there. Throws `STORAGE_FAILED`. */
  remove(file: string): void {
    removeFileDurably(this.pathOf(file));
  }

  /** @returns the error that says what is wrong with a file */
  corrupt(file: string, problem: string): HawserError {
    return corrupt(this.pathOf(file), problem);
  }

  /** Does work as the only one in the directory, among the processes of this machine. Throws `CA_BUSY`, and what `work` throws. */
  async locked<T>(work: () => Promise<T>): Promise<T> {
    const lock = await lockWithin(this.pathOf(FILES.lock), LOCK_WAIT_MS, (pid) => this.#busy(pid));
    try {
      return await work();
    } finally {
      lock.release();
    }
  }

  #busy(pid: number | undefined): HawserError {
    return new HawserError(
      "CA_BUSY",
      `another process${pid === undefined ? "" : ` (${pid})`} is changing the CA in ${this.path}`,
      "Try again when that process has finished.",
    );
  }
}
