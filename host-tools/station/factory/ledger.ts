/**
 * A station's write-ahead journal: one JSON line an event, each on the disk before the work goes on, chained by hashes. It knows every
 * board by its id, its MAC address and its public key, and lets none of the three belong to two boards.
 */
import { createHash } from "node:crypto";
import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { storageError, syncDirectory } from "../../../sim/node/files/atomic-file.js";
import { lockNow } from "../../../sim/node/files/process-lock.js";
import type { ProcessLock } from "../../../sim/node/files/process-lock.js";
import { boardAfter } from "./ledger-records.js";
import type { BoardRecord, LedgerEvent, LedgerLine } from "./ledger-records.js";

export const LEDGER_FILE = "ledger.jsonl";
const NO_LINE = "0".repeat(64);

export class Ledger {
  readonly #boards = new Map<string, BoardRecord>();
  readonly #idByMac = new Map<string, string>();
  readonly #idByKey = new Map<string, string>();
  readonly #burnt = new Set<string>();
  /** MAC addresses of boards that failed before they got an id. */
  readonly #refusedMacs = new Set<string>();
  readonly #approvedOrders = new Set<string>();
  readonly #listeners = new Set<(line: LedgerLine) => void>();
  #lines = 0;
  #hash = NO_LINE;
  /** Where the last whole line ends. */
  #sizeBytes = 0;

  private constructor(
    readonly directory: string,
    private readonly file: number,
    private readonly lock: ProcessLock,
    private readonly now: () => number,
  ) {}

  /**
   * Opens the ledger in `directory`, which is made if need be, mode 0700. A last line that a power cut left unfinished is dropped: what it
   * was to announce was not done.
   *
   * @throws HawserError `STATION_BUSY` when another station works with it, `LEDGER_CORRUPT` naming the line, `STORAGE_FAILED`,
   *   `STORAGE_FULL`
   */
  static open(directory: string, now: () => number = Date.now): Ledger {
    const path = join(directory, LEDGER_FILE);
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw storageError(error, "create", directory);
    }
    const lock = lockNow(join(directory, "station.lock"), (pid) => busy(directory, pid));
    try {
      const isNew = !existsSync(path);
      const file = openSync(path, "a+", 0o600);
      if (isNew) syncDirectory(directory);
      const ledger = new Ledger(directory, file, lock, now);
      ledger.#read(path);
      return ledger;
    } catch (error) {
      lock.release();
      throw storageError(error, "open", path);
    }
  }

  /** Calls `listener` with each line once it is on the disk; the result ends that. */
  onLine(listener: (line: LedgerLine) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Writes one event; it is on the disk when this returns, or nothing of it is.
   *
   * @throws HawserError `ID_EXISTS`, `DUPLICATE_MAC`, `DUPLICATE_KEY` when it would give a board's id, MAC or key to another board;
   *   `STORAGE_FULL`, `STORAGE_FAILED`
   */
  append(event: LedgerEvent): LedgerLine {
    this.#checkUnique(event);
    const line: LedgerLine = { n: this.#lines + 1, at: new Date(this.now()).toISOString(), prev: this.#hash, ...event };
    const text = JSON.stringify(line);
    const bytes = Buffer.from(`${text}\n`);
    try {
      // What a full disk left of an earlier line.
      if (fstatSync(this.file).size !== this.#sizeBytes) ftruncateSync(this.file, this.#sizeBytes);
      for (let written = 0; written < bytes.length;) written += writeSync(this.file, bytes, written);
      fsyncSync(this.file);
    } catch (error) {
      this.#dropUnfinished();
      throw storageError(error, "write", join(this.directory, LEDGER_FILE));
    }
    this.#sizeBytes += bytes.length;
    this.#take(line, text);
    for (const listener of this.#listeners) listener(line);
    return line;
  }

  board(id: string): BoardRecord | undefined {
    return this.#boards.get(id);
  }

  boardOfMac(mac: string): BoardRecord | undefined {
    return this.board(this.#idByMac.get(mac) ?? "");
  }

  boardOfKey(publicKeyHash: string): BoardRecord | undefined {
    return this.board(this.#idByKey.get(publicKeyHash) ?? "");
  }

  /** In the order of their reservations. */
  boards(): IterableIterator<BoardRecord> {
    return this.#boards.values();
  }

  /** Whether the id was ever given out here, or found to be somebody else's. */
  knowsId(id: string): boolean {
    return this.#boards.has(id) || this.#burnt.has(id);
  }

  /** Boards that failed before they got an id, and have none yet. */
  get refusedCount(): number {
    return this.#refusedMacs.size;
  }

  /** Whether a second person has accepted a first board of this order. */
  isApproved(order: string): boolean {
    return this.#approvedOrders.has(order);
  }

  /** Lines so far, and the hash that stands for all of them. */
  get head(): { readonly lines: number; readonly hash: string } {
    return { lines: this.#lines, hash: this.#hash };
  }

  close(): void {
    closeSync(this.file);
    this.lock.release();
  }

  #read(path: string): void {
    const bytes = readFileSync(path);
    const end = bytes.lastIndexOf(0x0a) + 1;
    const texts = bytes.subarray(0, end).toString("utf8").split("\n").slice(0, -1);
    for (const text of texts) {
      const line = parseLine(text);
      if (line?.n !== this.#lines + 1 || line.prev !== this.#hash) throw corrupt(path, this.#lines + 1);
      this.#take(line, text);
    }
    this.#sizeBytes = end;
    if (bytes.length > end) this.#dropUnfinished();
  }

  #dropUnfinished(): void {
    try {
      ftruncateSync(this.file, this.#sizeBytes);
    } catch {
      // The next write tries again; until then the unfinished line is no line.
    }
  }

  #take(line: LedgerLine, text: string): void {
    this.#lines = line.n;
    this.#hash = hashOf(text);
    if (line.event === "burnt") this.#forget(line.id);
    if (line.event === "failed" && line.id === undefined && line.mac !== undefined) this.#refusedMacs.add(line.mac);
    if (line.event === "reserved" && line.mac !== undefined) this.#refusedMacs.delete(line.mac);
    if (line.event === "approved") this.#approvedOrders.add(line.order);
    if (!("id" in line) || line.id === undefined) return;
    const before = this.#boards.get(line.id);
    const after = boardAfter(before, line);
    if (after === undefined) return;
    if (before?.mac !== undefined && before.mac !== after.mac) this.#idByMac.delete(before.mac);
    this.#boards.set(after.id, after);
    if (after.mac !== undefined) this.#idByMac.set(after.mac, after.id);
    // The old key stays known: a board that shows it again is no other board.
    if (after.publicKeyHash !== undefined) this.#idByKey.set(after.publicKeyHash, after.id);
  }

  /** The id is somebody else's: the board that was to have it is free for another. */
  #forget(id: string): void {
    this.#burnt.add(id);
    const board = this.#boards.get(id);
    this.#boards.delete(id);
    if (board?.mac !== undefined) this.#idByMac.delete(board.mac);
    if (board?.publicKeyHash !== undefined) this.#idByKey.delete(board.publicKeyHash);
  }

  #checkUnique(event: LedgerEvent): void {
    if (event.event === "reserved") {
      const known = this.#boards.get(event.id);
      const isFree = known === undefined || known.mac === undefined || known.mac === event.mac;
      if (!isFree || this.#burnt.has(event.id))
        throw new HawserError(
          "ID_EXISTS",
          `the id ${event.id} belongs to another board`,
          "Use `hawser station replace` to give it to this board.",
        );
      const owner = event.mac === undefined ? undefined : this.boardOfMac(event.mac);
      if (owner !== undefined && owner.id !== event.id) throw duplicate("DUPLICATE_MAC", `the MAC address ${event.mac ?? ""}`, owner.id);
    }
    if (event.event === "step" && event.step === "key") {
      const owner = this.boardOfKey(String(event.facts?.["publicKeyHash"]));
      if (owner !== undefined && owner.id !== event.id) throw duplicate("DUPLICATE_KEY", "the key of this board", owner.id);
    }
  }
}

/** Lines of a ledger that another process may be writing, proved by their chain. Throws `LEDGER_CORRUPT`, `NOT_FOUND`. */
export function readLedger(directory: string): { readonly lines: readonly LedgerLine[]; readonly hashes: readonly string[] } {
  const path = join(directory, LEDGER_FILE);
  if (!existsSync(path))
    throw new HawserError("NOT_FOUND", `no ledger in ${directory}`, "Name the directory that the station was given with --station.");
  const text = readFileSync(path, "utf8");
  const lines: LedgerLine[] = [];
  const hashes: string[] = [];
  for (const one of text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .slice(0, -1)) {
    const line = parseLine(one);
    if (line?.n !== lines.length + 1 || line.prev !== (hashes.at(-1) ?? NO_LINE)) throw corrupt(path, lines.length + 1);
    lines.push(line);
    hashes.push(hashOf(one));
  }
  return { lines, hashes };
}

function parseLine(text: string): LedgerLine | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "event" in value && typeof value.event === "string"
      ? (value as LedgerLine)
      : undefined;
  } catch {
    return undefined;
  }
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function duplicate(code: "DUPLICATE_MAC" | "DUPLICATE_KEY", what: string, id: string): HawserError {
  return new HawserError(code, `${what} belongs to ${id} already`, "Set this board aside: its flash may be a copy of the other board's.");
}

function corrupt(path: string, line: number): HawserError {
  return new HawserError(
    "LEDGER_CORRUPT",
    `line ${line} of ${path} does not continue the lines before it`,
    "Restore the ledger from a backup; do not edit it.",
  );
}

function busy(directory: string, pid: number | undefined): HawserError {
  return new HawserError(
    "STATION_BUSY",
    `${pid === undefined ? "another process" : `process ${pid}`} works with the station in ${directory}`,
    "Stop it, or name another directory with --station.",
  );
}
