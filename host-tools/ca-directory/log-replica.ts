/** A CA directory as one machine's copy of a shared registry: how it takes in the changes that other machines made, each proved first. */
import { HawserError } from "../../sdk/errors.js";
import { unlinkIfThere } from "../../sim/node/files/atomic-file.js";
import { hashOfLine } from "./audit-trail.js";
import type { CaDirectory } from "./ca-directory.js";
import type { ProvedFiles } from "./ca-files.js";
import { applyJournal, finishJournal, parseJournal, writeForeignJournal } from "./change-journal.js";
import type { Journal } from "./change-journal.js";
import type { LoggedChange, LogTurn } from "./change-log.js";
import { checkHome, readDatabaseFile } from "./database-file.js";
import { FILES } from "./directory-layout.js";
import { parseObject } from "./registry-entry.js";
import { macMatches, macOf, openState, parseState, sha256 } from "./sealed-state.js";

/** Where a directory, or a log, is. */
export interface LogPosition {
  readonly revision: number;
  /** SHA-256 of the state's text. */
  readonly state: string;
}

/**
 * Takes in what the log has beyond this directory. The caller holds the CA's lock; it reads the CA again when this gives more than 0.
 *
 * @returns how many changes
 * @throws HawserError `REGISTRY_ROLLED_BACK`, `REGISTRY_FORKED`, `REGISTRY_TAMPERED`, `REGISTRY_BEHIND`, `REGISTRY_MOVED`,
 *   `PASSPHRASE_CHANGED`, `REGISTRY_AWAY`, and those of the disk; what was taken in before is whole
 */
export async function takeIn(files: ProvedFiles, key: Buffer, reading: Pick<LogTurn, "changesFrom">, place: string): Promise<number> {
  const { directory } = files;
  return proveNews(files, key, reading, place, ({ revision, text = "" }, journal) => {
    writeForeignJournal(directory, journal, text);
    applyJournal(directory, journal);
    if (openState(key, journal.state) === undefined) throw passphraseChanged(directory);
    finishJournal(directory, { number: revision, auditHash: hashOfLine(journal.auditLine) });
    if (parseState(journal.state)?.log === undefined) forgetDatabase(directory);
  });
}

/** Proves what the log has beyond this directory, and takes nothing of it in. Throws as {@link takeIn}. */
export async function proveLog(files: ProvedFiles, key: Buffer, reading: Pick<LogTurn, "changesFrom">, place: string): Promise<void> {
  await proveNews(files, key, reading, place, (_change, { state }) => {
    if (openState(key, state) === undefined) throw passphraseChanged(files.directory);
  });
}

async function proveNews(
  files: ProvedFiles,
  key: Buffer,
  reading: Pick<LogTurn, "changesFrom">,
  place: string,
  use: (change: LoggedChange, journal: Journal) => void,
): Promise<number> {
  const { revision, log = "" } = files.state;
  let position: LogPosition = { revision, state: sha256(files.text) };
  for (;;) {
    const changes = newChanges(await reading.changesFrom(position.revision), position, { key, log, place });
    for (const change of changes) {
      const journal = provedJournal(change, position, key, place);
      const isLeaving = parseState(journal.state)?.log !== log;
      if (isLeaving) checkMover(journal, machineHere(files), change.revision, place);
      use(change, journal);
      position = change;
      if (isLeaving) return position.revision - revision;
    }
    if (changes.length === 0) return position.revision - revision;
  }
}

interface LogAsked {
  readonly key: Buffer;
  readonly log: string;
  readonly place: string;
}

/** Those after this position. */
function newChanges(
  [first, ...rest]: readonly LoggedChange[],
  { revision, state }: LogPosition,
  { key, log, place }: LogAsked,
): readonly LoggedChange[] {
  if (first === undefined)
    throw new HawserError(
      "REGISTRY_ROLLED_BACK",
      `the registry's database ${place} is older than this directory: it ends before change ${revision}. What was revoked since would be valid again`,
      "Find out who put it back. Nothing is lost here: see docs/registry.md, When the database is lost.",
    );
  if (first.revision === revision) {
    if (first.state === state) return rest;
    throw new HawserError(
      "REGISTRY_FORKED",
      `change ${revision} in the registry's database ${place} is not the one that this directory has`,
      "The database was put back, or is another one, and other machines went on from there: each side may have revoked what the other lets in, whatever its number. Bring their revocation lists together with hawser ca restore --crl: see docs/registry.md, When there are two histories.",
    );
  }
  if (first.revision === revision + 1) return [first, ...rest];
  checkWritten(first, { key, log, place });
  throw new HawserError(
    "REGISTRY_BEHIND",
    `this directory is at change ${revision}, and the registry's database ${place} has changes from ${first.revision} on only`,
    "Move the directory away, then take the newest snapshot: hawser registry join",
  );
}

/** Whoever is told to join again gives up what this directory knows: so not because of a row that anybody may have written. */
function checkWritten({ revision, state, text = "" }: LoggedChange, { key, log, place }: LogAsked): void {
  const journal = parseJournal(text, key);
  const said = typeof journal === "string" ? undefined : parseState(journal.state);
  if (typeof journal !== "string" && said?.log === log && said.revision === revision && sha256(journal.state) === state) return;
  throw new HawserError(
    "REGISTRY_TAMPERED",
    `the registry's database ${place} was changed: it begins with change ${revision}, which this CA did not write under this passphrase`,
    "Find out who may write there, or whether the passphrase was changed: then join again with the new one. See docs/registry.md, When the database is lost.",
  );
}

/**
 * The journal of a change in a log, which follows from the one before it.
 *
 * @throws HawserError `REGISTRY_TAMPERED`
 */
export function provedJournal({ revision, state, text }: LoggedChange, before: LogPosition, key: Buffer, place: string): Journal {
  const fail = (problem: string): HawserError =>
    new HawserError(
      "REGISTRY_TAMPERED",
      `the registry's database ${place} was changed: ${problem}`,
      "Find out who may write there. Nothing of it was taken in; see docs/registry.md, When the database is lost.",
    );
  if (revision !== before.revision + 1) throw fail(`change ${before.revision + 1} is missing`);
  const journal = parseJournal(text ?? "", key);
  if (typeof journal === "string") throw fail(`of change ${revision}, ${journal}`);
  if (journal.base !== before.state || parseState(journal.state)?.revision !== revision)
    throw fail(`change ${revision} does not follow from the one before it`);
  if (sha256(journal.state) !== state) throw fail(`change ${revision} is not the one that it is said to be`);
  return journal;
}

/**
 * The machine that moved the registry out takes its own change in, where it was stopped before it had written it. To others it is gone.
 *
 * @throws HawserError `REGISTRY_MOVED`
 */
function checkMover({ auditLine }: Journal, here: string | undefined, revision: number, place: string): void {
  const mover = parseObject(auditLine)?.["machine"];
  if (typeof mover === "string" && mover === here) return;
  const whose = typeof mover === "string" ? `the machine ${mover.slice(0, 8)}, which` : "the machine that";
  throw new HawserError(
    "REGISTRY_MOVED",
    `the registry was moved out of the database ${place} with change ${revision}: it is in the directory of ${whose} moved it`,
    "Use that one. If it is to be shared again, move it to PostgreSQL there, then join here in a new directory: hawser registry join",
  );
}

export function passphraseChanged(directory: CaDirectory): HawserError {
  return new HawserError(
    "PASSPHRASE_CHANGED",
    `the passphrase of the CA in ${directory} was changed`,
    "Give the new one; start services again with it.",
  );
}

/**
 * This machine, as the CA's files call it.
 *
 * @throws HawserError `REGISTRY_UNKNOWN`, `CA_COPIED`
 */
export function machineOf(directory: CaDirectory): string {
  const file = readDatabaseFile(directory);
  if (file === undefined)
    throw new HawserError(
      "REGISTRY_UNKNOWN",
      `${directory} does not say which machine's directory it is: ${FILES.database} is missing`,
      `Run: hawser registry connect --dir ${directory}`,
    );
  checkHome(directory, file);
  return file.machine;
}

/** The same for who keeps brokers up to date: undefined where the CA is not shared, and nobody's name in a copy of a directory. */
export function machineHere({ directory, state }: Pick<ProvedFiles, "directory" | "state">): string | undefined {
  if (state.log === undefined) return undefined;
  try {
    return machineOf(directory);
  } catch {
    return "";
  }
}

const CARRIED = "carried";

/** Whether this machine's brokers are known to be as the CA's last change says. */
export function isCarried({ directory, state }: ProvedFiles, key: Buffer): boolean {
  const machine = readDatabaseFile(directory)?.machine ?? "";
  try {
    return macMatches(key, CARRIED, `${machine} ${state.revision}`, directory.readUnprovedText(FILES.carried).trim());
  } catch {
    return false;
  }
}

export function rememberCarried({ directory, state }: ProvedFiles, key: Buffer): void {
  const machine = readDatabaseFile(directory)?.machine ?? "";
  directory.write(FILES.carried, `${macOf(key, CARRIED, `${machine} ${state.revision}`)}\n`);
}

/** For a directory that is nobody's copy any more. */
export function forgetDatabase(directory: CaDirectory): void {
  for (const file of [FILES.database, FILES.carried]) unlinkIfThere(directory.pathOf(file));
}
