/** One connection to PostgreSQL, for a piece of work: none is left over to keep a command from ending, and none is stale. */
import { connect } from "node:net";
import type { Socket } from "node:net";
import { join } from "node:path";
import { errorMessage, HawserError } from "../../sdk/errors.js";
import { errnoCode } from "../../sim/node/files/atomic-file.js";
import { registryAway } from "./change-log.js";
import { addressText } from "./database-address.js";
import type { DatabaseAddress } from "./database-address.js";
import { postgresDriver } from "./postgres-driver.js";
import type { PostgresConnection, PostgresRow, PostgresValue } from "./postgres-driver.js";

/** To connect and to log in: a server that hangs takes connections and says nothing. */
const LOGIN_MS = 10_000;
/** An answer that does not come: longer than a wait for the log's lock. */
const ANSWER_MS = 75_000;

/** Another writer has added a change of this number. */
const UNIQUE_VIOLATION = "23505";
const LOCK_NOT_AVAILABLE = "55P03";
const NO_TABLE = "42P01";

const OTHER_LOGIN = "Check user and password in the registry's URL, and the server's pg_hba.conf.";
const OTHER_SERVER = "Name the primary server in the registry's URL, and let the user write there.";
/** By SQLSTATE: what to do where the server answers, and refuses. */
const REFUSALS: Readonly<Record<string, string>> = {
  "28000": OTHER_LOGIN,
  "28P01": OTHER_LOGIN,
  "3D000": "Check the database in the registry's URL, or create it with createdb: see docs/registry.md.",
  "42501": "GRANT the user what docs/registry.md names under Rights.",
  "25006": OTHER_SERVER,
  "0A000": OTHER_SERVER,
};

export class PostgresSession {
  /** Resolves once the connection is gone; at once where there is none. */
  readonly lost: Promise<HawserError>;
  readonly #place: string;
  readonly #connection: PostgresConnection;
  #socket: Socket | undefined;
  #lose: (error: HawserError) => void = () => undefined;
  #problem: HawserError | undefined;
  #login: NodeJS.Timeout | undefined;
  #isSilent = false;

  /** Connects with the first question. Throws `POSTGRES_MISSING`. */
  constructor(
    address: DatabaseAddress,
    private readonly loginMs = LOGIN_MS,
  ) {
    this.#place = addressText(address);
    this.lost = new Promise((resolve) => {
      this.#lose = (error): void => {
        this.#problem ??= error;
        resolve(error);
      };
    });
    const { host, port, database, user, password, tls } = address;
    this.#connection = postgresDriver()({
      host,
      port,
      database,
      username: user,
      password,
      ssl: tls,
      socket: () => this.#connect(host, port),
      max: 1,
      idle_timeout: 0,
      fetch_types: false,
      prepare: false,
      onnotice: () => undefined,
      onparameter: () => clearTimeout(this.#login),
      connection: { application_name: "hawser" },
    });
  }

  /** Whether the server let the time for connecting and logging in pass. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /**
   * Asks, within a limit of time: a network that swallows everything ends in an error too. Values stand for $1, $2, ...; a text without any
   * may hold several commands.
   *
   * @throws HawserError `REGISTRY_AWAY`, `REGISTRY_REFUSED`, `CA_BUSY`
   */
  async ask(text: string, values: readonly PostgresValue[] = []): Promise<readonly PostgresRow[]> {
    // The client would end the process, or connect again and go on outside of the transaction.
    if (this.#problem !== undefined) throw this.#problem;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(registryAway(this.#place, `no answer within ${ANSWER_MS / 1000} s`)), ANSWER_MS);
    });
    const lost = this.lost.then((error) => {
      throw error;
    });
    try {
      return await Promise.race([this.#connection.unsafe(text, values), lost, late]);
    } catch (error) {
      throw this.#hawserError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  listen(channel: string, onNotice: () => void): void {
    this.#connection.listen(channel, onNotice, onNotice).catch((error: unknown) => this.#lose(registryAway(this.#place, reasonOf(error))));
  }

  /** What was not committed is rolled back. */
  close(): void {
    clearTimeout(this.#login);
    this.#problem ??= registryAway(this.#place, "the connection was closed");
    // The client writes a farewell to its socket.
    const ended = this.#connection.end({ timeout: 0 }).catch(() => undefined);
    void ended.then(() => this.#socket?.destroy());
  }

  async #connect(host: string, port: number): Promise<Socket> {
    if (this.#socket !== undefined) throw new Error("the connection was closed");
    const deadline = new AbortController();
    this.#login = setTimeout(() => {
      this.#isSilent = true;
      this.#lose(registryAway(this.#place, `no login within ${this.loginMs / 1000} s`));
      deadline.abort();
    }, this.loginMs);
    try {
      const socket = await connected(host, port, deadline.signal);
      this.#socket = socket;
      socket.once("close", () => this.#lose(registryAway(this.#place, "the connection was closed")));
      return socket;
    } catch (error) {
      this.#lose(registryAway(this.#place, reasonOf(error)));
      throw error;
    }
  }

  #hawserError(error: unknown): unknown {
    if (error instanceof HawserError || !(error instanceof Error)) return error;
    switch (errnoCode(error)) {
      case UNIQUE_VIOLATION:
      case LOCK_NOT_AVAILABLE:
        return new HawserError(
          "CA_BUSY",
          `another machine is changing the registry in ${this.#place}`,
          "Try again when that machine has finished.",
        );
      case NO_TABLE:
        return registryAway(this.#place, "it has no tables of hawser");
      default:
        return refused(this.#place, error) ?? registryAway(this.#place, reasonOf(error));
    }
  }
}

function refused(place: string, error: Error): HawserError | undefined {
  const nextStep = REFUSALS[errnoCode(error)];
  if (nextStep === undefined) return undefined;
  return new HawserError("REGISTRY_REFUSED", `the registry's database ${place} refuses: ${reasonOf(error)}`, nextStep);
}

function connected(host: string, port: number, deadline: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = host.startsWith("/") ? connect(join(host, `.s.PGSQL.${port}`)) : connect(port, host);
    deadline.addEventListener("abort", () => socket.destroy());
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the connection was closed")));
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

function reasonOf(error: unknown): string {
  const code = errnoCode(error);
  return code === "" ? errorMessage(error) : `${errorMessage(error)} (${code})`;
}
