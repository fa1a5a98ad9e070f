/**
 * Connections to SQLite files: one a file in this process, for as long as it is the same file. They are kept, because `libsql` lets go of
 * a closed file only when its statements are collected. Everything is synchronous.
 */
import { lstatSync } from "node:fs";
import { resolve } from "node:path";
import { corrupt } from "./directory-layout.js";
import { sqliteDriver } from "./sqlite-driver.js";
import type { SqliteConnection, SqliteStatement } from "./sqlite-driver.js";

/**
 * Schemas in a file that somebody else may have written call no functions with effects. Each commit is on the disk, with the name of the
 * rollback journal removed, before it returns.
 */
const SETTINGS = "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA synchronous = EXTRA; PRAGMA busy_timeout = 10000";

const connections = new Map<string, KeptConnection>();

export class KeptConnection {
  readonly #statements = new Map<string, SqliteStatement>();

  private constructor(
    private readonly connection: SqliteConnection,
    private readonly path: string,
    private readonly identity: string,
  ) {}

  /**
   * For use in this turn of the event loop. What others do to the file, by SQLite or not, is seen from the next one on.
   *
   * @throws HawserError `CA_CORRUPT` when the file is missing, `SQLITE_MISSING`; errors of SQLite
   */
  static to(path: string): KeptConnection {
    const identity = identityOf(path);
    const known = connections.get(path);
    if (known?.identity === identity) {
      // Pages in memory are believed for as long as the file's counter of changes says so, which nobody else need count up.
      known.connection.exec("PRAGMA shrink_memory");
      return known;
    }
    known?.drop();
    // Absolute: `file:ca` would be an address to SQLite, and `libsql:ca` one to the package, of another place.
    const kept = new KeptConnection(sqliteDriver()(resolve(path)), path, identity);
    connections.set(path, kept);
    kept.connection.exec(SETTINGS);
    return kept;
  }

  exec(sql: string): void {
    this.connection.exec(sql);
  }

  statement(sql: string): SqliteStatement {
    const known = this.#statements.get(sql) ?? this.connection.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }

  /** Runs `work` in one transaction, on the disk when this returns. What it throws undoes it. */
  transaction(work: () => void): void {
    this.connection.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.connection.exec("COMMIT");
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }

  drop(): void {
    connections.delete(this.path);
    this.#statements.clear();
    this.connection.close();
  }

  #rollBack(): void {
    try {
      this.connection.exec("ROLLBACK");
    } catch {
      // SQLite has done it by itself, as on a full disk.
    }
  }
}

function identityOf(path: string): string {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) throw corrupt(path, "it is missing");
  if (!stats.isFile()) throw corrupt(path, stats.isSymbolicLink() ? "it is a link" : "it is not a file");
  return `${stats.dev} ${stats.ino} ${stats.birthtimeMs}`;
}
