/**
 * What a connection is about to send. All that is written in one turn of the event loop goes out in one piece: many small writes are what
 * makes a client slow.
 */
import { ByteWriter } from "../codec/byte-writer.js";

/** Memory taken at a time; a burst takes more and gives it back. */
const PIECE_BYTES = 128;
/** From here on a piece goes out at once, so that the link can say that it has enough. */
const FLUSH_BYTES = 16_384;
/** Steps of the promise queue without new output after which the turn's work is taken for done: an `await` or two in a handler fits in. */
const QUIET_STEPS = 8;

/** What an output asks of its connection. */
export interface OutputOwner {
  /** Sends bytes; false when the link has enough for now. */
  writeToLink(bytes: Uint8Array): boolean;
  /** Makes durable what must be before bytes go out, and may write more. */
  beforeFlush(): void;
}

export class Output {
  readonly writer: ByteWriter;
  #isScheduled = false;
  #isBlocked = false;
  #isClosed = false;
  #seenBytes = 0;
  #quietSteps = 0;

  constructor(private readonly owner: OutputOwner) {
    this.writer = new ByteWriter(PIECE_BYTES);
  }

  /** False while the link has enough: then only what the protocol owes is written. */
  get isWritable(): boolean {
    return !this.#isBlocked && !this.#isClosed;
  }

  /** Something was written, or is due before the next piece goes out. */
  touched(): void {
    if (this.#isClosed) return;
    if (this.writer.sizeBytes >= FLUSH_BYTES) this.flush();
    else if (!this.#isScheduled) {
      this.#isScheduled = true;
      this.#seenBytes = -1;
      this.#step();
    }
  }

  drained(): void {
    this.#isBlocked = false;
    this.flush();
  }

  /** Sends what is written, unless the link has enough. */
  flush(): void {
    if (this.#isClosed) return;
    this.owner.beforeFlush();
    if (this.#isBlocked || this.writer.sizeBytes === 0) return;
    this.#isBlocked = !this.owner.writeToLink(this.writer.take());
  }

  /** Sends what is written although the link has enough, and nothing more after it. */
  close(): void {
    if (this.#isClosed) return;
    this.#isBlocked = false;
    this.flush();
    this.#isClosed = true;
  }

  /** Sends nothing more. */
  discard(): void {
    this.#isClosed = true;
  }

  readonly #step = (): void => {
    if (this.#seenBytes === this.writer.sizeBytes) this.#quietSteps++;
    else {
      this.#seenBytes = this.writer.sizeBytes;
      this.#quietSteps = 0;
    }
    if (this.#quietSteps < QUIET_STEPS) {
      void settled.then(this.#step);
      return;
    }
    this.#isScheduled = false;
    this.flush();
  };
}

const settled = Promise.resolve();
