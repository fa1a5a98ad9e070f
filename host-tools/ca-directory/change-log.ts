/**
 * The log of changes that machines with one CA share: every change in its order, as the journal that a directory keeps of it. It proves
 * nothing; each journal does that itself. Whoever has the turn is the only one to add to it.
 */
import { HawserError } from "../../sdk/errors.js";

/** A change in the log. */
export interface LoggedChange {
  readonly revision: number;
  /** SHA-256 of the state's text after it. */
  readonly state: string;
  /** The journal's text; undefined for the change that the asker has already. */
  readonly text: string | undefined;
}

export interface LogTurn {
  /** As messages call where the log is. */
  readonly place: string;
  /** The time at the log's place, milliseconds since the epoch: the one clock that all machines see. */
  clockMs(): Promise<number>;
  /** Changes from this one on, in order: at most a bounded number of them. */
  changesFrom(revision: number): Promise<LoggedChange[]>;
  /** The last thing in a turn: counts when the turn is over. */
  append(change: LoggedChange & { readonly text: string }): Promise<void>;
}

export interface LogSnapshot {
  readonly revision: number;
  /** As a backup of the CA. */
  readonly bytes: Buffer;
}

export interface LogHead {
  readonly changes: number;
  readonly firstRevision: number | undefined;
  readonly lastRevision: number | undefined;
  readonly snapshotRevision: number | undefined;
}

export interface ChangeLog {
  /** As messages call it. */
  readonly place: string;
  /**
   * Runs `work` while nobody else adds to the log. What it appended counts when this resolves, and not when it rejects.
   *
   * @throws HawserError `REGISTRY_AWAY`, `REGISTRY_REFUSED`, `CA_BUSY`; `REGISTRY_UNSURE` when the database went away at the moment of
   *   counting
   */
  turn<T>(work: (turn: LogTurn) => Promise<T>): Promise<T>;
  /** As a turn, for who adds nothing: waits for nobody. Throws `REGISTRY_AWAY`. */
  read<T>(work: (reading: Pick<LogTurn, "changesFrom">) => Promise<T>): Promise<T>;
  /** Throws `REGISTRY_AWAY`. */
  head(): Promise<LogHead>;
  /** The newest one. Throws `REGISTRY_AWAY`. */
  snapshot(): Promise<LogSnapshot | undefined>;
  /**
   * Adds a snapshot. Changes that are older than the snapshot before it, and snapshots older than that, are removed.
   *
   * @throws HawserError `REGISTRY_AWAY`
   */
  addSnapshot(snapshot: LogSnapshot): Promise<void>;
  /** Calls `onNews` when the log may have grown, until the returned function is called. */
  watch(onNews: () => void): () => void;
}

/** Opens the log of this name. Throws `BAD_URL`, `POSTGRES_MISSING`, `REGISTRY_UNKNOWN`. */
export type OpenLog = (log: string) => ChangeLog;

export function registryAway(place: string, problem: string): HawserError {
  return new HawserError(
    "REGISTRY_AWAY",
    `the registry's database ${place} does not answer: ${problem}`,
    "Check that the server runs and lets this machine in, then try again.",
  );
}

/** Beyond clocks that drift and networks that are slow; far below what any certificate has left. */
const CLOCK_LIMIT_MS = 5 * 60_000;

/**
 * Refuses a change by a machine whose clock is wrong: one that runs ahead would forget revocations as long expired, for every machine.
 *
 * @param changeMs time of the change, which may have been long in the making
 * @throws HawserError `CLOCK_WRONG`, `REGISTRY_AWAY`
 */
export async function checkClock({ place, clockMs }: Pick<LogTurn, "place" | "clockMs">, changeMs: number, nowMs: number): Promise<void> {
  const thereMs = await clockMs();
  const hereMs = Math.max(changeMs, nowMs);
  if (Math.abs(hereMs - thereMs) <= CLOCK_LIMIT_MS) return;
  throw new HawserError(
    "CLOCK_WRONG",
    `nothing was changed: by this machine's clock it is ${dateText(hereMs)}, by that of the registry's database ${place} ${dateText(thereMs)}`,
    "Set the clock that is wrong, then try again.",
  );
}

function dateText(ms: number): string {
  return new Date(ms).toISOString();
}

const AWAY = ["REGISTRY_AWAY", "REGISTRY_REFUSED", "REGISTRY_UNKNOWN", "REGISTRY_URL_EXPOSED", "CA_COPIED", "POSTGRES_MISSING", "BAD_URL"];

/** Whether the log cannot be asked now: what only reads goes on with what this machine knows. */
export function isAway(error: unknown): error is HawserError {
  return error instanceof HawserError && AWAY.includes(error.code);
}
