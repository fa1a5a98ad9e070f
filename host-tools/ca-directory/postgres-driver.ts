/** The client of PostgreSQL: the optional package `postgres`, loaded when it is used. */
import { createRequire } from "node:module";
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { HawserError } from "../../sdk/errors.js";

export type PostgresValue = string | number | Uint8Array;
export type PostgresRow = Readonly<Record<string, unknown>>;

export interface PostgresConnection {
  unsafe(text: string, values?: readonly PostgresValue[]): PromiseLike<readonly PostgresRow[]>;
  listen(channel: string, onNotice: () => void, onListening: () => void): Promise<unknown>;
  end(options: { timeout: number }): Promise<void>;
}

export interface PostgresOptions {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly username: string;
  readonly password: string;
  readonly ssl: ConnectionOptions | false;
  /** Connected. */
  readonly socket: () => Promise<Socket>;
  readonly max: number;
  readonly idle_timeout: number;
  readonly fetch_types: boolean;
  readonly prepare: boolean;
  readonly onnotice: () => void;
  /** Logged in, among others. */
  readonly onparameter: () => void;
  readonly connection: { readonly application_name: string };
}

export type ConnectPostgres = (options: PostgresOptions) => PostgresConnection;

/** As in package.json's optionalDependencies. */
export const POSTGRES_PACKAGE = "postgres@3.4.9";

/**
 * @param load gives a module by its name, or throws
 * @throws HawserError `POSTGRES_MISSING`
 */
export function postgresDriver(load: (name: string) => unknown = createRequire(import.meta.url)): ConnectPostgres {
  try {
    return load("postgres") as ConnectPostgres;
  } catch {
    throw new HawserError(
      "POSTGRES_MISSING",
      "the optional package postgres is not installed",
      `Install it where hawser is installed: npm install ${POSTGRES_PACKAGE}`,
    );
  }
}
