/** SQLite as there is one: Node's own, else the optional package `libsql`. Both are called in the same way. */
import { createRequire } from "node:module";
import { HawserError } from "../../sdk/errors.js";

export interface SqliteStatement {
  run(...values: readonly string[]): unknown;
  get(...values: readonly string[]): Readonly<Record<string, unknown>> | undefined;
  all(...values: readonly string[]): readonly Readonly<Record<string, unknown>>[];
}

export interface SqliteConnection {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
  close(): unknown;
}

export type OpenSqlite = (path: string) => SqliteConnection;

type Constructor = new (path: string) => SqliteConnection;

/** As in package.json's optionalDependencies. */
export const SQLITE_PACKAGE = "libsql@0.5.29";

/**
 * @param load gives a module by its name, or throws
 * @throws HawserError `SQLITE_MISSING`
 */
export function sqliteDriver(load: (name: string) => unknown = createRequire(import.meta.url)): OpenSqlite {
  const own = quietly(() => attempt(() => (load("node:sqlite") as { readonly DatabaseSync: Constructor }).DatabaseSync));
  const Database = own ?? attempt(() => load("libsql") as Constructor);
  if (Database === undefined)
    throw new HawserError(
      "SQLITE_MISSING",
      "this Node has no SQLite, and the optional package libsql is not installed or does not run here",
      `Install it where hawser is installed: npm install ${SQLITE_PACKAGE}. Or use Node 22.13 or later, which has SQLite.`,
    );
  return (path) => new Database(path);
}

/** The code of SQLite's error without its details (https://www.sqlite.org/rescode.html); undefined for any other error. */
export function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { errcode, rawCode } = error as { readonly errcode?: unknown; readonly rawCode?: unknown };
  const code = typeof errcode === "number" ? errcode : rawCode;
  return typeof code === "number" ? code & 0xff : undefined;
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** Without the warning of some versions of Node that their SQLite may change: what is used of it has not. */
function quietly<T>(work: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = () => undefined;
  try {
    return work();
  } finally {
    process.emitWarning = emitWarning;
  }
}
