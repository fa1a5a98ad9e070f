/** How a broker's management API is reached over HTTP: with a password for each request, verified, bounded, and without redirects. */
import type { IncomingMessage } from "node:http";
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode } from "../../sim/node/files/atomic-file.js";

export interface ManagementLogin {
  /** https, or http to this machine: the password goes with every request. */
  readonly url: URL;
  readonly username: string;
  readonly password: string;
  /** Trusted instead of the system's CA certificates, PEM. */
  readonly ca?: string | undefined;
}

export interface ManagementAnswer {
  readonly status: number;
  readonly text: string;
}

export interface ManagementRequest {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
}

const LOOPBACK: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);
const TIMEOUT_MS = 10_000;
/** A list of login sources grows with the names that strangers invent. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

/**
 * @param usualPort for the advice
 * @throws HawserError `BAD_URL`
 */
export function parseManagementUrl(text: string, usualPort = 15671): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe = url !== undefined && (url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK.has(url.hostname)));
  if (!isSafe || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw new HawserError(
      "BAD_URL",
      "invalid address of a management API",
      `Use https://HOST:${usualPort}; http only to localhost, and no user name in it.`,
    );
  return url;
}

export class ManagementConnection {
  readonly #login: ManagementLogin;
  readonly #base: string;
  readonly #next: string;
  readonly #maxAnswerBytes: number;

  /**
   * @param base of all paths, `api` for instance
   * @param next what to check when it fails
   */
  constructor(login: ManagementLogin, base: string, next: string, maxAnswerBytes = MAX_ANSWER_BYTES) {
    this.#login = login;
    this.#base = `${login.url.pathname.replace(/\/*$/, "")}/${base}/`;
    this.#next = next;
    this.#maxAnswerBytes = maxAnswerBytes;
  }

  /** @throws HawserError `MANAGEMENT_FAILED` without an answer, or with one that is too large */
  send(method: string, path: string, { headers = {}, body }: ManagementRequest = {}): Promise<ManagementAnswer> {
    const { url, username, password, ca } = this.#login;
    const target = new URL(`${this.#base}${path}`, url);
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const json = body === undefined ? undefined : JSON.stringify(body);
    const type = json === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(json) };
    const own = { ...headers, ...type, authorization, accept: "application/json" };
    const options = { method, headers: own, agent: false, signal: timeout } as const;
    return new Promise((resolve, reject) => {
      const request =
        target.protocol === "https:"
          ? // Said here, so that NODE_TLS_REJECT_UNAUTHORIZED cannot turn it off.
            requestTls(target, { ...options, rejectUnauthorized: true, minVersion: "TLSv1.2", ...(ca === undefined ? {} : { ca }) })
          : requestPlain(target, options);
      const fail = (error: Error): void => {
        const late = `no answer within ${TIMEOUT_MS / 1000} s`;
        reject(error instanceof HawserError ? error : this.failed(timeout.aborted ? late : error.message || errnoCode(error)));
      };
      request.once("response", (response) => void this.#read(response).then(resolve, fail));
      request.on("error", fail);
      request.end(json);
    });
  }

  /** The JSON of an answer. Throws `MANAGEMENT_FAILED`. */
  parse({ text }: ManagementAnswer): unknown {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw this.failed("its answer is not JSON");
    }
  }

  failed(why: string): HawserError {
    return new HawserError("MANAGEMENT_FAILED", `the management API at ${this.#login.url.host}: ${why}`, this.#next);
  }

  async #read(response: IncomingMessage): Promise<ManagementAnswer> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      if (sizeBytes > this.#maxAnswerBytes) throw this.failed(`its answer has more than ${this.#maxAnswerBytes} bytes`);
      chunks.push(chunk);
    }
    return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
  }
}

export function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : {};
}

export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}
