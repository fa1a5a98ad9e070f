/**
 * The audit trail: one JSON object a line, each carrying the hash of the line before it, so that no line can be changed, removed or put in
 * between without the rest of the chain telling. The head of the chain also stands in the CA's `revision` file, which shows lines cut off at the end.
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
/** No line is near this long. */
const TAIL_BYTES = 64 * 1024;

export interface AuditHead {
  /** SHA-256 of the last line, or {@link FIRST_HASH}. */
  readonly hash: string;
  /** The revision the last line belongs to; 0 when there is none. */
  readonly revision: number;
}

/** The line for an event, without line feed. */
export function auditLine(previousHash: string, revision: number, at: Date, event: AuditEvent): string {
  return JSON.stringify({ v: 1, revision, at: at.toISOString(), ...event, previous: previousHash });
}

export function hashOfLine(line: string): string {
  return createHash("sha256").update(line).digest("hex");
}

/** The end of the chain. A last line without its line feed was never finished and does not count. */
export function readAuditHead(path: string): AuditHead {
  const descriptor = openSync(path, constants.O_RDONLY);
  try {
    const { lastLine } = readTail(descriptor);
    if (lastLine === undefined) return { hash: FIRST_HASH, revision: 0 };
    const revision = parseObject(lastLine)?.["revision"];
    return { hash: hashOfLine(lastLine), revision: typeof revision === "number" ? revision : 0 };
  } finally {
    closeSync(descriptor);
  }
}

/** Appends a line, durably; an unfinished line that a crash left is cut off first. */
export function appendAuditLine(path: string, line: string): void {
  const descriptor = openSync(path, constants.O_RDWR);
  try {
    const { finishedBytes } = readTail(descriptor);
    ftruncateSync(descriptor, finishedBytes);
    const bytes = Buffer.from(`${line}\n`, "utf8");
    for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written, bytes.length - written, finishedBytes + written);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function readTail(descriptor: number): { lastLine: string | undefined; finishedBytes: number } {
  const sizeBytes = fstatSync(descriptor).size;
  const tail = Buffer.alloc(Math.min(sizeBytes, TAIL_BYTES));
  readSync(descriptor, tail, 0, tail.length, sizeBytes - tail.length);
  const end = tail.lastIndexOf(LINE_FEED);
  if (end < 0) return { lastLine: undefined, finishedBytes: 0 };
  const start = end === 0 ? 0 : tail.lastIndexOf(LINE_FEED, end - 1) + 1;
  return { lastLine: tail.toString("utf8", start, end), finishedBytes: sizeBytes - tail.length + end + 1 };
}

export type AuditVerdict = { readonly ok: true; readonly lines: number; readonly head: string } | { readonly ok: false; readonly line: number; readonly problem: string };

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
  if (expectedHead !== undefined && expectedHead !== previous) return { ok: false, line: lines.length, problem: "the trail does not end where the CA says it does" };
  return { ok: true, lines: lines.length, head: previous };
}
