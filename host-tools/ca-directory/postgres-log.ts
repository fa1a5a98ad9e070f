/**
 * The log of changes in PostgreSQL. One row is one change; its number is unique, so that of two writers one is refused, whatever locks say.
 * A turn is a transaction that locks the table, in a way that takes a right to it and keeps nobody from reading: the server gives it free
 * when the writer dies.
 */
import { errorCode, HawserError } from "../../sdk/errors.js";
import type { ChangeLog, LoggedChange, LogHead, LogSnapshot, LogTurn } from "./change-log.js";
import { addressText } from "./database-address.js";
import type { DatabaseAddress } from "./database-address.js";
import type { PostgresRow } from "./postgres-driver.js";
import { PostgresSession } from "./postgres-session.js";

const TABLES = `
CREATE TABLE IF NOT EXISTS hawser_changes (
  log text NOT NULL, revision bigint NOT NULL, state text NOT NULL, body text NOT NULL,
  added timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (log, revision));
CREATE TABLE IF NOT EXISTS hawser_snapshots (
  log text NOT NULL, revision bigint NOT NULL, body bytea NOT NULL,
  added timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (log, revision))`;

const LOCK_MS = 60_000;
/** For what only reads: it can do without. */
const READ_LOGIN_MS = 5_000;
/** How long a server that hung is not asked again by what only reads. */
const SILENT_MS = 10_000;
/** Of one change: a new passphrase writes every name once more. */
const CHANGE_BYTES = 256 * 1024 * 1024;
/** Of changes that are read at a time: at most so many, and the last one begins before so many bytes. */
const BATCH = 200;
const BATCH_BYTES = 16 * 1024 * 1024;
/** The server is asked now and then where its notices do not come. */
const POLL_MS = 5_000;
/** How often, and how long, it is asked whether a change counts whose connection broke. */
const ATTEMPTS = 5;
const ATTEMPT_PAUSE_MS = 500;

/** Whatever the database's defaults are: who waited for the log sees what was added meanwhile. */
const BEGIN_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/**
 * `lock_timeout` bounds the wait for a turn. A machine that lost its power holds the turn until the server notices: after some 25 seconds.
 * A server that answers before it has written would forget changes in a power cut.
 */
const beginTurn = (
  lockMs: number,
): string => `${BEGIN_WRITING}; SET LOCAL lock_timeout = ${lockMs}; SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 5;
SET LOCAL tcp_keepalives_count = 3;
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'`;

/** Conflicts with itself. Who may only read or add cannot take it, nor anything that keeps another from it. */
const LOCK_MODE = "SHARE UPDATE EXCLUSIVE";
const LOCK = `LOCK TABLE hawser_changes IN ${LOCK_MODE} MODE`;
/** Those that keep others from it. */
const HOLDERS = `SELECT pid, usename, application_name FROM pg_locks LEFT JOIN pg_stat_activity USING (pid)
WHERE locktype = 'relation' AND relation = 'hawser_changes'::regclass AND granted
AND mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') ORDER BY pid LIMIT 3`;

/** Servers that hung, by place: until when they are not asked again, by `performance.now()`. */
const silent = new Map<string, { readonly untilMs: number; readonly error: unknown }>();

/** For tests that would wait, or write, for long. */
export interface LogLimits {
  /** How long a change waits for another machine to finish its own. */
  readonly lockMs: number;
  /** To connect and log in, for what only reads. */
  readonly loginMs: number;
  /** Of one change. */
  readonly changeBytes: number;
}

export class PostgresLog implements ChangeLog {
  readonly place: string;
  readonly #limits: LogLimits;

  /**
   * @param log names the CA's log: the database may hold several
   */
  constructor(
    private readonly address: DatabaseAddress,
    private readonly log: string,
    limits: Partial<LogLimits> = {},
  ) {
    this.#limits = { lockMs: LOCK_MS, loginMs: READ_LOGIN_MS, changeBytes: CHANGE_BYTES, ...limits };
    this.place = addressText(address);
  }

  /** Makes the tables where they are not there: it takes a right that nothing else does. Throws `REGISTRY_AWAY`, `POSTGRES_MISSING`. */
  async prepare(): Promise<void> {
    await this.#connected(async (session) => {
      if (!(await areTablesThere(session))) await session.ask(TABLES);
    });
  }

  async turn<T>(work: (turn: LogTurn) => Promise<T>): Promise<T> {
    let appended: LoggedChange | undefined;
    let result: { readonly value: T } | undefined;
    try {
      return await this.#locked(async (session) => {
        const value = await work({
          place: this.place,
          clockMs: () => this.#clockMs(session),
          changesFrom: (revision) => this.#changesFrom(session, revision),
          append: async (change) => {
            await this.#append(session, change);
            appended = change;
          },
        });
        result = { value };
        return value;
      });
    } catch (error) {
      // The work was done, so that it broke off while it was being committed.
      if (appended === undefined || result === undefined || errorCode(error) !== "REGISTRY_AWAY") throw error;
      if (await this.#counts(appended)) return result.value;
      throw error;
    }
  }

  async read<T>(work: (reading: Pick<LogTurn, "changesFrom">) => Promise<T>): Promise<T> {
    const known = silent.get(this.place);
    if (known !== undefined && performance.now() < known.untilMs) throw known.error;
    return this.#connected((session) => work({ changesFrom: (revision) => this.#changesFrom(session, revision) }), this.#limits.loginMs);
  }

  async head(): Promise<LogHead> {
    const [row = {}] = await this.#rows(
      `SELECT count(*) AS changes, min(revision) AS first, max(revision) AS last,
        (SELECT max(revision) FROM hawser_snapshots WHERE log = $1) AS snapshot FROM hawser_changes WHERE log = $1`,
    );
    return {
      changes: Number(row["changes"]),
      firstRevision: numberIn(row["first"]),
      lastRevision: numberIn(row["last"]),
      snapshotRevision: numberIn(row["snapshot"]),
    };
  }

  /** Of all logs in this database. Throws `REGISTRY_AWAY`. */
  async names(): Promise<string[]> {
    const rows = await this.#connected(async (session) =>
      (await areTablesThere(session)) ? session.ask("SELECT DISTINCT log FROM hawser_snapshots ORDER BY log") : [],
    );
    return rows.map(({ log }) => String(log));
  }

  async snapshot(): Promise<LogSnapshot | undefined> {
    const [row] = await this.#rows("SELECT revision, body FROM hawser_snapshots WHERE log = $1 ORDER BY revision DESC LIMIT 1");
    return row === undefined ? undefined : { revision: Number(row["revision"]), bytes: Buffer.from(row["body"] as Uint8Array) };
  }

  async addSnapshot({ revision, bytes }: LogSnapshot): Promise<void> {
    const before = "SELECT max(revision) FROM hawser_snapshots WHERE log = $1 AND revision < $2";
    await this.#connected(async (session) => {
      await session.ask(BEGIN_WRITING);
      const values = [this.log, revision, bytes];
      await session.ask("INSERT INTO hawser_snapshots (log, revision, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", values);
      await session.ask(`DELETE FROM hawser_changes WHERE log = $1 AND revision <= (${before})`, [this.log, revision]);
      await session.ask(`DELETE FROM hawser_snapshots WHERE log = $1 AND revision < (${before})`, [this.log, revision]);
      await session.ask("COMMIT");
    });
  }

  watch(onNews: () => void): () => void {
    let listening: PostgresSession | undefined;
    // Where it breaks off, the timer tells, later.
    const listen = (): void => {
      const session = new PostgresSession(this.address);
      listening = session;
      void session.lost.then(() => {
        session.close();
        if (listening === session) listening = undefined;
      });
      session.listen(channelOf(this.log), onNews);
    };
    listen();
    const poll = setInterval(() => {
      onNews();
      if (listening === undefined) listen();
    }, POLL_MS);
    return () => {
      clearInterval(poll);
      listening?.close();
    };
  }

  #rows(text: string): Promise<readonly PostgresRow[]> {
    return this.#connected((session) => session.ask(text, [this.log]));
  }

  async #changesFrom(session: PostgresSession, revision: number): Promise<LoggedChange[]> {
    const { changeBytes } = this.#limits;
    // How long each is, is known without reading it.
    const rows = await session.ask(
      `SELECT revision, state, size, CASE WHEN size <= ${changeBytes} AND revision > $2 THEN body END AS body FROM (
        SELECT *, sum(size) OVER (ORDER BY revision) - size AS before FROM (
          SELECT revision, state, body, CASE WHEN revision > $2 THEN octet_length(body) ELSE 0 END AS size FROM hawser_changes
          WHERE log = $1 AND revision >= $2 ORDER BY hawser_changes.revision LIMIT ${BATCH}) AS sized) AS summed
        WHERE before <= ${BATCH_BYTES} ORDER BY summed.revision`,
      [this.log, revision],
    );
    const large = rows.find(({ size }) => Number(size) > changeBytes);
    if (large !== undefined)
      throw this.#tampered(
        `change ${Number(large["revision"])} has ${Number(large["size"])} bytes, and no change has more than ${changeBytes}`,
      );
    return rows.map(({ revision: number, state, body }) => ({
      revision: Number(number),
      state: String(state),
      text: typeof body === "string" ? body : undefined,
    }));
  }

  async #clockMs(session: PostgresSession): Promise<number> {
    const [row] = await session.ask("SELECT extract(epoch FROM clock_timestamp()) * 1000 AS ms");
    return Number(row?.["ms"]);
  }

  async #append(session: PostgresSession, { revision, state, text }: LoggedChange & { readonly text: string }): Promise<void> {
    const size = Buffer.byteLength(text);
    if (size > this.#limits.changeBytes)
      throw new HawserError(
        "REGISTRY_REFUSED",
        `the registry's database ${this.place} refuses: change ${revision} would have ${size} bytes, and at most ${this.#limits.changeBytes} are read`,
        "Make this change with the registry in files, then move it back: hawser registry move",
      );
    const values = [this.log, revision, state, text];
    await session.ask("INSERT INTO hawser_changes (log, revision, state, body) VALUES ($1, $2, $3, $4)", values);
    await session.ask(`NOTIFY ${channelOf(this.log)}`);
    // A trigger may have swallowed, altered or removed it.
    const kept = await session.ask("SELECT FROM hawser_changes WHERE log = $1 AND revision = $2 AND state = $3 AND body = $4", values);
    if (kept.length !== 1) throw this.#tampered(`it holds change ${revision} altered, or not at all`);
  }

  #tampered(problem: string): HawserError {
    return new HawserError(
      "REGISTRY_TAMPERED",
      `the registry's database ${this.place} was changed: ${problem}`,
      "Find out who may write to its tables and set triggers. Nothing was changed here.",
    );
  }

  /** The connection broke while a change was being committed: whoever gets the lock after that sees whether it counts. */
  async #counts({ revision, state }: LoggedChange): Promise<boolean> {
    let problem = "";
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      try {
        return await this.#locked(async (session) => {
          const [found] = await this.#changesFrom(session, revision);
          return found?.revision === revision && found.state === state;
        });
      } catch (error) {
        problem = error instanceof Error ? error.message : "";
        if (errorCode(error) !== "REGISTRY_AWAY") break;
        await new Promise((resolve) => setTimeout(resolve, ATTEMPT_PAUSE_MS));
      }
    }
    throw new HawserError(
      "REGISTRY_UNSURE",
      `the registry's database ${this.place} went away while change ${revision} was being written: whether it counts is not known (${problem})`,
      "When the server answers again, look whether it was done, for example with hawser list, before you repeat it.",
    );
  }

  async #locked<T>(work: (session: PostgresSession) => Promise<T>): Promise<T> {
    return this.#connected(async (session) => {
      await session.ask(beginTurn(this.#limits.lockMs));
      try {
        await session.ask(LOCK);
      } catch (error) {
        throw error instanceof HawserError && error.code === "CA_BUSY" ? await this.#busy(error) : error;
      }
      const result = await work(session);
      await session.ask("COMMIT");
      return result;
    });
  }

  /** Says who holds the lock, where that is to be learned. */
  async #busy(error: HawserError): Promise<HawserError> {
    const holders = await this.#connected((session) => session.ask(HOLDERS)).catch(() => []);
    const [one] = holders.map(
      ({ pid, usename, application_name: application }) =>
        `process ${Number(pid)} of the server, user ${JSON.stringify(usename)}, application ${JSON.stringify(application)}`,
    );
    return one === undefined ? error : new HawserError("CA_BUSY", `${error.message}: ${one}`, error.nextStep);
  }

  async #connected<T>(work: (session: PostgresSession) => Promise<T>, loginMs?: number): Promise<T> {
    const session = new PostgresSession(this.address, loginMs);
    try {
      const result = await work(session);
      silent.delete(this.place);
      return result;
    } catch (error) {
      if (session.isSilent) silent.set(this.place, { untilMs: performance.now() + SILENT_MS, error });
      throw error;
    } finally {
      session.close();
    }
  }
}

/** The logs in a database of which there is a snapshot. Throws `REGISTRY_AWAY`. */
export function logNames(address: DatabaseAddress): Promise<string[]> {
  return new PostgresLog(address, "").names();
}

async function areTablesThere(session: PostgresSession): Promise<boolean> {
  const [row] = await session.ask(
    "SELECT count(to_regclass(name)) AS count FROM unnest(ARRAY['hawser_changes', 'hawser_snapshots']) AS name",
  );
  return Number(row?.["count"]) === 2;
}

function channelOf(log: string): string {
  return `hawser_${log}`;
}

function numberIn(value: PostgresRow[string]): number | undefined {
  return value === null || value === undefined ? undefined : Number(value);
}
