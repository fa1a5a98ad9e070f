/**
 * The event file of `hawser monitor`: one JSON object a line. Each line carries the place in the log it was read from, so
 * whoever continues the file after a kill -9 knows exactly what it holds: no event comes twice and none is left out.
 */
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode, storageError, writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { lockNow } from "../../sim/node/files/process-lock.js";
import type { ProcessLock } from "../../sim/node/files/process-lock.js";
import { readRegularFile } from "../../sim/node/files/safe-path.js";
import type { ReaderState } from "./log-events.js";
import type { LogPosition } from "./log-tail.js";

/** Where reading resumes. */
export interface ResumePoint {
  readonly log: LogPosition;
  readonly reader: ReaderState;
  /** Offset in the CA's audit trail, where it is followed. */
  readonly trail?: number;
}

export interface EventFileLimits {
  /** Before a file would grow larger than this it is renamed to `FILE.1`, and so on. Only a single larger event exceeds it. */
  readonly maxBytes: number;
  /** How many renamed files are kept. */
  readonly keep: number;
}

/** Where an event's line was, as the file has it. */
interface Stored extends ResumePoint {
  /** Counts the events; the checkpoint says how many there were. */
  readonly seq: number;
}

/** No line is near this long: see `MAX_LINE_BYTES`. */
const TAIL_BYTES = 256 * 1024;
const FLUSH_BYTES = 64 * 1024;

export class EventFile {
  readonly #path: string;
  readonly #limits: EventFileLimits;
  readonly #lock: ProcessLock;
  #descriptor: number;
  #sizeBytes: number;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #seq: number;
  #checkpointed = "";
  /** Where the last reader of the log stopped; undefined for a new file. */
  readonly resume: ResumePoint | undefined;

  /**
   * Opens or creates the file; what a kill left unfinished at its end is removed.
   * @throws HawserError `EVENTS_IN_USE`, `EVENTS_CORRUPT`, `STORAGE_FAILED`, `STORAGE_FULL`
   */
  constructor(path: string, limits: EventFileLimits) {
    this.#path = path;
    this.#limits = limits;
    this.#lock = lockNow(
      `${path}.lock`,
      (pid) => new HawserError("EVENTS_IN_USE", `process ${pid ?? "?"} writes ${path}`, "Stop it, or name another event file."),
    );
    try {
      this.#descriptor = openEvents(path);
      const last = lastEvent(this.#descriptor, path) ?? lastEventOf(`${path}.1`);
      const checkpoint = readCheckpoint(`${path}.position`);
      const newest = last !== undefined && last.seq > (checkpoint?.seq ?? -1) ? last : checkpoint;
      this.#seq = newest?.seq ?? 0;
      this.resume = newest;
      this.#sizeBytes = fstatSync(this.#descriptor).size;
    } catch (error) {
      this.#lock.release();
      throw error;
    }
  }

  /**
   * Adds an event, to a new file when this one is full.
   * @param fields what the event says; must not hold `seq` and `resume`
   * @throws HawserError `STORAGE_FULL`, `STORAGE_FAILED`
   */
  append(fields: Readonly<Record<string, unknown>>, resume: ResumePoint): void {
    this.#seq += 1;
    const line = `${JSON.stringify({ ...fields, seq: this.#seq, resume })}\n`;
    const lineBytes = Buffer.byteLength(line);
    const heldBytes = this.#sizeBytes + this.#waitingBytes;
    if (heldBytes > 0 && heldBytes + lineBytes > this.#limits.maxBytes) {
      this.flush();
      this.#rotate();
    }
    this.#waiting.push(line);
    this.#waitingBytes += lineBytes;
    if (this.#waitingBytes >= FLUSH_BYTES) this.flush();
  }

  /** Hands all events to the system. Throws `STORAGE_FULL`, `STORAGE_FAILED`. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const bytes = Buffer.from(this.#waiting.join(""), "utf8");
    this.#waiting = [];
    this.#waitingBytes = 0;
    try {
      for (let written = 0; written < bytes.length;) written += writeSync(this.#descriptor, bytes, written);
    } catch (error) {
      throw storageError(error, "write", this.#path);
    }
    this.#sizeBytes += bytes.length;
  }

  /** Makes durable what was written and how far the log was read. */
  checkpoint(at: ResumePoint): void {
    this.flush();
    const stored: Stored = { ...at, seq: this.#seq };
    const text = `${JSON.stringify(stored)}\n`;
    if (text !== this.#checkpointed) {
      // The position must never be ahead of the events.
      fdatasyncSync(this.#descriptor);
      writeFileAtomic(`${this.#path}.position`, text);
      this.#checkpointed = text;
    }
    if (!this.#isNamed()) this.#reopen();
  }

  close(): void {
    closeSync(this.#descriptor);
    this.#lock.release();
  }

  #rotate(): void {
    // A checkpoint makes durable only the file that is written then.
    fdatasyncSync(this.#descriptor);
    for (let age = this.#limits.keep; age >= 1; age -= 1) {
      const from = age === 1 ? this.#path : `${this.#path}.${age - 1}`;
      if (existsSync(from)) renameSync(from, `${this.#path}.${age}`);
    }
    this.#reopen();
  }

  /** Whether the file still has its name: logrotate may have taken it. */
  #isNamed(): boolean {
    try {
      return statSync(this.#path).ino === fstatSync(this.#descriptor).ino;
    } catch (error) {
      if (errnoCode(error) === "ENOENT") return false;
      throw error;
    }
  }

  #reopen(): void {
    const next = openEvents(this.#path);
    closeSync(this.#descriptor);
    this.#descriptor = next;
    this.#sizeBytes = fstatSync(next).size;
  }
}

/** Appends only, is no link, and for its owner alone: it says who connected from where. */
function openEvents(path: string): number {
  try {
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const descriptor = openSync(path, flags, 0o600);
    if (fstatSync(descriptor).isFile()) return descriptor;
    closeSync(descriptor);
  } catch (error) {
    throw storageError(error, "open", path);
  }
  throw corrupt(path, "it is not a file");
}

/** The last event of a file, after removing an unfinished line behind it. */
function lastEvent(descriptor: number, path: string): Stored | undefined {
  const { size } = fstatSync(descriptor);
  const from = Math.max(0, size - TAIL_BYTES);
  const tail = Buffer.alloc(size - from);
  const taken = readSync(descriptor, tail, 0, tail.length, from);
  const bytes = tail.subarray(0, taken);
  // After a power cut the end may be zeros that were never written over.
  const written = bytes.indexOf(0) < 0 ? bytes : bytes.subarray(0, bytes.indexOf(0));
  const complete = written.subarray(0, written.lastIndexOf(0x0a) + 1);
  const text = complete.toString("utf8").trimEnd();
  const last = text === "" ? undefined : storedIn(text.slice(text.lastIndexOf("\n") + 1));
  const isEmpty = text === "" && (size === 0 || bytes[0] === 0x7b);
  if (last === undefined && !isEmpty) throw corrupt(path, "its last line is not an event of hawser monitor");
  if (complete.length < bytes.length) ftruncateSync(descriptor, from + complete.length);
  return last;
}

/** Of the file before this one. */
function lastEventOf(path: string): Stored | undefined {
  if (!existsSync(path)) return undefined;
  const descriptor = openEvents(path);
  try {
    return lastEvent(descriptor, path);
  } finally {
    closeSync(descriptor);
  }
}

/** A position has a few hundred. */
const MAX_POSITION_BYTES = 64 * 1024;

function readCheckpoint(path: string): Stored | undefined {
  let text: string;
  try {
    text = readRegularFile(path, MAX_POSITION_BYTES).bytes.toString("utf8");
  } catch (error) {
    if (error instanceof HawserError) throw corrupt(path, "it is not a position of hawser monitor");
    if (errnoCode(error) === "ENOENT") return undefined;
    throw storageError(error, "read", path);
  }
  const value = parse(text);
  if (!isStored(value)) throw corrupt(path, "it is not a position of hawser monitor");
  return value;
}

function storedIn(line: string): Stored | undefined {
  const event = parse(line) as { seq?: unknown; resume?: Record<string, unknown> } | undefined;
  const value: unknown = { ...event?.resume, seq: event?.seq };
  return isStored(value) ? value : undefined;
}

function isStored(value: unknown): value is Stored {
  const { log, reader, seq, trail = 0 } = (value ?? {}) as Partial<Record<keyof Stored, unknown>>;
  const { inode, offset, head, modifiedMs } = (log ?? {}) as Partial<Record<keyof LogPosition, unknown>>;
  const { owed, version } = (reader ?? {}) as Partial<Record<keyof ReaderState, unknown>>;
  const numbers = [seq, inode, offset, modifiedMs, owed, trail];
  return (
    numbers.every((number) => typeof number === "number" && number >= 0) &&
    typeof head === "string" &&
    (version === undefined || typeof version === "string")
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function corrupt(path: string, what: string): HawserError {
  return new HawserError(
    "EVENTS_CORRUPT",
    `${path} cannot be continued: ${what}`,
    "Move it away, or name another event file. Reading then begins with the log's present file.",
  );
}
