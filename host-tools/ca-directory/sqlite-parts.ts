/**
 * A registry in one SQLite file of the CA directory. The database is a place for the same parts as the files: what proves them is outside
 * of it, and a change of several parts is one transaction within a change of the CA, whose journal does it again where it was cut off.
 */
import { HawserError } from "../../sdk/errors.js";
import { storageError, writeNewFile } from "../../sim/node/files/atomic-file.js";
import type { CaDirectory } from "./ca-directory.js";
import { corrupt, DIRECTORIES, entryFile, FILES, nameOfEntryFile } from "./directory-layout.js";
import type { RegistryParts } from "./registry-parts.js";
import { KeptConnection } from "./sqlite-connection.js";
import { sqliteCode, sqliteDriver } from "./sqlite-driver.js";

const TABLES = [
  "CREATE TABLE entries (name TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL) STRICT",
  "CREATE TABLE index_files (file TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL) STRICT",
];

const PAGE_BYTES = 4096;
/** Pages that a part changes beside its content: inner pages of table and index, which may split. */
const PAGES_BESIDE = 8;

const BUSY = 5;
const LOCKED = 6;
const CORRUPT = 11;
const FULL = 13;
const NOT_A_DATABASE = 26;

interface Row {
  readonly table: "entries" | "index_files";
  readonly key: "name" | "file";
  readonly value: string;
}

export class SqliteParts implements RegistryParts {
  readonly kind = "sqlite";
  readonly hasSplitIndex = true;
  readonly #path: string;
  /** Until this turn of the event loop ends. */
  #connection: KeptConnection | undefined;

  /** @param file of the CA directory */
  constructor(directory: CaDirectory, file: string = FILES.registry) {
    this.#path = directory.pathOf(file);
  }

  /**
   * Makes a database of this content, complete and on the disk when it returns. A file that is there is an error; one that was not finished
   * is of no use.
   *
   * @throws HawserError `SQLITE_MISSING`, `STORAGE_FULL`, `STORAGE_FAILED`
   */
  static make(directory: CaDirectory, file: string, content: ReadonlyMap<string, Uint8Array>): SqliteParts {
    const parts = new SqliteParts(directory, file);
    sqliteDriver();
    // Made here: SQLite would give the file the rights of all, and it gives its journals those of the file.
    writeNewFile(parts.#path, new Uint8Array(), 0o600);
    parts.#attempt("write", () => {
      const connection = KeptConnection.to(parts.#path);
      connection.exec("PRAGMA journal_mode = MEMORY");
      connection.transaction(() => {
        for (const table of TABLES) connection.exec(table);
        write(connection, content);
      });
      connection.drop();
    });
    return parts;
  }

  pathOf(part: string): string {
    return `${this.#path} (${part})`;
  }

  read(part: string): Buffer {
    const { table, key, value } = rowOf(part);
    const row = this.#attempt("read", () =>
      this.#checked().statement(`SELECT CAST(text AS BLOB) AS text FROM ${table} WHERE ${key} = ?`).get(value),
    );
    if (row === undefined) throw corrupt(this.pathOf(part), "it is missing");
    return bytesOf(row["text"]);
  }

  names(): string[] {
    const rows = this.#attempt("read", () =>
      this.#checked().statement("SELECT CAST(name AS BLOB) AS name FROM entries ORDER BY entries.name").all(),
    );
    return rows.map((row) => {
      const name = bytesOf(row["name"]).toString("utf8");
      if (nameOfEntryFile(entryFile(name)) === name) return name;
      throw corrupt(this.#path, `the name ${JSON.stringify(name)} does not belong there`);
    });
  }

  apply(writes: ReadonlyMap<string, Uint8Array>, removes: readonly string[]): void {
    if (writes.size === 0 && removes.length === 0) return;
    this.#attempt("write", () => {
      const connection = this.#checked();
      connection.transaction(() => {
        write(connection, writes);
        for (const part of removes) {
          const { table, key, value } = rowOf(part);
          connection.statement(`DELETE FROM ${table} WHERE ${key} = ?`).run(value);
        }
      });
    });
  }

  /** The pages of the new content, and the old ones in the rollback journal. */
  roomBytes(sizesBytes: readonly number[]): number {
    const pages = sizesBytes.reduce((sum, sizeBytes) => sum + Math.ceil(sizeBytes / PAGE_BYTES) + PAGES_BESIDE, PAGES_BESIDE);
    return 2 * pages * PAGE_BYTES;
  }

  close(): void {
    this.#connection?.drop();
    this.#connection = undefined;
  }

  /** To a file whose tables are those of a registry and nothing else: no trigger or view changes what is read or written. */
  #checked(): KeptConnection {
    if (this.#connection !== undefined) return this.#connection;
    const connection = KeptConnection.to(this.#path);
    const tables = connection.statement("SELECT CAST(sql AS BLOB) AS sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").all();
    if (JSON.stringify(tables.map(({ sql }) => bytesOf(sql).toString("utf8"))) !== JSON.stringify(TABLES))
      throw corrupt(this.#path, "its tables are not those of a registry");
    this.#connection = connection;
    setImmediate(() => (this.#connection = undefined));
    return connection;
  }

  #attempt<T>(action: "read" | "write", work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.#hawserError(action, error);
    }
  }

  #hawserError(action: string, error: unknown): HawserError {
    switch (sqliteCode(error)) {
      case CORRUPT:
      case NOT_A_DATABASE:
        return corrupt(this.#path, "it is not a sound SQLite database");
      case FULL:
        return new HawserError("STORAGE_FULL", `no room to ${action} ${this.#path}`, "Free some disk space, then try again.");
      case BUSY:
      case LOCKED:
        return new HawserError(
          "CA_BUSY",
          `another program keeps ${this.#path} locked`,
          "End the program that has the database open, then try again.",
        );
      default:
        return storageError(error, action, this.#path);
    }
  }
}

function write(connection: KeptConnection, content: ReadonlyMap<string, Uint8Array>): void {
  for (const [part, bytes] of content) {
    const { table, value } = rowOf(part);
    connection.statement(`INSERT OR REPLACE INTO ${table} VALUES (?, ?)`).run(value, Buffer.from(bytes).toString("utf8"));
  }
}

/** Text is asked for as bytes: `libsql` ends the process where somebody wrote some that are no UTF-8. */
function bytesOf(value: unknown): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(value as Uint8Array | ArrayBuffer as Uint8Array);
}

function rowOf(part: string): Row {
  const name = nameOfEntryFile(part);
  if (name !== undefined) return { table: "entries", key: "name", value: name };
  return { table: "index_files", key: "file", value: part.slice(DIRECTORIES.index.length + 1) };
}
