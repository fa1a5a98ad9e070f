/**
 * Follows a log through its rotations: rename, copy and truncate, compression, several between two looks, and the reader's
 * own restart. Every complete line comes once; what cannot be found again is reported as a gap.
 */
import { closeLogFiles, HEAD_BYTES, headDigest, LogGeneration, openLogFiles } from "./log-generations.js";
import type { LogFiles } from "./log-generations.js";

/** A place in a log that is found again after rotations and restarts. */
export interface LogPosition {
  readonly inode: number;
  /** Bytes of the generation's text that were read. */
  readonly offset: number;
  /** Digest of the generation's first bytes, `min(offset, 1024)` of them: an inode alone may be another file's by now. */
  readonly head: string;
  /** When the generation had last been changed, for the case that it is gone. */
  readonly modifiedMs: number;
}

export interface TailOwner {
  /** A line without its line feed. @param end offset behind it, for {@link LogTail.positionAt} */
  line(text: string, end: number): void;
  /** A generation is over: positions of earlier lines can be asked for a last time. */
  generationEnded(): void;
  /** Lines that were written are lost, as far as can be told. */
  gap(detail: string): void;
}

/** mosquitto cuts its lines at a few hundred bytes; what is longer is not its. */
export const MAX_LINE_BYTES = 8192;
const LINE_FEED = 0x0a;

interface Open {
  readonly file: LogGeneration;
  head: Buffer;
  /** Of the head, once it is complete: asked for with each event. */
  digest?: string;
  /** Behind the last complete line that was handed on. */
  offset: number;
  /** When the file had been changed, as of the last look. */
  modifiedMs: number;
  /** Inside a line that is longer than any of mosquitto's: its end is to be skipped. */
  isTooLong: boolean;
}

export class LogTail {
  readonly #path: string;
  readonly #owner: TailOwner;
  #from: LogPosition | undefined;
  #open: Open | undefined;

  /** @param from where to resume; the beginning of the current file when left out */
  constructor(path: string, owner: TailOwner, from?: LogPosition) {
    this.#path = path;
    this.#owner = owner;
    this.#from = from;
  }

  /** The place behind the last line that was handed on; undefined before the log was there. */
  get position(): LogPosition | undefined {
    return this.#open === undefined ? this.#from : this.positionAt(this.#open.offset);
  }

  /** @param end as given to {@link TailOwner.line}, of the present generation */
  positionAt(end: number): LogPosition {
    const open = this.#open;
    if (open === undefined) throw new Error("the log is not open");
    const isComplete = end >= HEAD_BYTES && open.head.length === HEAD_BYTES;
    const head = isComplete ? (open.digest ??= headDigest(open.head)) : headDigest(open.head.subarray(0, Math.min(end, HEAD_BYTES)));
    return { inode: open.file.inode, offset: end, head, modifiedMs: open.modifiedMs };
  }

  /** Sets the reader behind all that is there now. */
  async skipToEnd(): Promise<void> {
    const file = LogGeneration.open(this.#path);
    if (file !== undefined) await this.#begin(file, file.sizeBytes);
  }

  /**
   * Hands on every complete line that has been written since the last call.
   * @throws HawserError `NOT_A_LOG_FILE`, `LOG_UNREADABLE`; the file system's error
   */
  async poll(): Promise<void> {
    // Of a file of which nothing was read yet, only its neighbours tell whether it was filled, copied and truncated.
    if (this.#open !== undefined && this.#open.offset > 0 && (await this.#isCurrent(this.#open))) return this.#readOn(this.#open, false);
    await this.#moveOn();
  }

  close(): void {
    this.#open?.file.close();
    this.#open = undefined;
  }

  /** Whether the open generation still is the one that the log's name leads to, and nothing was taken from it. */
  async #isCurrent(open: Open): Promise<boolean> {
    const named = LogGeneration.open(this.#path);
    if (named === undefined) return false;
    const isSame = named.isSameFileAs(open.file);
    named.close();
    return isSame && (await isIntact(open));
  }

  /** The log was rotated, or it is the first look: reads the old generation's rest, those after it, and the present one. */
  async #moveOn(): Promise<void> {
    const position = this.position;
    const files = openLogFiles(this.#path);
    const held = this.#open;
    try {
      if (position === undefined) {
        if (files.current !== undefined) await this.#readFrom(files.current, 0);
        return;
      }
      // A rename leaves the old generation open here, whatever became of its name.
      const isHeld = held !== undefined && (await isIntact(held));
      const isUnread = isHeld && position.offset === 0;
      const found = await this.#locate(
        isUnread ? { ...position, offset: held.file.sizeBytes, head: headDigest(await held.file.head()) } : position,
        files,
      );
      if (found !== undefined && found === files.current && position.offset > 0) return await this.#readFrom(found, position.offset);
      const at = files.rotated.findIndex((file) => file === found || (isHeld && file.isSameFileAs(held.file)));
      const isNewer = (file: LogGeneration): boolean => file.modifiedMs > position.modifiedMs;
      const newer = at < 0 ? files.rotated.filter(isNewer) : files.rotated.slice(at + 1);
      const isNamed = files.current !== undefined && (found === files.current || (isHeld && held.file.isSameFileAs(files.current)));
      if (isNamed && newer.length === 0) return await this.#readFrom(files.current, 0);
      // Copies of what was in this file before anything of it was read.
      const copies = position.offset === 0 && at > 0 ? files.rotated.slice(0, at).filter(isNewer) : [];
      for (const file of copies) await this.#readFrom(file, 0, true);
      const old = isNamed ? undefined : copies.length > 0 ? files.rotated[at] : isHeld ? held.file : found;
      const isEmpty = files.current === undefined || files.current.sizeBytes === 0;
      if (old !== undefined) {
        if (old !== held?.file) await this.#begin(old, position.offset);
        // Until the broker opens the new file it still writes to the old one.
        const isOver = old.isCompressed || !isEmpty || newer.length > 0;
        if (this.#open !== undefined) await this.#readOn(this.#open, isOver);
        if (!isOver) return;
      } else if (position.offset > 0) {
        const others = files.unreadable.length === 0 ? "" : `; ${files.unreadable.join(", ")} cannot be read (use gzip)`;
        this.#owner.gap(`the rest of a log file that was removed or changed after byte ${position.offset}${others}`);
      }
      for (const file of newer) await this.#readFrom(file, 0, true);
      if (files.current !== undefined) return await this.#readFrom(files.current, 0);
      if (old !== undefined || newer.length > 0) return;
      this.close();
      this.#from = { inode: 0, offset: 0, head: headDigest(Buffer.alloc(0)), modifiedMs: position.modifiedMs };
    } finally {
      closeLogFiles(files, this.#open?.file);
    }
  }

  /** The generation that a position is in: the same file, else a copy of it. */
  async #locate({ inode, offset, head }: LogPosition, { rotated, current }: LogFiles): Promise<LogGeneration | undefined> {
    const files = current === undefined ? rotated : [current, ...rotated];
    const isOurs = async (file: LogGeneration): Promise<boolean> => {
      // A copy may lack what was read between copying and truncating: then nothing of it is left to read.
      if (file === current && file.sizeBytes < offset) return false;
      return headDigest((await file.head()).subarray(0, Math.min(offset, HEAD_BYTES))) === head;
    };
    for (const file of files) if (file.inode === inode && (await isOurs(file))) return file;
    if (offset === 0) return undefined;
    for (const file of files) if (file.inode !== inode && (await isOurs(file))) return file;
    return undefined;
  }

  async #readFrom(file: LogGeneration, offset: number, isOver = false): Promise<void> {
    await this.#begin(file, offset);
    if (this.#open !== undefined) await this.#readOn(this.#open, isOver);
  }

  async #begin(file: LogGeneration, offset: number): Promise<void> {
    if (this.#open !== undefined) {
      this.#owner.generationEnded();
      if (this.#open.file !== file) this.#open.file.close();
    }
    this.#open = { file, offset, head: await file.head(), modifiedMs: file.modifiedMs, isTooLong: false };
  }

  /** @param isOver nothing more will be written: an unfinished line counts as one */
  async #readOn(open: Open, isOver: boolean): Promise<void> {
    open.modifiedMs = open.file.modifiedMs;
    if (open.head.length < HEAD_BYTES) open.head = await open.file.head();
    let rest: Buffer = Buffer.alloc(0);
    try {
      for await (const chunk of open.file.read(open.offset)) {
        const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        let at = 0;
        for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, at)) {
          open.offset += end + 1 - at;
          if (!open.isTooLong && end - at <= MAX_LINE_BYTES) this.#owner.line(bytes.toString("utf8", at, end), open.offset);
          open.isTooLong = false;
          at = end + 1;
        }
        rest = bytes.subarray(at);
        if (rest.length > MAX_LINE_BYTES) {
          open.offset += rest.length;
          rest = Buffer.alloc(0);
          open.isTooLong = true;
        }
        // Others get their turn: a log of a gigabyte is read in one go after a long absence.
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      if (!open.file.isCompressed) throw error;
      this.#owner.gap(`${open.file.path} is damaged behind byte ${open.offset} of its text`);
      return;
    }
    if (isOver && rest.length > 0) {
      open.offset += rest.length;
      if (!open.isTooLong) this.#owner.line(rest.toString("utf8"), open.offset);
    }
  }
}

/** Whether what was read of a generation is still there: copy and truncate takes it away. */
async function isIntact({ file, head, offset }: Open): Promise<boolean> {
  return (
    file.isCompressed ||
    (file.sizeBytes >= offset &&
      (await file.head()).subarray(0, Math.min(head.length, offset)).equals(head.subarray(0, Math.min(head.length, offset))))
  );
}
