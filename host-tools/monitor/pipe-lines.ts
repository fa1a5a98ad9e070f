/** Divides what comes through a pipe into lines, as `LogTail` does for a file: at line feeds alone, and within a bound. */
import { MAX_LINE_BYTES } from "./log-tail.js";

export interface PipeOwner {
  /** A line without its line feed. */
  line(text: string): void;
  /** A line longer than {@link MAX_LINE_BYTES} has begun: all of it is dropped. */
  tooLong(): void;
}

const LINE_FEED = 0x0a;

export class PipeLines {
  readonly #owner: PipeOwner;
  /** The beginning of a line whose end is still to come; never longer than the bound. */
  #rest: Buffer = Buffer.alloc(0);
  #isTooLong = false;

  constructor(owner: PipeOwner) {
    this.#owner = owner;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, at)) {
      this.#take(bytes.subarray(at, end));
      this.#isTooLong = false;
      at = end + 1;
    }
    const rest = bytes.subarray(at);
    if (rest.length > MAX_LINE_BYTES) this.#drop();
    // A copy: a view would keep all of the chunk.
    this.#rest = this.#isTooLong ? Buffer.alloc(0) : Buffer.from(rest);
  }

  /** The pipe was closed: what has no line feed counts as a line. */
  end(): void {
    if (this.#rest.length > 0) this.#take(this.#rest);
    this.#rest = Buffer.alloc(0);
  }

  #take(bytes: Buffer): void {
    if (bytes.length > MAX_LINE_BYTES) this.#drop();
    if (!this.#isTooLong) this.#owner.line(bytes.toString("utf8"));
  }

  #drop(): void {
    if (!this.#isTooLong) this.#owner.tooLong();
    this.#isTooLong = true;
  }
}
