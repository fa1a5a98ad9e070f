/**
 * A change to a CA directory as a whole: written to the journal first, then done, then struck off. Whoever finds a journal finishes it;
 * doing any part of it twice does no harm. So a change either never happened or happens completely, wherever its process was stopped. A
 * journal carries a MAC under the CA's own key and names the state it starts from: nobody else can have a change finished, nor one that was
 * made before.
 */
import { randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { errorMessage } from "../../sdk/errors.js";
import { storageError, temporaryPath, unlinkIfThere, writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { appendAuditLine } from "./audit-trail.js";
import type { CaDirectory } from "./ca-directory.js";
import { corrupt, FILES, isRegistryPart, isSealedFile } from "./directory-layout.js";
import { allottedBytes, BLOCK_BYTES } from "./file-parts.js";
import { parseObject } from "./registry-entry.js";
import { registryParts } from "./registry-parts.js";
import type { RegistryParts } from "./registry-parts.js";
import { macMatches, macOf, parseState, registryKindOf } from "./sealed-state.js";

export interface Journal {
  readonly v: 2;
  /** SHA-256 of the state's text before this change. */
  readonly base: string;
  /** The state's text after it. */
  readonly state: string;
  /** Where the audit trail ended before it. */
  readonly auditSizeBytes: number;
  readonly auditLine: string;
  /** Content by path below the CA directory, base64. */
  readonly writes: Readonly<Record<string, string>>;
  readonly removes: readonly string[];
}

export interface Revision {
  readonly number: number;
  /** Head of the audit trail after that change. */
  readonly auditHash: string;
}

export function isJournalThere(directory: CaDirectory): boolean {
  return existsSync(directory.pathOf(FILES.journal));
}

const PURPOSE = "journal";

function canonical({ base, state, auditSizeBytes, auditLine, writes, removes }: Journal): string {
  return JSON.stringify({ v: 2, base, state, auditSizeBytes, auditLine, writes, removes });
}

/** A change that is ready to be written, and for which there is room on the disk until {@link write} or {@link drop}. */
export class PreparedChange {
  readonly text: string;
  readonly #path: string;
  readonly #room: string;

  /**
   * @param keys by one of which it can be finished: two when the change is one of the key itself
   * @throws HawserError `STORAGE_FULL`, `STORAGE_FAILED`
   */
  constructor(
    directory: CaDirectory,
    keys: readonly Uint8Array[],
    readonly journal: Journal,
  ) {
    const body = canonical(journal);
    this.text = `${body.slice(0, -1)},"macs":${JSON.stringify(keys.map((key) => macOf(key, PURPOSE, body)))}}\n`;
    this.#path = directory.pathOf(FILES.journal);
    this.#room = temporaryPath(this.#path);
    takeRoom(this.#room, roomBytes(partsOf(directory, journal), journal) + allottedBytes([this.text.length]));
  }

  /** From here on the change will happen. */
  write(): void {
    this.drop();
    writeFileAtomic(this.#path, this.text);
  }

  /** The room is others' again. */
  drop(): void {
    unlinkIfThere(this.#room);
  }
}

/** A full disk stops a change here, not half-way. Random, because some file systems have room for any number of zeros. */
function takeRoom(path: string, sizeBytes: number): void {
  try {
    writeFileSync(path, randomBytes(sizeBytes), { flag: "wx", mode: 0o600 });
  } catch (error) {
    unlinkIfThere(path);
    throw storageError(error, "write", path);
  }
}

/**
 * Writes the journal of a change that another machine made. Throws as {@link PreparedChange}.
 *
 * @param text proved by {@link parseJournal}
 */
export function writeForeignJournal(directory: CaDirectory, journal: Journal, text: string): void {
  const path = directory.pathOf(FILES.journal);
  const room = temporaryPath(path);
  takeRoom(room, roomBytes(partsOf(directory, journal), journal) + allottedBytes([text.length]));
  unlinkIfThere(room);
  writeFileAtomic(path, text);
}

/** At most: every file whole beside its old self, the audit line, state and revision, and what the registry takes. */
function roomBytes(parts: RegistryParts, { writes, removes, auditLine, state }: Journal): number {
  const sizesOf = (isWanted: (path: string) => boolean): number[] =>
    Object.entries(writes).flatMap(([path, content]) => (isWanted(path) ? [Buffer.byteLength(content, "base64")] : []));
  const sizes = [...sizesOf((path) => !isRegistryPart(path)), auditLine.length, state.length, BLOCK_BYTES];
  return allottedBytes(sizes) + parts.roomBytes([...sizesOf(isRegistryPart), ...removes.filter(isRegistryPart).map(() => 0)]);
}

/** Where the registry is once the change is done. */
function partsOf(directory: CaDirectory, { state }: Journal): RegistryParts {
  return registryParts(directory, registryKindOf(parseState(state) ?? {}));
}

/**
 * The unfinished change, if there is one.
 *
 * @throws HawserError `CA_CORRUPT` when it was not written by whoever has the key
 */
export function readJournal(directory: CaDirectory, key: Uint8Array): Journal | undefined {
  if (!isJournalThere(directory)) return undefined;
  const journal = parseJournal(directory.readUnprovedText(FILES.journal), key);
  if (typeof journal === "string") throw directory.corrupt(FILES.journal, journal);
  return journal;
}

/** The journal in a text; else why the holder of the key did not write it. */
export function parseJournal(text: string, key: Uint8Array): Journal | string {
  const { v, base, state, auditSizeBytes, auditLine, writes, removes, macs } = parseObject(text) ?? {};
  const isSound =
    v === 2 && typeof base === "string" && typeof state === "string" && typeof auditSizeBytes === "number" && typeof auditLine === "string";
  if (!isSound || !isPathMap(writes) || !Array.isArray(removes) || !removes.every(isOurs) || !Array.isArray(macs))
    return "it is not a journal";
  const journal: Journal = { v, base, state, auditSizeBytes, auditLine, writes, removes };
  const body = canonical(journal);
  return macs.some((mac) => macMatches(key, PURPOSE, body, mac)) ? journal : "it was not written by this CA";
}

/** Brings the directory to what the journal says, its state last. {@link finishJournal} is left to do. */
export function applyJournal(directory: CaDirectory, journal: Journal): void {
  const writes = Object.entries(journal.writes).map(([path, content]) => [path, Buffer.from(content, "base64")] as const);
  partsOf(directory, journal).apply(
    new Map(writes.filter(([path]) => isRegistryPart(path))),
    journal.removes.filter((path) => isRegistryPart(path)),
  );
  for (const [path, content] of writes) if (!isRegistryPart(path)) directory.write(path, content);
  for (const path of journal.removes) if (!isRegistryPart(path)) directory.remove(path);
  append(directory.pathOf(FILES.audit), journal);
  directory.write(FILES.state, journal.state);
}

function append(audit: string, { auditSizeBytes, auditLine }: Journal): void {
  try {
    appendAuditLine(audit, auditSizeBytes, auditLine);
  } catch (error) {
    if (error instanceof Error && !("code" in error)) throw corrupt(audit, errorMessage(error));
    throw storageError(error, "write", audit);
  }
}

/** Tells the watchers and strikes the change off. */
export function finishJournal(directory: CaDirectory, revision: Revision): void {
  directory.write(FILES.revision, revisionText(revision));
  directory.remove(FILES.journal);
}

export function revisionText(revision: Revision): string {
  return `${revision.number} ${revision.auditHash}\n`;
}

/** @throws HawserError `CA_CORRUPT` */
export function readRevision(directory: CaDirectory): Revision {
  const match = /^([1-9][0-9]{0,14}) ([0-9a-f]{64})\n$/.exec(directory.readUnprovedText(FILES.revision));
  if (match === null) throw directory.corrupt(FILES.revision, "it is not a revision number");
  return { number: Number(match[1]), auditHash: match[2] ?? "" };
}

function isPathMap(value: unknown): value is Record<string, string> {
  return (
    typeof value === "object" &&
    value !== null &&
    Object.entries(value).every(([path, content]) => isOurs(path) && typeof content === "string")
  );
}

/** A file that a change may touch, and nothing else below the directory or outside of it. */
function isOurs(path: unknown): path is string {
  if (typeof path !== "string") return false;
  return isSealedFile(path) || isRegistryPart(path);
}
