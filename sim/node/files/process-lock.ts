/**
 * One process at a time, by a lock file; a lock whose holder is dead is taken over, so `kill -9` never needs a repair by hand.
 *
 * The lock file appears whole, by link(2) from a temporary file. To take over, a contender first locks a file named after the very
 * content it judged dead, by the same rules, and only its holder may remove the dead lock: of two contenders that judged the same lock
 * dead, the slower one then finds other content and leaves it alone.
 *
 * A holder is known by process id, start time and boot where /proc tells them, so a reused process id is not mistaken for it. Processes
 * that do not see each other (containers that share a volume but no process table) must not share a lock.
 */
import { createHash, randomBytes } from "node:crypto";
import { linkSync, readFileSync, writeFileSync } from "node:fs";
import type { HawserError } from "../../../sdk/errors.js";
import { errnoCode, storageError, temporaryPath, TEMPORARY_SUFFIX, unlinkIfThere } from "./atomic-file.js";

/** A lock held by this process until it is released. */
export class ProcessLock {
  #path: string;
  readonly #content: string;

  constructor(path: string, content: string) {
    this.#path = path;
    this.#content = content;
  }

  /** The directory that holds the lock file was renamed: the lock file is at `path` now. */
  movedTo(path: string): void {
    this.#path = path;
  }

  /** Lets others in. Idempotent; a lock that is no longer ours is left alone. */
  release(): void {
    if (readLock(this.#path) === this.#content) unlinkIfThere(this.#path);
  }
}

/** Makes the error for a lock that is held; the process id is unknown when the lock changed hands meanwhile. */
export type HeldError = (holderPid: number | undefined) => HawserError;

/**
 * Takes the lock now or throws.
 *
 * @throws what `heldError` makes when a live process holds it; HawserError `STORAGE_FAILED` or `STORAGE_FULL` when the file cannot be
 *   written
 */
export function lockNow(path: string, heldError: HeldError): ProcessLock {
  // Each turn means that somebody released or took over in between; the bound only keeps a broken file system from holding us for ever.
  for (let turn = 0; turn < 100; turn += 1) {
    const mine = claim(path);
    if (mine !== undefined) return mine;
    const found = readLock(path);
    if (found === undefined) continue;
    if (isAlive(found)) throw heldError(holderOf(found)?.pid);
    removeDead(path, found, heldError);
  }
  throw heldError(undefined);
}

/**
 * Takes the lock, waiting up to `waitMs` for its holder.
 *
 * @throws as {@link lockNow}
 */
export async function lockWithin(path: string, waitMs: number, heldError: HeldError): Promise<ProcessLock> {
  const deadline = performance.now() + waitMs;
  for (let delayMs = 5; ; delayMs = Math.min(2 * delayMs, 200)) {
    let held: HawserError | undefined;
    try {
      return lockNow(path, (pid) => (held = heldError(pid)));
    } catch (error) {
      const leftMs = deadline - performance.now();
      if (error !== held || leftMs <= 0) throw error;
      const jitteredMs = delayMs * (0.5 + Math.random() / 2);
      await new Promise((resolve) => setTimeout(resolve, Math.min(jitteredMs, leftMs)));
    }
  }
}

/** The lock, or undefined when the path is taken. */
function claim(path: string): ProcessLock | undefined {
  const content = JSON.stringify({ ...self(), nonce: randomBytes(8).toString("hex") });
  const temporary = temporaryPath(path);
  try {
    // Not synced: after a power cut the holder is dead, whatever the file says.
    writeFileSync(temporary, content, { flag: "wx", mode: 0o600 });
    linkSync(temporary, path);
    return new ProcessLock(path, content);
  } catch (error) {
    // EEXIST: taken. ENOENT of the link: a new holder tidied the directory and swept our temporary file away; the caller looks again.
    const code = errnoCode(error);
    if (code === "EEXIST" || (code === "ENOENT" && errorSyscall(error) === "link")) return undefined;
    throw storageError(error, "lock", path);
  } finally {
    unlinkIfThere(temporary);
  }
}

/** Removes the lock at `path` if it still says `dead`; its takeover lock makes sure that only one contender does. */
function removeDead(path: string, dead: string, heldError: HeldError): void {
  const takeover = lockNow(takeoverPath(path, dead), heldError);
  try {
    if (readLock(path) === dead) unlinkIfThere(path);
  } finally {
    takeover.release();
  }
}

/** The lock that gives the right to remove the lock at `path` while it says `dead`. */
export function takeoverPath(path: string, dead: string): string {
  return `${path}.${createHash("sha256").update(dead).digest("hex").slice(0, 16)}${TEMPORARY_SUFFIX}`;
}

function readLock(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errnoCode(error) === "ENOENT") return undefined;
    throw storageError(error, "read", path);
  }
}

interface Holder {
  pid: number;
  /** Clock ticks since boot; empty where /proc does not tell. */
  start: string;
  boot: string;
}

function self(): Holder {
  return { pid: process.pid, start: processState(process.pid)?.start ?? "", boot: bootId() };
}

/** Undefined when the text is no holder's: a power cut can leave the file empty. */
function holderOf(content: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(content);
    if (typeof value !== "object" || value === null) return undefined;
    const { pid, start, boot } = value as Partial<Record<keyof Holder, unknown>>;
    if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid < 1 || typeof start !== "string" || typeof boot !== "string")
      return undefined;
    return { pid, start, boot };
  } catch {
    return undefined;
  }
}

function isAlive(content: string): boolean {
  const holder = holderOf(content);
  if (holder === undefined || holder.boot !== bootId()) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return errnoCode(error) === "EPERM";
  }
  const state = processState(holder.pid);
  // A zombie no longer runs, though it can still be signalled.
  return state === undefined || (!state.dead && state.start === holder.start);
}

/** Fields 3 (state) and 22 (start time) of /proc/<pid>/stat (proc(5)); undefined where there is no such file. */
function processState(pid: number): { start: string; dead: boolean } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name, field 2, may hold spaces and parentheses: fields are counted from the last one.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { start: fields[19] ?? "", dead: fields[0] === "Z" || fields[0] === "X" };
  } catch {
    return undefined;
  }
}

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}

function errorSyscall(error: unknown): string {
  return error instanceof Error && "syscall" in error && typeof error.syscall === "string" ? error.syscall : "";
}
