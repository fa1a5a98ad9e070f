/** A log on disk and its rotated generations: which files they are, in which order they were written, and how each is read. */
import { closeSync, constants, createReadStream, fstatSync, openSync, readdirSync, readSync, realpathSync } from "node:fs";
import type { Stats } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { createGunzip } from "node:zlib";
import { createHash } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode } from "../../sim/node/files/atomic-file.js";

/** How much of a file's beginning tells it from other generations. */
export const HEAD_BYTES = 1024;
const CHUNK_BYTES = 256 * 1024;

/** One file of a log, open. A rename or removal does not take it away from its reader. */
export class LogGeneration {
  readonly #descriptor: number;
  readonly #status: Stats;
  #isClosed = false;

  private constructor(
    readonly path: string,
    readonly isCompressed: boolean,
    descriptor: number,
  ) {
    this.#descriptor = descriptor;
    this.#status = fstatSync(descriptor);
  }

  /**
   * @returns undefined when the file is not there
   * @throws HawserError `NOT_A_LOG_FILE` for a pipe, device or directory; the file system's error
   */
  static open(path: string): LogGeneration | undefined {
    let descriptor: number;
    try {
      descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (errnoCode(error) === "ENOENT") return undefined;
      throw error;
    }
    const generation = new LogGeneration(path, path.endsWith(".gz"), descriptor);
    if (generation.#status.isFile()) return generation;
    generation.close();
    throw new HawserError(
      "NOT_A_LOG_FILE",
      `${path} is not a regular file`,
      "For a pipe or the journal, write to hawser's standard input and pass --log -.",
    );
  }

  get inode(): number {
    return this.#status.ino;
  }

  isSameFileAs(other: LogGeneration): boolean {
    return this.#status.ino === other.#status.ino && this.#status.dev === other.#status.dev;
  }

  /** Bytes on disk now. */
  get sizeBytes(): number {
    return fstatSync(this.#descriptor).size;
  }

  get modifiedMs(): number {
    return fstatSync(this.#descriptor).mtimeMs;
  }

  /** The first bytes of the log's text, at most {@link HEAD_BYTES}. A damaged file has none. */
  async head(): Promise<Buffer> {
    const parts: Buffer[] = [];
    let sizeBytes = 0;
    try {
      for await (const part of this.#bytes(0, HEAD_BYTES)) {
        parts.push(part);
        sizeBytes += part.length;
        if (sizeBytes >= HEAD_BYTES) break;
      }
    } catch {
      return Buffer.alloc(0);
    }
    return Buffer.concat(parts).subarray(0, HEAD_BYTES);
  }

  /** The log's text from `offset` to its present end. Throws what zlib throws for a damaged file. */
  async *read(offset: number): AsyncGenerator<Buffer> {
    let skipped = 0;
    for await (const part of this.#bytes(this.isCompressed ? 0 : offset, CHUNK_BYTES)) {
      if (!this.isCompressed || skipped >= offset) yield part;
      else if (skipped + part.length > offset) yield part.subarray(offset - skipped);
      skipped += part.length;
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#descriptor);
  }

  async *#bytes(from: number, chunkBytes: number): AsyncGenerator<Buffer> {
    if (this.isCompressed) {
      const file = createReadStream("", { fd: this.#descriptor, start: 0, autoClose: false });
      const text = createGunzip();
      file.on("error", (error) => text.destroy(error));
      try {
        for await (const part of file.pipe(text)) yield part as Buffer;
      } finally {
        file.unpipe(text);
        text.destroy();
      }
      return;
    }
    for (let at = from; ;) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const taken = readSync(this.#descriptor, chunk, 0, chunkBytes, at);
      if (taken === 0) return;
      at += taken;
      yield chunk.subarray(0, taken);
    }
  }
}

/** Everything of a log at one moment. */
export interface LogFiles {
  /** The generations that are over, oldest first. */
  readonly rotated: readonly LogGeneration[];
  /** The file the log's name leads to; undefined when there is none. */
  readonly current: LogGeneration | undefined;
  /** Generations compressed in a way that cannot be read here. */
  readonly unreadable: readonly string[];
}

/** While files are renamed a listing fits nothing; rotation is over in milliseconds. */
const MAX_LISTINGS = 50;

/** Opens a log with all its generations, as they are at one moment even while they are being rotated. */
export function openLogFiles(log: string): LogFiles {
  const path = realPath(log);
  for (let turn = 1; ; turn += 1) {
    const { readable, unreadable } = rotatedNames(path);
    const rotated = readable.map((name) => LogGeneration.open(join(dirname(path), name)));
    const current = LogGeneration.open(path);
    const files = rotated.filter((file) => file !== undefined);
    if (files.length === rotated.length && isStill(path, current, files, readable))
      return { rotated: inOrder(path, files), current, unreadable };
    for (const file of [...files, current]) file?.close();
    if (turn === MAX_LISTINGS)
      throw new HawserError(
        "LOG_UNREADABLE",
        `the files beside ${path} keep changing their names`,
        "Check what rotates them: it should rename each file once.",
      );
  }
}

export function closeLogFiles({ rotated, current }: LogFiles, keep?: LogGeneration): void {
  for (const file of [...rotated, current]) if (file !== keep) file?.close();
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function isStill(path: string, current: LogGeneration | undefined, files: readonly LogGeneration[], names: readonly string[]): boolean {
  const now = rotatedNames(path).readable;
  if (now.join("\n") !== names.join("\n")) return false;
  return [...files, ...(current === undefined ? [] : [current])].every((file) => {
    const again = LogGeneration.open(file.path);
    try {
      return again !== undefined && again.isSameFileAs(file);
    } finally {
      again?.close();
    }
  });
}

/** What logrotate, newsyslog and people call an old log: `x.log.1`, `x.log.2.gz`, `x.log-20261128`, `x-20261128.log`, `x.log.old`. */
const AGE = "[.-](old|\\d[\\dT._:-]*)";

function rotatedNames(path: string): { readable: string[]; unreadable: string[] } {
  const name = basename(path);
  const extension = extname(name);
  const stem = name.slice(0, name.length - extension.length);
  const quote = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = new RegExp(`^(?:${quote(name)}${AGE}|${quote(stem)}${AGE}${quote(extension)})(\\.(?:gz|xz|bz2|zst|lz4|Z))?$`);
  let names: string[];
  try {
    names = readdirSync(dirname(path)).sort();
  } catch (error) {
    if (errnoCode(error) === "ENOENT") return { readable: [], unreadable: [] };
    throw error;
  }
  const found = names.filter((other) => other !== name && pattern.test(other));
  const compressed = (other: string): string => pattern.exec(other)?.[3] ?? "";
  // While it is compressed, both forms are there, and the compressed one is not complete.
  const whole = found.filter((other) => compressed(other) === "" || !found.includes(other.slice(0, -compressed(other).length)));
  return {
    readable: whole.filter((other) => ["", ".gz"].includes(compressed(other))),
    unreadable: whole.filter((other) => !["", ".gz"].includes(compressed(other))),
  };
}

/** Oldest first: by number where all are numbered (the highest is the oldest), else by the time of their last change. */
function inOrder(path: string, files: readonly LogGeneration[]): LogGeneration[] {
  const number = (file: LogGeneration): number =>
    Number(/^[.-](\d{1,5})(?:\.gz)?$/.exec(basename(file.path).slice(basename(path).length))?.[1] ?? Number.NaN);
  if (files.every((file) => !Number.isNaN(number(file)))) return [...files].sort((a, b) => number(b) - number(a));
  return [...files].sort((a, b) => a.modifiedMs - b.modifiedMs || a.path.localeCompare(b.path));
}

/** Stands for the first bytes of a log. */
export function headDigest(head: Uint8Array): string {
  return createHash("sha256").update(head).digest("hex").slice(0, 16);
}
