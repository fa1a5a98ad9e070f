/** The changing part of a CA directory: registry, audit trail and revision, with one writer at a time and changes that are whole. */
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { removeLeftoverTemporaries } from "../../sim/node/files/atomic-file.js";
import { lockWithin } from "../../sim/node/files/process-lock.js";
import { auditLine } from "./audit-trail.js";
import type { AuditEvent } from "./audit-trail.js";
import type { RegistryEntry } from "./registry-entry.js";
import { readRegistry } from "./registry.js";
import { revokedOf } from "./state-transitions.js";
import { applyJournal, auditHead, finishJournal, isJournalThere, readJournal, readRevision, writeJournal } from "./change-journal.js";
import type { Revision } from "./change-journal.js";
import { corrupt, DIRECTORIES, entryFile, FILES } from "./directory-layout.js";

/** How long a change waits for another process to finish its own. */
const LOCK_WAIT_MS = 60_000;

/** What the CA adds to every change. */
export interface ChangeHooks {
  /** May add to the change what follows from it (the revocation list). */
  beforeCommit(draft: Draft): Promise<void>;
  /** Carries the change, already on disk, to the outside (broker configurations). Must not throw for trouble out there. Also called when a crashed change is finished. */
  afterApply(entries: ReadonlyMap<string, RegistryEntry>): Promise<void>;
}

/** A change in the making: what it reads is the state before it plus what it has put so far. */
export class Draft {
  readonly #before: ReadonlyMap<string, RegistryEntry>;
  readonly entries: Map<string, RegistryEntry>;
  readonly writes = new Map<string, Buffer>();
  readonly removes = new Set<string>();
  event: AuditEvent | undefined;
  /** True when the revocation list has to be signed anew because of this change. */
  revocationChanged = false;

  constructor(
    before: ReadonlyMap<string, RegistryEntry>,
    readonly revision: number,
    readonly nowMs: number,
  ) {
    this.#before = before;
    this.entries = new Map(before);
  }

  put(entry: RegistryEntry): void {
    this.entries.set(entry.name, entry);
    this.removes.delete(entryFile(entry.name));
    this.write(entryFile(entry.name), `${JSON.stringify(entry, null, 2)}\n`);
    this.revocationChanged ||= this.#revokedSerials(this.#before.get(entry.name)) !== this.#revokedSerials(entry);
  }

  remove(name: string): void {
    this.entries.delete(name);
    this.writes.delete(entryFile(name));
    this.removes.add(entryFile(name));
  }

  write(file: string, content: string | Uint8Array): void {
    this.writes.set(file, Buffer.from(content as Uint8Array));
  }

  /** What the audit trail will say. A change has exactly one event. */
  record(event: AuditEvent): void {
    this.event = event;
  }

  #revokedSerials(entry: RegistryEntry | undefined): string {
    return revokedOf(entry?.certificates ?? [], this.nowMs)
      .map(({ serial }) => serial)
      .join(" ");
  }
}

export class CaStore {
  #entries: ReadonlyMap<string, RegistryEntry>;
  #revision: Revision;
  #queue: Promise<unknown> = Promise.resolve();
  #tidied = false;

  private constructor(
    readonly directory: string,
    private readonly now: () => number,
    private readonly hooks: ChangeHooks,
  ) {
    const { entries, revision } = readConsistently(directory);
    this.#entries = entries;
    this.#revision = revision;
  }

  /** @throws HawserError `CA_CORRUPT` */
  static async open(directory: string, now: () => number, hooks: ChangeHooks): Promise<CaStore> {
    const store = new CaStore(directory, now, hooks);
    if (isJournalThere(directory)) await store.change(() => undefined);
    return store;
  }

  /**
   * Runs `work` as the only one to change the directory, on the state as it is now, and makes what it drafted happen as a whole. When `work`
   * throws, or drafts no event, nothing happens.
   *
   * @throws HawserError `CA_BUSY` when another process does not finish, `STORAGE_FAILED`, `STORAGE_FULL`, `CA_CORRUPT`, and what `work` throws
   */
  change<T>(work: (draft: Draft) => Promise<T> | T): Promise<T> {
    const result = this.#queue.then(() => this.#changeAlone(work));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #changeAlone<T>(work: (draft: Draft) => Promise<T> | T): Promise<T> {
    const lock = await lockWithin(join(this.directory, FILES.lock), LOCK_WAIT_MS, (pid) => busy(this.directory, pid));
    try {
      this.#tidy();
      await this.#finishCrashedChange();
      this.#refresh();
      const draft = new Draft(this.#entries, this.#revision.number + 1, this.now());
      const result = await work(draft);
      if (draft.event !== undefined) await this.#commit(draft, draft.event);
      return result;
    } finally {
      lock.release();
    }
  }

  async #commit(draft: Draft, event: AuditEvent): Promise<void> {
    await this.hooks.beforeCommit(draft);
    const journal = {
      v: 1 as const,
      revision: draft.revision,
      auditLine: auditLine(this.#revision.auditHash, draft.revision, new Date(draft.nowMs), event),
      writes: Object.fromEntries([...draft.writes].map(([file, content]) => [file, content.toString("base64")])),
      removes: [...draft.removes],
    };
    writeJournal(this.directory, journal);
    applyJournal(this.directory, journal);
    await this.hooks.afterApply(draft.entries);
    this.#revision = finishJournal(this.directory, journal);
    this.#entries = draft.entries;
  }

  async #finishCrashedChange(): Promise<void> {
    const journal = readJournal(this.directory);
    if (journal === undefined) return;
    applyJournal(this.directory, journal);
    await this.hooks.afterApply(readRegistry(this.directory));
    finishJournal(this.directory, journal);
  }

  /** The state on disk, read again only when somebody else changed it. */
  #refresh(): void {
    const revision = readRevision(this.directory);
    if (revision.number === this.#revision.number) return;
    this.#entries = readRegistry(this.directory);
    this.#revision = revision;
  }

  #tidy(): void {
    if (this.#tidied) return;
    for (const directory of ["", DIRECTORIES.registry, DIRECTORIES.keys]) removeLeftoverTemporaries(join(this.directory, directory));
    this.#tidied = true;
  }
}

function busy(directory: string, pid: number | undefined): HawserError {
  return new HawserError("CA_BUSY", `another process${pid === undefined ? "" : ` (${pid})`} is changing the CA in ${directory}`, "Try again when it has finished.");
}

const MAX_ATTEMPTS = 20;

/**
 * Reads registry and revision without the lock: again when a change went by meanwhile.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function readConsistently(directory: string): { entries: Map<string, RegistryEntry>; revision: Revision } {
  for (let attempt = 1; ; attempt += 1) {
    const revision = readRevision(directory);
    let entries: Map<string, RegistryEntry> | HawserError;
    try {
      entries = readRegistry(directory);
    } catch (error) {
      if (!(error instanceof HawserError)) throw error;
      entries = error;
    }
    const head = auditHead(directory).hash;
    const changing = isJournalThere(directory);
    const changed = readRevision(directory).number !== revision.number;
    if (attempt < MAX_ATTEMPTS && (changed || (changing && entries instanceof HawserError))) continue;
    if (entries instanceof HawserError) throw entries;
    if (!changed && !changing && head !== revision.auditHash) throw corrupt(join(directory, FILES.audit), "it does not end where the last change left it");
    return { entries, revision };
  }
}
