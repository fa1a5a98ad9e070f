/**
 * The audit trail: one JSON object a line, each carrying the hash of the line before it, so that no line can be changed, removed or put in
 * between without the rest of the chain telling. The CA's sealed state has a hash over all of it,
 * which shows lines cut off at the end, too.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, fsyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { parseObject } from "./registry-entry.js";

/** What happened, to which name; further fields say more. Never a secret. */
export interface AuditEvent {
  readonly event: string;
  readonly name?: string;
  readonly [detail: string]: string | number | readonly string[] | undefined;
}

/** The "hash before" of the first line. */
export const FIRST_HASH = "0".repeat(64);

const LINE_FEED = 0x0a;
/** Few lines are longer: those of changes that touch every entry. */
const TAIL_BYTES = 64 * 1024;
const CHUNK_BYTES = 256 * 1024;

/** The trail as a whole, as the sealed state has it. */
export interface SealedAudit {
  readonly sizeBytes: number;
  /** SHA-256 of all of it, lower-case hex. */
  readonly sha256: string;
  /** Hash of its last line, or {@link FIRST_HASH}: what the next one follows from. */
  readonly head: string;
}

/** The line for an event, without line feed. */
export function auditLine(previousHash: string, revision: number, at: Date, event: AuditEvent): string {
  return JSON.stringify({ v: 1, revision, at: at.toISOString(), ...event, previous: previousHash });
}

/** An entry in the trail: enough of its digest to tell two contents apart. */
const DIGEST_DIGITS = 16;

/** The event with what the change made of registry entries: by it the trail tells which entry is not what it was. */
export function withEntries(event: AuditEvent, changes: ReadonlyMap<string, { readonly digest: string } | undefined>): AuditEvent {
  if (changes.size === 0) return event;
  return { ...event, entries: [...changes].map(([name, change]) => `${name} ${change?.digest.slice(0, DIGEST_DIGITS) ?? "-"}`) };
}

/** What the trail says of every entry there should be, by name. To be compared by {@link isEntryAsTold}. */
export function entriesTold(text: string): Map<string, string> {
  const told = new Map<string, string>();
  for (const line of text.split("\n")) {
    const entries = line.includes('"entries":') ? parseObject(line)?.["entries"] : undefined;
    for (const entry of Array.isArray(entries) ? (entries as unknown[]) : []) {
      const [name = "", digest = ""] = String(entry).split(" ");
      if (digest === "-") told.delete(name);
      else told.set(name, digest);
    }
  }
  return told;
}

export function isEntryAsTold(told: string | undefined, digest: string | undefined): boolean {
  return told === digest?.slice(0, DIGEST_DIGITS);
}

export function hashOfLine(line: string): string {
  return createHash("sha256").update(line).digest("hex");
}

/** The hash over a trail that grows: a line more costs that line. */
export class AuditDigest {
  #hash = createHash("sha256");
  #sizeBytes = 0;
  #lastLine = "";

  get sealed(): SealedAudit {
    return {
      sizeBytes: this.#sizeBytes,
      sha256: this.#hash.copy().digest("hex"),
      head: this.#lastLine === "" ? FIRST_HASH : hashOfLine(this.#lastLine),
    };
  }

  /** What {@link sealed} will be with `line`, which is without its line feed. */
  with(line: string): SealedAudit {
    const bytes = Buffer.from(`${line}\n`, "utf8");
    return { sizeBytes: this.#sizeBytes + bytes.length, sha256: this.#hash.copy().update(bytes).digest("hex"), head: hashOfLine(line) };
  }

  /** Takes in what the file has beyond what was taken in before. Its beginning is not read again. */
  catchUp(path: string): void {
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      for (let count = -1; count !== 0;) {
        count = readSync(descriptor, chunk, 0, chunk.length, this.#sizeBytes);
        this.#hash.update(chunk.subarray(0, count));
        this.#sizeBytes += count;
      }
      this.#lastLine = readLastLine(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }
}

/**
 * Appends a line, durably, after the first `sizeBytes`; what a crash left behind those is cut off. Doing it twice does no harm.
 *
 * @throws Error when the trail is shorter than that
 */
export function appendAuditLine(path: string, sizeBytes: number, line: string): void {
  const descriptor = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    if (fstatSync(descriptor).size < sizeBytes) throw new Error("it is shorter than it was");
    ftruncateSync(descriptor, sizeBytes);
    const bytes = Buffer.from(`${line}\n`, "utf8");
    for (let written = 0; written < bytes.length;)
      written += writeSync(descriptor, bytes, written, bytes.length - written, sizeBytes + written);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * At most so many bytes of a trail's end, read anew; the first line may be half a line unless it is the whole trail. Throws as
 * {@link readAuditHead}.
 */
export function readAuditTail(path: string, bytes: number): { readonly text: string; readonly isWhole: boolean } {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = fstatSync(descriptor);
    return { text: tailOf(descriptor, size, bytes).toString("utf8"), isWhole: size <= bytes };
  } finally {
    closeSync(descriptor);
  }
}

/** Less than that where the trail was cut meanwhile. */
function tailOf(descriptor: number, sizeBytes: number, bytes: number): Buffer {
  const tail = Buffer.alloc(Math.min(sizeBytes, bytes));
  return tail.subarray(0, readSync(descriptor, tail, 0, tail.length, sizeBytes - tail.length));
}

/** Where a trail ends. Throws the system's errors, `ELOOP` for a link. */
export function readAuditHead(path: string): Pick<SealedAudit, "sizeBytes" | "head"> {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const line = readLastLine(descriptor);
    return { sizeBytes: fstatSync(descriptor).size, head: line === "" ? FIRST_HASH : hashOfLine(line) };
  } finally {
    closeSync(descriptor);
  }
}

/** Without its line feed; empty when the trail does not end with a line. */
function readLastLine(descriptor: number): string {
  const sizeBytes = fstatSync(descriptor).size;
  for (let tailBytes = TAIL_BYTES; ; tailBytes *= 4) {
    const tail = tailOf(descriptor, sizeBytes, tailBytes);
    const end = tail.length - 1;
    if (end < 0 || tail[end] !== LINE_FEED) return "";
    const start = end === 0 ? 0 : tail.lastIndexOf(LINE_FEED, end - 1) + 1;
    if (start > 0 || tailBytes >= sizeBytes) return tail.toString("utf8", start, end);
  }
}

export type AuditVerdict =
  | { readonly ok: true; readonly lines: number; readonly head: string }
  | { readonly ok: false; readonly line: number; readonly problem: string };

/** Checks a whole trail. `expectedHead`: the head another place remembers, when there is one. */
export function verifyAuditText(text: string, expectedHead?: string): AuditVerdict {
  let previous = FIRST_HASH;
  const lines = text.split("\n");
  if (lines.pop() !== "") return { ok: false, line: lines.length + 1, problem: "the last line is not finished" };
  for (const [index, line] of lines.entries()) {
    const record = parseObject(line);
    if (record === undefined) return { ok: false, line: index + 1, problem: "the line is not a JSON object" };
    if (record["previous"] !== previous) return { ok: false, line: index + 1, problem: "the line does not follow from the one before it" };
    previous = hashOfLine(line);
  }
  if (expectedHead !== undefined && expectedHead !== previous)
    return { ok: false, line: lines.length, problem: "the trail does not end where the CA says it does" };
  return { ok: true, lines: lines.length, head: previous };
}
