/**
 * A change to a CA directory as a whole: written to the journal first, then done, then struck off. Whoever finds a journal finishes it; doing
 * any part of it twice does no harm. So a change either never happened or happens completely, wherever its process was stopped.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { errnoCode, removeFileDurably, storageError, temporaryPath, unlinkIfThere, writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { appendAuditLine, readAuditHead } from "./audit-trail.js";
import type { AuditHead } from "./audit-trail.js";
import { parseObject } from "./registry-entry.js";
import { corrupt, FILES, readCaFile } from "./directory-layout.js";

export interface Journal {
  readonly v: 1;
  readonly revision: number;
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

export function isJournalThere(directory: string): boolean {
  return existsSync(join(directory, FILES.journal));
}

/** From here on the change will happen. Room for the rest of it is taken before and given free after: a full disk stops a change here, not half-way. */
export function writeJournal(directory: string, journal: Journal): void {
  const path = join(directory, FILES.journal);
  const room = temporaryPath(path);
  try {
    // Random, because some file systems have room for any number of zeros.
    writeFileSync(room, randomBytes(roomBytes(journal)), { flag: "wx", mode: 0o600 });
    writeFileAtomic(path, JSON.stringify(journal));
  } catch (error) {
    throw storageError(error, "write", path);
  } finally {
    unlinkIfThere(room);
  }
}

/** What file systems commonly allot at a time. */
const BLOCK_BYTES = 4096;

/** At most: every file whole beside its old self, the audit line, the revision, and a registry directory that grows. */
function roomBytes({ writes, auditLine }: Journal): number {
  const sizes = [...Object.values(writes).map((content) => Buffer.byteLength(content, "base64")), auditLine.length, BLOCK_BYTES, BLOCK_BYTES];
  return sizes.reduce((sum, sizeBytes) => sum + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES, 0);
}

/** The unfinished change, if there is one. */
export function readJournal(directory: string): Journal | undefined {
  if (!isJournalThere(directory)) return undefined;
  const path = join(directory, FILES.journal);
  const value = parseObject(readFileSync(path, "utf8"));
  const { v, revision, auditLine, writes, removes } = value ?? {};
  if (v !== 1 || typeof revision !== "number" || typeof auditLine !== "string" || !isPathMap(writes) || !Array.isArray(removes) || !removes.every(isPathInside)) {
    throw corrupt(path, "it is no journal");
  }
  return { v, revision, auditLine, writes, removes };
}

/** Does all of a journal but its last two steps, which {@link finishJournal} does. */
export function applyJournal(directory: string, journal: Journal): void {
  for (const [file, content] of Object.entries(journal.writes)) writeFileAtomic(join(directory, file), Buffer.from(content, "base64"));
  for (const file of journal.removes) removeFileDurably(join(directory, file));
  if (auditHead(directory).revision < journal.revision) append(join(directory, FILES.audit), journal.auditLine);
}

function append(audit: string, line: string): void {
  try {
    appendAuditLine(audit, line);
  } catch (error) {
    throw storageError(error, "write", audit);
  }
}

/** Tells the watchers and strikes the change off. */
export function finishJournal(directory: string, journal: Journal): Revision {
  const revision = { number: journal.revision, auditHash: auditHead(directory).hash };
  writeFileAtomic(join(directory, FILES.revision), revisionText(revision));
  removeFileDurably(join(directory, FILES.journal));
  return revision;
}

/** @throws HawserError `CA_CORRUPT` when there is no audit trail */
export function auditHead(directory: string): AuditHead {
  const path = join(directory, FILES.audit);
  try {
    return readAuditHead(path);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw corrupt(path, "it is missing");
    throw storageError(error, "read", path);
  }
}

export function revisionText(revision: Revision): string {
  return `${revision.number} ${revision.auditHash}\n`;
}

/** @throws HawserError `CA_CORRUPT` */
export function readRevision(directory: string): Revision {
  const match = /^([1-9][0-9]{0,14}) ([0-9a-f]{64})\n$/.exec(readCaFile(directory, FILES.revision).toString("utf8"));
  if (match === null) throw corrupt(join(directory, FILES.revision), "it is no revision number");
  return { number: Number(match[1]), auditHash: match[2] ?? "" };
}

function isPathMap(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null && Object.entries(value).every(([path, content]) => isPathInside(path) && typeof content === "string");
}

function isPathInside(path: unknown): path is string {
  return typeof path === "string" && !isAbsolute(path) && !path.split("/").includes("..");
}
