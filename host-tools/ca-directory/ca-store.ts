/** The changing part of a CA directory: registry, audit trail and state, with one writer at a time and changes that are whole. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { errorCode, HawserError } from "../../sdk/errors.js";
import { removeLeftoverTemporaries } from "../../sim/node/files/atomic-file.js";
import { lockWithin } from "../../sim/node/files/process-lock.js";
import { auditLine, withEntries } from "./audit-trail.js";
import type { AuditEvent } from "./audit-trail.js";
import { readCaFile } from "./ca-file.js";
import { checkDirectories, readState } from "./ca-files.js";
import type { ProvedFiles } from "./ca-files.js";
import type { CaRegistry, RegistryNames } from "./ca-registry.js";
import { Draft } from "./change-draft.js";
import type { FollowUp } from "./change-draft.js";
import { applyJournal, finishJournal, readJournal, writeJournal } from "./change-journal.js";
import type { Journal } from "./change-journal.js";
import { corrupt, DIRECTORIES, FILES, isIndexFile, isSealedFile } from "./directory-layout.js";
import { checkTrail, loadCa, revisionOf } from "./proved-ca.js";
import type { LoadedCa, Reading } from "./proved-ca.js";
import type { RegistryRoot } from "./registry-tree.js";
import { rememberRevision, rolledBack } from "./revision-witness.js";
import { inStore, openState, sha256, stateKey, stateText } from "./sealed-state.js";

/** How long a change waits for another process to finish its own. */
const LOCK_WAIT_MS = 60_000;

/** What the CA adds to every change. */
export interface ChangeHooks {
  /** Another process, or the change just made, left these files: what was read of them before may be old. */
  filesChanged(files: ProvedFiles): Promise<void>;
  /** May add to the change what follows from it (the revocation list). */
  beforeCommit(draft: Draft): Promise<void>;
  /**
   * Carries the change, already on disk, to the outside (broker configurations). Must not throw for trouble out there. Also called when a
   * crashed change is finished.
   *
   * @returns what to note down of it, as a change of its own that is carried no further
   */
  afterApply(names: RegistryNames, files: ProvedFiles): Promise<FollowUp | undefined>;
}

export class CaStore {
  readonly directory: string;
  #loaded: LoadedCa;
  #key: Buffer;
  readonly #now: () => number;
  #hooks: ChangeHooks | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #followUp: FollowUp | undefined;
  /** A change of this process stopped half-way: what is in memory may not be what is on the disk. */
  #isUnsure = false;

  private constructor(loaded: LoadedCa, key: Buffer, now: () => number) {
    this.directory = loaded.files.directory;
    this.#loaded = loaded;
    this.#key = key;
    this.#now = now;
  }

  /**
   * Reads and proves a CA directory, and finishes a change that was cut off. Of a registry with an index, entries are proved when they are
   * used.
   *
   * @param sealing the key that the passphrase opens
   * @param makeHooks called with the proved files, before anything is done with them
   * @throws HawserError `CA_CORRUPT` naming the file, `CA_EXPOSED`, `CA_ROLLED_BACK`, `CA_BUSY`, `STORAGE_FAILED`
   */
  static async open(
    directory: string,
    sealing: Uint8Array,
    now: () => number,
    makeHooks: (files: ProvedFiles) => Promise<ChangeHooks>,
  ): Promise<CaStore> {
    const key = stateKey(sealing);
    checkDirectories(directory);
    return locked(directory, async () => {
      tidy(directory);
      const journal = takeUpJournal(directory, key);
      const loaded = loadCa(directory, key, { isChanging: journal !== undefined });
      const store = new CaStore(loaded, key, now);
      store.#hooks = await makeHooks(loaded.files);
      if (journal !== undefined) await store.#finish(true);
      await store.#settle();
      rememberRevision(directory, store.#loaded.files.state);
      return store;
    });
  }

  /** The files of the CA, proved. */
  get files(): ProvedFiles {
    return this.#loaded.files;
  }

  /**
   * Runs `work` as the only one to change the directory, on the state as it is now, and makes what it drafted happen as a whole. When
   * `work` throws, or drafts no event, nothing happens.
   *
   * @throws HawserError `CA_BUSY` when another process does not finish, `STORAGE_FAILED`, `STORAGE_FULL`, `CA_CORRUPT`, `CA_ROLLED_BACK`,
   *   and what `work` throws
   */
  change<T>(work: (draft: Draft) => Promise<T> | T): Promise<T> {
    const result = this.#queue.then(() => locked(this.directory, () => this.#changeAlone(work)));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #changeAlone<T>(work: (draft: Draft) => Promise<T> | T): Promise<T> {
    checkDirectories(this.directory);
    const journal = takeUpJournal(this.directory, this.#key);
    if (journal !== undefined || this.#isUnsure) {
      this.#loaded = loadCa(this.directory, this.#key, { isChanging: journal !== undefined, before: this.#loaded.registry });
      await this.#hooks?.filesChanged(this.#loaded.files);
      if (journal !== undefined) await this.#finish(true);
      this.#isUnsure = false;
      await this.#settle();
    }
    await this.#refresh();
    const { registry, files } = this.#loaded;
    const draft = new Draft(registry, files, files.state.revision + 1, this.#now());
    const result = await work(draft);
    if (draft.event === undefined) return result;
    await this.#hooks?.beforeCommit(draft);
    await this.#commit(draft, draft.event, true);
    await this.#settle();
    return result;
  }

  /** Notes down what came out of carrying the last change to the outside. */
  async #settle(): Promise<void> {
    const followUp = this.#followUp;
    this.#followUp = undefined;
    if (followUp === undefined) return;
    const { registry, files } = this.#loaded;
    const draft = new Draft(registry, files, files.state.revision + 1, this.#now());
    followUp(draft);
    if (draft.event !== undefined) await this.#commit(draft, draft.event, false);
  }

  async #commit(draft: Draft, event: AuditEvent, isCarried: boolean): Promise<void> {
    const { files, audit, registry } = this.#loaded;
    for (const name of draft.changedEntries.keys()) registry.check(name);
    const line = auditLine(files.state.audit.head, draft.revision, new Date(draft.nowMs), withEntries(event, draft.changedEntries));
    const before = draft.nextRegistry ?? registry;
    const after = before.after(draft.changedEntries);
    const nextKey = draft.nextSealing === undefined ? this.#key : stateKey(draft.nextSealing);
    for (const [file, text] of after.filesSince(before)) {
      if (files.has(file) && draft.nextRegistry === undefined) files.read(file);
      draft.write(file, text);
    }
    const journal = this.#journalOf(draft, line, nextKey, after.root);
    writeJournal(this.directory, nextKey === this.#key ? [nextKey] : [this.#key, nextKey], journal);
    this.#isUnsure = true;
    applyJournal(this.directory, journal);
    this.#key = nextKey;
    audit.catchUp(join(this.directory, FILES.audit));
    this.#loaded = { files: readState(this.directory, this.#key), registry: after, audit };
    await this.#hooks?.filesChanged(this.#loaded.files);
    await this.#finish(isCarried);
    this.#isUnsure = false;
    rememberRevision(this.directory, this.#loaded.files.state);
  }

  #journalOf(draft: Draft, line: string, key: Buffer, registry: RegistryRoot): Journal {
    const { files, audit } = this.#loaded;
    const { nextRegistry } = draft;
    const hashes = nextRegistry === undefined ? { ...files.state.files } : withIndexOf(nextRegistry, files.state.files);
    for (const [file, content] of draft.writes) if (isSealedFile(file)) hashes[file] = sha256(content);
    for (const file of draft.removes) delete hashes[file];
    const changed = { ...files.state, revision: draft.revision, audit: audit.with(line), registry, files: hashes };
    const state = inStore(changed, nextRegistry?.kind ?? files.parts.kind);
    return {
      v: 2,
      base: sha256(files.text),
      state: stateText(key, state),
      auditSizeBytes: files.state.audit.sizeBytes,
      auditLine: line,
      writes: Object.fromEntries([...draft.writes].map(([file, content]) => [file, content.toString("base64")])),
      removes: [...draft.removes],
    };
  }

  /** The last steps of a change that is applied. */
  async #finish(isCarried: boolean): Promise<void> {
    const { files, registry } = this.#loaded;
    if (isCarried) this.#followUp = await this.#hooks?.afterApply(registry, files);
    finishJournal(this.directory, revisionOf(files));
  }

  /** The state on disk: proved again, and read again when somebody else changed it. */
  async #refresh(): Promise<void> {
    const { files } = this.#loaded;
    const now = readStateOf(files, this.#key);
    if (now.text === files.text) {
      checkTrail(this.#loaded);
      files.checkAll();
      return;
    }
    if (now.state.revision <= files.state.revision) throw rolledBack(this.directory, now.state.revision, files.state.revision);
    this.#loaded = loadCa(this.directory, this.#key, { before: this.#loaded.registry, audit: this.#loaded.audit });
    await this.#hooks?.filesChanged(this.#loaded.files);
  }
}

/**
 * Reads and proves a CA directory, for who changes nothing.
 *
 * @param reading how much of the registry
 * @throws HawserError as {@link CaStore.open}; `CA_BUSY` also when a change was cut off, which only a command that changes the CA may
 *   finish
 */
export async function readProvedCa(directory: string, sealing: Uint8Array, reading: Reading = "all"): Promise<LoadedCa> {
  const key = stateKey(sealing);
  checkDirectories(directory);
  return locked(directory, async () => {
    if (readJournal(directory, key) === undefined) return loadCa(directory, key, { reading });
    throw new HawserError(
      "CA_BUSY",
      `a change of the CA in ${directory} was interrupted and is not finished`,
      `Run: hawser ca crl --dir ${directory}`,
    );
  });
}

/** Hashes of a state's files, with another index. */
function withIndexOf(registry: CaRegistry, hashes: Readonly<Record<string, string>>): Record<string, string> {
  const others = Object.entries(hashes).filter(([file]) => !isIndexFile(file));
  return Object.fromEntries([...others, ...[...registry.files].map(([file, text]) => [file, sha256(text)] as const)]);
}

async function locked<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const lock = await lockWithin(join(directory, FILES.lock), LOCK_WAIT_MS, (pid) => busy(directory, pid));
  try {
    return await work();
  } finally {
    lock.release();
  }
}

function busy(directory: string, pid: number | undefined): HawserError {
  return new HawserError(
    "CA_BUSY",
    `another process${pid === undefined ? "" : ` (${pid})`} is changing the CA in ${directory}`,
    "Try again when that process has finished.",
  );
}

function tidy(directory: string): void {
  const parts = ["", DIRECTORIES.registry, DIRECTORIES.keys, DIRECTORIES.index].map((part) => join(directory, part));
  for (const path of parts) if (existsSync(path)) removeLeftoverTemporaries(path);
}

/**
 * Does the first part of a change that was cut off, when there is one and it follows from the state that is there.
 *
 * @throws HawserError `PASSPHRASE_CHANGED` when it was the change of the passphrase: from here on the new one counts
 */
function takeUpJournal(directory: string, key: Buffer): Journal | undefined {
  const journal = readJournal(directory, key);
  if (journal === undefined) return undefined;
  const text = readCaFile(directory, FILES.state).toString("utf8");
  if (sha256(text) !== journal.base && text !== journal.state)
    throw corrupt(join(directory, FILES.journal), "it does not belong to the next change");
  applyJournal(directory, journal);
  if (openState(key, journal.state) === undefined) throw passphraseChanged(directory);
  return journal;
}

/** The state as it is now. Where another process changed the passphrase, this one's key opens nothing any more. */
function readStateOf({ directory, state }: ProvedFiles, key: Buffer): ProvedFiles {
  try {
    return readState(directory, key);
  } catch (error) {
    const isOtherRecord = sha256(readCaFile(directory, FILES.record)) !== state.files[FILES.record];
    throw isOtherRecord && errorCode(error) === "CA_CORRUPT" ? passphraseChanged(directory) : error;
  }
}

function passphraseChanged(directory: string): HawserError {
  return new HawserError(
    "PASSPHRASE_CHANGED",
    `the passphrase of the CA in ${directory} was changed`,
    "Give the new one; start services again with it.",
  );
}
