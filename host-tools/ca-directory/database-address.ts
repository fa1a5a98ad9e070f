/** Where a PostgreSQL database is: a URL, which may hold a password, so that errors never repeat it. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";
import { HawserError } from "../../sdk/errors.js";
import { storageError } from "../../sim/node/files/atomic-file.js";

export interface DatabaseAddress {
  /** A host, or the folder of the server's Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  /** How the server is verified; `false` where nothing leaves the machine. */
  readonly tls: ConnectionOptions | false;
}

const USUAL_PORT = 5432;
const PARAMETERS = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey"];
const MODES = ["disable", "verify-full"];

/**
 * `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with `?host=FOLDER` for a Unix socket. Beyond this machine the server is always verified, by
 * the system's certificates or those in `sslrootcert`.
 *
 * @throws HawserError `BAD_URL`
 */
export function parseDatabaseUrl(text: string): DatabaseAddress {
  let url: URL;
  try {
    // Of a URL without a host, which PostgreSQL's own tools know, a parser of web addresses makes nothing.
    url = new URL(text.trim().replace(/^([a-z]+:\/\/[^/?#]*@)(?=\/)/, "$1localhost"));
  } catch {
    throw badUrl("it is not a URL");
  }
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") throw badUrl("it does not begin with postgres://");
  const unknown = [...url.searchParams.keys()].find((key) => !PARAMETERS.includes(key));
  if (unknown !== undefined) throw badUrl(`it has the parameter ${unknown}; known are ${PARAMETERS.join(", ")}`);
  const host = url.searchParams.get("host") ?? unbracketed(url.hostname);
  const database = decoded(url.pathname.slice(1));
  const user = decoded(url.username);
  if (host === "" || database === "" || user === "") throw badUrl("it does not name host, database and user");
  return {
    host,
    port: url.port === "" ? USUAL_PORT : Number(url.port),
    database,
    user,
    password: decoded(url.password),
    tls: tlsOf(host, url.searchParams),
  };
}

/** As messages call it: without the password. */
export function addressText({ host, port, database, user }: DatabaseAddress): string {
  return host.startsWith("/") ? `${user}@${join(host, `.s.PGSQL.${port}`)}/${database}` : `${user}@${host}:${port}/${database}`;
}

function tlsOf(host: string, parameters: URLSearchParams): ConnectionOptions | false {
  const mode = parameters.get("sslmode") ?? (isLocal(host) ? "disable" : "verify-full");
  if (!MODES.includes(mode)) throw badUrl(`its sslmode is ${mode}; known are ${MODES.join(", ")}`);
  if (mode === "disable") {
    if (isLocal(host)) return false;
    throw badUrl("sslmode=disable would send passwords and registry readable over the network");
  }
  const file = (name: string, option: string): ConnectionOptions => {
    const path = parameters.get(name);
    return path === null ? {} : { [option]: readText(path) };
  };
  return {
    rejectUnauthorized: true,
    // Node compares the certificate with this where the server has no name to ask it by.
    host,
    ...(isIP(host) === 0 && !host.startsWith("/") ? { servername: host } : {}),
    ...file("sslrootcert", "ca"),
    ...file("sslcert", "cert"),
    ...file("sslkey", "key"),
  };
}

function isLocal(host: string): boolean {
  return host.startsWith("/") || host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

function unbracketed(hostname: string): string {
  return decoded(hostname.replace(/^\[(.*)\]$/, "$1"));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badUrl("one of its parts is not URL-encoded");
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw storageError(error, "read", path);
  }
}

function badUrl(problem: string): HawserError {
  return new HawserError(
    "BAD_URL",
    `the registry's database cannot be reached by its URL: ${problem}`,
    "Write it as postgres://USER:PASSWORD@HOST/DATABASE, or postgres://USER@/DATABASE?host=/run/postgresql for a Unix socket.",
  );
}
