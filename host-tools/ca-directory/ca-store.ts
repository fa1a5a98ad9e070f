/** The changing part of a CA directory: registry, audit trail and state, with one writer at a time and changes that are whole. */
import { existsSync } from "node:fs";
import { errorCode, HawserError } from "../../sdk/errors.js";
import { removeLeftoverTemporaries } from "../../sim/node/files/atomic-file.js";
import { auditLine, withEntries } from "./audit-trail.js";
import type { AuditEvent } from "./audit-trail.js";
import type { CaDirectory } from "./ca-directory.js";
import { checkDirectories, readState } from "./ca-files.js";
import type { ProvedFiles } from "./ca-files.js";
import type { CaRegistry, RegistryNames } from "./ca-registry.js";
import { Draft } from "./change-draft.js";
import type { FollowUp } from "./change-draft.js";
import { applyJournal, finishJournal, PreparedChange, readJournal, readRevision } from "./change-journal.js";
import type { Journal } from "./change-journal.js";
import { checkClock, isAway } from "./change-log.js";
import type { ChangeLog, LogTurn, OpenLog } from "./change-log.js";
import { DIRECTORIES, FILES, isIndexFile, isSealedFile } from "./directory-layout.js";
import { isCarried, machineHere, machineOf, passphraseChanged, proveLog, rememberCarried, takeIn } from "./log-replica.js";
import { checkTrail, loadCa, revisionOf } from "./proved-ca.js";
import type { LoadedCa } from "./proved-ca.js";
import type { Unlocked } from "./proved-reading.js";
import type { RegistryRoot } from "./registry-tree.js";
import { rememberRevision, rolledBack } from "./revision-witness.js";
import { inLog, inStore, openState, sha256, stateKey, stateText } from "./sealed-state.js";

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

/** How a store reaches what is not in its directory. */
export interface StoreSurroundings {
  /** Wall time, milliseconds since the epoch. */
  readonly now: () => number;
  /** The log of a registry that machines share. */
  readonly openLog: OpenLog;
  /** Told when the log cannot be asked: what is read may be older than what other machines did. */
  readonly onAway: (error: HawserError) => void;
  /** Open without the log: for who leaves it as it is. */
  readonly isAlone?: boolean;
}

/** Whether work is to be the only one to change the log, or only to see what it has, or not to ask it. */
type LogUse = "turn" | "read" | "here";

/** What a piece of work came to, and the change that it drafted, which counts. */
interface Drafted<T> {
  readonly result: T;
  readonly change?: DraftedChange;
}

interface DraftedChange {
  readonly prepared: PreparedChange;
  readonly registry: CaRegistry;
  readonly key: Buffer;
}

/** How often what came out of carrying a change to the brokers is tried to be noted down while other machines change the CA. */
const SETTLE_ATTEMPTS = 5;

export class CaStore {
  readonly directory: CaDirectory;
  #loaded: LoadedCa;
  #key: Buffer;
  readonly #surroundings: StoreSurroundings;
  #hooks: ChangeHooks | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #followUp: FollowUp | undefined;
  /** A change of this process stopped half-way: what is in memory may not be what is on the disk. */
  #isUnsure = false;
  /** The log could not be asked the last time, which was told. */
  #isAway = false;

  private constructor(loaded: LoadedCa, key: Buffer, surroundings: StoreSurroundings) {
    this.directory = loaded.files.directory;
    this.#loaded = loaded;
    this.#key = key;
    this.#surroundings = surroundings;
  }

  /**
   * Reads and proves a CA directory, and finishes a change that was cut off. Of a registry with an index, entries are proved when they are
   * used. Of a shared registry, what other machines changed is taken in.
   *
   * @param unlocked the directory, the key that the passphrase opens, and what was read while it did
   * @param makeHooks called with the proved files, before anything is done with them
   * @throws HawserError `CA_CORRUPT` naming the file, `CA_EXPOSED`, `CA_ROLLED_BACK`, `CA_BUSY`, `STORAGE_FAILED`, and those of
   *   {@link takeIn}
   */
  static async open(
    { directory, sealing, ahead }: Unlocked,
    surroundings: StoreSurroundings,
    makeHooks: (files: ProvedFiles) => Promise<ChangeHooks>,
  ): Promise<CaStore> {
    const key = stateKey(sealing);
    checkDirectories(directory);
    return directory.locked(async () => {
      tidy(directory);
      const journal = takeUpJournal(directory, key);
      const loaded = loadCa(directory, key, { isChanging: journal !== undefined, ...(ahead && { before: ahead }) });
      const store = new CaStore(loaded, key, surroundings);
      store.#hooks = await makeHooks(loaded.files);
      if (journal !== undefined) await store.#finish(true);
      if (surroundings.isAlone !== true) await store.#settle();
      if (loaded.files.state.log !== undefined && surroundings.isAlone !== true) {
        await store.#drafted(() => undefined, undefined, "read");
        await store.#carryWhenBehind();
      }
      rememberRevision(directory, store.#loaded.files.state);
      return store;
    });
  }

  /** The files of the CA, proved. */
  get files(): ProvedFiles {
    return this.#loaded.files;
  }

  /** Which of the CA's machines this is: see {@link machineHere}. */
  get machine(): string | undefined {
    return machineHere(this.#loaded.files);
  }

  /** The log of this CA's changes, where it has one. Throws as {@link OpenLog}. */
  get log(): ChangeLog | undefined {
    const { log } = this.#loaded.files.state;
    return log === undefined ? undefined : this.#surroundings.openLog(log);
  }

  /**
   * Runs `work` as the only one to change the CA, on the state as it is now, and makes what it drafted happen as a whole. When `work`
   * throws, or drafts no event, nothing happens. While the database of a shared registry is away, work that drafts nothing goes on with
   * what this machine knows.
   *
   * @throws HawserError `CA_BUSY` when another process does not finish, `STORAGE_FAILED`, `STORAGE_FULL`, `CA_CORRUPT`, `CA_ROLLED_BACK`,
   *   `REGISTRY_AWAY`, `REGISTRY_UNSURE`, `CLOCK_WRONG`, those of {@link takeIn}, and what `work` throws
   */
  change<T>(work: (draft: Draft) => Promise<T> | T): Promise<T> {
    return this.#queued(() => this.#changeAlone(work, "turn"));
  }

  /** The same for work that drafts nothing: waits for no other machine. */
  read<T>(work: (draft: Draft) => Promise<T> | T): Promise<T> {
    return this.#queued(() => this.#changeAlone(work, "read"));
  }

  /** Why this machine cannot go by its log; undefined where it can, or has none. Takes nothing in. */
  async logProblem(): Promise<HawserError | undefined> {
    try {
      const { files } = this.#loaded;
      const { log } = this;
      await log?.read((asked) => proveLog(files, this.#key, asked, log.place));
      return undefined;
    } catch (error) {
      if (error instanceof HawserError) return error;
      throw error;
    }
  }

  /** The same on what this machine knows, without the database of a shared registry: for the change that leaves it. */
  changeHere<T>(work: (draft: Draft) => Promise<T> | T): Promise<T> {
    return this.#queued(() => this.#changeAlone(work, "here"));
  }

  #queued<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(() => this.directory.locked(work));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #changeAlone<T>(work: (draft: Draft) => Promise<T> | T, asked: LogUse): Promise<T> {
    checkDirectories(this.directory);
    const journal = takeUpJournal(this.directory, this.#key);
    if (journal !== undefined || this.#isUnsure) {
      this.#loaded = loadCa(this.directory, this.#key, { isChanging: journal !== undefined, before: this.#loaded.registry });
      await this.#hooks?.filesChanged(this.#loaded.files);
      if (journal !== undefined) await this.#finish(true);
      this.#isUnsure = false;
      if (asked !== "here") await this.#settle();
    }
    await this.#refresh();
    const { result, change } = await this.#drafted(work, this.#hooks, asked);
    if (change !== undefined) {
      await this.#apply(change, true);
      await this.#settle();
    }
    await this.#carryWhenBehind();
    return result;
  }

  /**
   * Runs work on the newest state that there is. The change that it drafted counts when this resolves, wherever it is logged; in the
   * directory it is still to be written.
   */
  async #drafted<T>(work: (draft: Draft) => Promise<T> | T, hooks?: ChangeHooks, asked: LogUse = "turn"): Promise<Drafted<T>> {
    let change: DraftedChange | undefined;
    let away: HawserError | undefined;
    const draftIn = async (turn: LogTurn | undefined): Promise<Drafted<T>> => {
      const { registry, files } = this.#loaded;
      const draft = new Draft(registry, files, files.state.revision + 1, this.#surroundings.now(), this.machine);
      const result = await work(draft);
      if (draft.event === undefined) return { result };
      if (away !== undefined) throw away;
      if (asked === "read") throw new Error("what only reads drafted a change");
      if (turn !== undefined) await checkClock(turn, draft.nowMs, this.#surroundings.now());
      await hooks?.beforeCommit(draft);
      change = this.#prepare(draft, draft.event);
      await this.#append(change, draft, turn);
      return { result, change };
    };
    try {
      const { log: name } = this.#loaded.files.state;
      if (name === undefined || asked === "here") return await draftIn(undefined);
      let isInTurn = false;
      try {
        machineOf(this.directory);
        const log = this.#surroundings.openLog(name);
        const draftWhenTakenIn = async (reading: Pick<LogTurn, "changesFrom">, turn?: LogTurn): Promise<Drafted<T>> => {
          await this.#takeIn(reading, log.place);
          isInTurn = true;
          this.#isAway = false;
          // The log ends here where this machine moved the registry out of it, and was stopped before it had written that.
          return draftIn(this.#loaded.files.state.log === name ? turn : undefined);
        };
        return await (asked === "read"
          ? log.read((reading) => draftWhenTakenIn(reading))
          : log.turn((turn) => draftWhenTakenIn(turn, turn)));
      } catch (error) {
        if (isInTurn || !isAway(error)) throw error;
        away = error;
      }
      this.#tellAway(away);
      return await draftIn(undefined);
    } catch (error) {
      change?.prepared.drop();
      throw error;
    }
  }

  #tellAway(error: HawserError): void {
    if (!this.#isAway) this.#surroundings.onAway(error);
    this.#isAway = true;
  }

  /** The change counts when the turn is over; that which founds a log, when it is written here. */
  async #append({ prepared }: DraftedChange, { revision, nextLog, nowMs }: Draft, turn: LogTurn | undefined): Promise<void> {
    const row = { revision, state: sha256(prepared.journal.state), text: prepared.text };
    // Where it breaks off, the log says whether it counts.
    this.#isUnsure = turn !== undefined;
    await turn?.append(row);
    if (typeof nextLog !== "string") return;
    await this.#surroundings.openLog(nextLog).turn(async (founding) => {
      await checkClock(founding, nowMs, this.#surroundings.now());
      await founding.append(row);
    });
  }

  async #takeIn(reading: Pick<LogTurn, "changesFrom">, place: string): Promise<void> {
    try {
      await takeIn(this.#loaded.files, this.#key, reading, place);
    } catch (error) {
      // Under another passphrase there is nothing that this process could read.
      if (errorCode(error) !== "PASSPHRASE_CHANGED") await this.#readTakenIn();
      throw error;
    }
    await this.#readTakenIn();
  }

  async #readTakenIn(): Promise<void> {
    const { files, registry, audit } = this.#loaded;
    if (readRevision(this.directory).number === files.state.revision) return;
    this.#isUnsure = true;
    this.#loaded = loadCa(this.directory, this.#key, { before: registry, audit });
    await this.#hooks?.filesChanged(this.#loaded.files);
    this.#isUnsure = false;
    rememberRevision(this.directory, this.#loaded.files.state);
  }

  /** Brings this machine's brokers up to date where other machines changed the CA. */
  async #carryWhenBehind(): Promise<void> {
    const { files } = this.#loaded;
    if (files.state.log === undefined || isCarried(files, this.#key)) return;
    await this.#carry();
    await this.#settle();
  }

  async #carry(): Promise<void> {
    const { files, registry } = this.#loaded;
    this.#followUp = await this.#hooks?.afterApply(registry, files);
    if (files.state.log !== undefined) rememberCarried(files, this.#key);
  }

  /**
   * Notes down what came out of carrying the last change to the outside. Where another machine changed the CA meanwhile, that is carried
   * first: what it owes is not to be overwritten.
   */
  async #settle(): Promise<void> {
    for (let attempt = 0; attempt < SETTLE_ATTEMPTS && this.#followUp !== undefined; attempt += 1) {
      const followUp = this.#followUp;
      this.#followUp = undefined;
      const { revision } = this.#loaded.files.state;
      try {
        const { change } = await this.#drafted((draft) => (draft.revision === revision + 1 ? followUp(draft) : undefined));
        if (change !== undefined) await this.#apply(change, false);
        else if (this.#loaded.files.state.revision !== revision) await this.#carry();
      } catch (error) {
        // It is still owed, and the next change tries it again.
        if (!isAway(error) && !["CA_BUSY", "CLOCK_WRONG"].includes(errorCode(error))) throw error;
        if (isAway(error)) this.#tellAway(error);
      }
    }
    this.#followUp = undefined;
  }

  #prepare(draft: Draft, event: AuditEvent): DraftedChange {
    const { files, registry } = this.#loaded;
    for (const name of draft.changedEntries.keys()) registry.check(name);
    const line = auditLine(files.state.audit.head, draft.revision, new Date(draft.nowMs), withEntries(event, draft.changedEntries));
    const before = draft.nextRegistry ?? registry;
    const after = before.after(draft.changedEntries);
    const key = draft.nextSealing === undefined ? this.#key : stateKey(draft.nextSealing);
    for (const [file, text] of after.filesSince(before)) {
      if (files.has(file) && draft.nextRegistry === undefined) files.read(file);
      draft.write(file, text);
    }
    const journal = this.#journalOf(draft, line, key, after.root);
    const keys = key === this.#key ? [key] : [this.#key, key];
    return { prepared: new PreparedChange(this.directory, keys, journal), registry: after, key };
  }

  async #apply({ prepared, registry, key }: DraftedChange, isCarried: boolean): Promise<void> {
    const { audit } = this.#loaded;
    this.#isUnsure = true;
    prepared.write();
    applyJournal(this.directory, prepared.journal);
    this.#key = key;
    audit.catchUp(this.directory.pathOf(FILES.audit));
    this.#loaded = { files: readState(this.directory, this.#key), registry, audit };
    await this.#hooks?.filesChanged(this.#loaded.files);
    await this.#finish(isCarried);
    this.#isUnsure = false;
    rememberRevision(this.directory, this.#loaded.files.state);
  }

  #journalOf(draft: Draft, line: string, key: Buffer, registry: RegistryRoot): Journal {
    const { files, audit } = this.#loaded;
    const { nextRegistry, nextLog = files.state.log } = draft;
    const hashes = nextRegistry === undefined ? { ...files.state.files } : withIndexOf(nextRegistry, files.state.files);
    for (const [file, content] of draft.writes) if (isSealedFile(file)) hashes[file] = sha256(content);
    for (const file of draft.removes) delete hashes[file];
    const changed = { ...files.state, revision: draft.revision, audit: audit.with(line), registry, files: hashes };
    const state = inLog(inStore(changed, nextRegistry?.kind ?? files.parts.kind), nextLog ?? undefined);
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
    const { files } = this.#loaded;
    if (isCarried) await this.#carry();
    else if (files.state.log !== undefined) rememberCarried(files, this.#key);
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

/** Hashes of a state's files, with another index. */
function withIndexOf(registry: CaRegistry, hashes: Readonly<Record<string, string>>): Record<string, string> {
  const others = Object.entries(hashes).filter(([file]) => !isIndexFile(file));
  return Object.fromEntries([...others, ...[...registry.files].map(([file, text]) => [file, sha256(text)] as const)]);
}

function tidy(directory: CaDirectory): void {
  const parts = ["", DIRECTORIES.registry, DIRECTORIES.keys, DIRECTORIES.index].map((part) => directory.pathOf(part));
  for (const path of parts) if (existsSync(path)) removeLeftoverTemporaries(path);
}

/**
 * Does the first part of a change that was cut off, when there is one and it follows from the state that is there.
 *
 * @throws HawserError `PASSPHRASE_CHANGED` when it was the change of the passphrase: from here on the new one counts
 */
function takeUpJournal(directory: CaDirectory, key: Buffer): Journal | undefined {
  const journal = readJournal(directory, key);
  if (journal === undefined) return undefined;
  const text = directory.readUnprovedText(FILES.state);
  if (sha256(text) !== journal.base && text !== journal.state)
    throw directory.corrupt(FILES.journal, "it does not belong to the next change");
  applyJournal(directory, journal);
  if (openState(key, journal.state) === undefined) throw passphraseChanged(directory);
  return journal;
}

/** The state as it is now. Where another process changed the passphrase, this one's key opens nothing any more. */
function readStateOf({ directory, state }: ProvedFiles, key: Buffer): ProvedFiles {
  try {
    return readState(directory, key);
  } catch (error) {
    const isOtherRecord = sha256(directory.readUnproved(FILES.record)) !== state.files[FILES.record];
    throw isOtherRecord && errorCode(error) === "CA_CORRUPT" ? passphraseChanged(directory) : error;
  }
}
