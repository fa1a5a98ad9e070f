/** Follows a CA's audit trail: what the authority issued and refused, and who was shut out, each line once. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { errnoCode } from "../../../sim/node/files/atomic-file.js";
import { FILES } from "../../ca-directory/directory-layout.js";
import { parseObject } from "../../ca-directory/registry-entry.js";

/** A change of the CA, as its audit trail has it. */
export interface AuthorityEvent {
  readonly kind: "authority";
  /** What happened, in the trail's word: `enrolled`, `enrolment-refused`, `certificate-revoked` and the others. */
  readonly change: string;
  readonly name?: string;
  /** The trail's other fields, `field=value`. */
  readonly detail?: string;
  readonly timeMs: number;
}

export interface TrailOwner {
  /** @param end offset behind the line that the event was read from */
  event(event: AuthorityEvent, end: number): void;
  /** The trail is shorter than it was: it is not the one that was read. */
  shortened(): void;
}

const CHUNK_BYTES = 256 * 1024;
/** A change of a hundred thousand entries names them all. */
const MOST_LINE_BYTES = 32 * 1024 * 1024;
const MOST_DETAIL = 300;
const LINE_FEED = 0x0a;
/** Told elsewhere, or of no use to a reader of events. */
const INNER: ReadonlySet<string> = new Set(["v", "revision", "at", "event", "name", "entries", "previous"]);

export class TrailTail {
  readonly #path: string;
  readonly #owner: TrailOwner;
  #offset: number | undefined;

  /** @param from where an earlier reader stopped; without it, what is there already is left out */
  constructor(directory: string, owner: TrailOwner, from: number | undefined) {
    this.#path = join(directory, FILES.audit);
    this.#owner = owner;
    this.#offset = from;
  }

  /** Behind the last line that was told; undefined before the first look. */
  get offset(): number | undefined {
    return this.#offset;
  }

  /** Tells of every line that was finished since the last call. A trail that is not there has none. Throws the system's errors. */
  poll(): void {
    let descriptor: number;
    try {
      descriptor = openSync(this.#path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (errnoCode(error) === "ENOENT") return;
      throw error;
    }
    try {
      this.#read(descriptor, fstatSync(descriptor).size);
    } finally {
      closeSync(descriptor);
    }
  }

  #read(descriptor: number, sizeBytes: number): void {
    this.#offset ??= sizeBytes;
    if (sizeBytes < this.#offset) {
      this.#offset = sizeBytes;
      this.#owner.shortened();
    }
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let held: Buffer = Buffer.alloc(0);
    for (let at = this.#offset; at < sizeBytes;) {
      const count = readSync(descriptor, chunk, 0, Math.min(chunk.length, sizeBytes - at), at);
      if (count === 0) return;
      at += count;
      held = Buffer.concat([held, chunk.subarray(0, count)]);
      held = this.#lines(held, at);
      if (held.length > MOST_LINE_BYTES) return;
    }
  }

  /** @returns what is behind the last line feed */
  #lines(bytes: Buffer, endOffset: number): Buffer {
    let from = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, from)) {
      const event = eventOf(bytes.toString("utf8", from, end));
      from = end + 1;
      this.#offset = endOffset - bytes.length + from;
      if (event !== undefined) this.#owner.event(event, this.#offset);
    }
    return bytes.subarray(from);
  }
}

function eventOf(line: string): AuthorityEvent | undefined {
  const fields = parseObject(line);
  const { event: change, at, name } = fields ?? {};
  const timeMs = Date.parse(String(at));
  if (fields === undefined || typeof change !== "string" || Number.isNaN(timeMs)) return undefined;
  const others = Object.entries(fields).filter(([field]) => !INNER.has(field));
  const detail = others.map(([field, value]) => `${field}=${Array.isArray(value) ? value.join(",") : String(value)}`).join(" ");
  return {
    kind: "authority",
    change,
    ...(typeof name === "string" ? { name } : {}),
    ...(detail === "" ? {} : { detail: detail.slice(0, MOST_DETAIL) }),
    timeMs,
  };
}
