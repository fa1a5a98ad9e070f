/** Debian's PostgreSQL on a Unix socket in a folder of its own, for one test file. */
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";

const LIBRARIES = "/usr/lib/postgresql";
/** PostgreSQL refuses to run as root. Debian's package makes this user. */
const USER = "postgres";

const run = promisify(execFile);

export type Row = Readonly<Record<string, unknown>>;

export class PostgresServer {
  #child: ChildProcess | undefined;
  #closed: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly folder: string,
    private readonly tcp: Tcp | undefined,
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  /**
   * @param tcp also on a port of 127.0.0.1, with TLS
   * @param environment of the server, beside this process's
   */
  static async start(tcp?: Tcp, environment: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
    const folder = mkdtempSync(join(tmpdir(), "hawser-postgres-"));
    const server = new PostgresServer(folder, tcp, environment);
    if (process.getuid?.() === 0) chownSync(folder, await idOf("-u"), await idOf("-g"));
    const [command, args] = asUser("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--username=hawser", "-D", server.#data);
    await run(command, args);
    for (const [file, content] of tcp === undefined
      ? []
      : ([
          ["server.key", tcp.key],
          ["server.crt", tcp.cert],
        ] as const)) {
      writeFileSync(join(server.#data, file), content, { mode: 0o600 });
      if (process.getuid?.() === 0) chownSync(join(server.#data, file), await idOf("-u"), await idOf("-g"));
    }
    await server.resume();
    return server;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  get #data(): string {
    return join(this.folder, "data");
  }

  get url(): string {
    return `postgres://hawser@/postgres?host=${this.folder}`;
  }

  /** A file with the URL that only its owner may read. */
  get urlFile(): string {
    const path = join(this.folder, "url");
    if (!existsSync(path)) writeFileSync(path, `${this.url}\n`, { mode: 0o600 });
    return path;
  }

  /** Resolves when it takes connections. */
  async resume(): Promise<void> {
    const [command, args] = asUserWith(this.environment, "postgres", "-D", this.#data, "-k", this.folder, ...listenAt(this.tcp));
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    this.#closed = once(child, "close");
    let log = "";
    const ready = new Promise<void>((resolve, reject) => {
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (log.includes("database system is ready to accept connections")) resolve();
      });
      child.once("close", () => reject(new Error(`PostgreSQL ended:\n${log}`)));
    });
    await ready;
  }

  /** As by a power cut of the server's machine: nobody is told. */
  async kill(): Promise<void> {
    // Its children end when they see that it is gone; the next start waits for their memory.
    this.#child?.kill("SIGQUIT");
    await this.#closed;
    this.#child = undefined;
  }

  async stop(): Promise<void> {
    this.#child?.kill("SIGINT");
    await this.#closed;
    removeDirectory(this.folder);
  }

  /** As somebody who may write to the database. */
  async query(text: string, values: readonly string[] = []): Promise<readonly Row[]> {
    const client = createRequire(import.meta.url)("postgres") as (options: object) => Client;
    const socket = connect(join(this.folder, ".s.PGSQL.5432"));
    await once(socket, "connect");
    const sql = client({
      username: "hawser",
      database: "postgres",
      max: 1,
      fetch_types: false,
      socket: () => socket,
      onnotice: () => undefined,
    });
    try {
      return await sql.unsafe(text, values);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}

export interface Tcp {
  readonly port: number;
  /** PEM. */
  readonly key: Uint8Array;
  readonly cert: Uint8Array;
}

function listenAt(tcp: Tcp | undefined): string[] {
  return tcp === undefined ? ["-h", ""] : ["-h", "127.0.0.1", "-p", String(tcp.port), "-c", "ssl=on"];
}

interface Client {
  unsafe(text: string, values: readonly string[]): Promise<readonly Row[]>;
  end(options: object): Promise<void>;
}

function asUser(program: string, ...args: string[]): [string, string[]] {
  return asUserWith({}, program, ...args);
}

/** The environment is not that of `setpriv`: what a library that is loaded first makes as root, it could not open as another user. */
function asUserWith(environment: Readonly<Record<string, string>>, program: string, ...args: string[]): [string, string[]] {
  const [version = ""] = readdirSync(LIBRARIES).sort((a, b) => Number(b) - Number(a));
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const call = [...variables, join(LIBRARIES, version, "bin", program), ...args];
  return process.getuid?.() === 0
    ? ["setpriv", [`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", "--pdeathsig=INT", "env", ...call]]
    : ["env", call];
}

async function idOf(flag: "-u" | "-g"): Promise<number> {
  return Number((await run("id", [flag, USER])).stdout);
}
