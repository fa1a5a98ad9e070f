/**
 * Plays EMQX 5's REST API as its documentation describes it: no EMQX is installed where these tests run. It knows the few calls that Hawser
 * makes and answers everything else, also a parameter or field too many, as EMQX answers what it does not know.
 */
import { createServer as createPlain } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createTls } from "node:https";
import type { AddressInfo } from "node:net";

export const API_KEY = { username: "a87465f3ca0d8", password: "a-secret-of-the-dashboard" };

const CLIENT_FILTERS: ReadonlySet<string> = new Set(["page", "limit", "node", "username", "clientid", "ip_address", "conn_state"]);
const BAN_FIELDS: ReadonlySet<string> = new Set(["as", "who", "by", "reason", "at", "until"]);
const BAN_KINDS: ReadonlySet<string> = new Set(["clientid", "username", "peerhost"]);
const MAX_LIMIT = 10_000;

interface Ban {
  readonly as: string;
  readonly who: string;
  readonly until: string;
  readonly reason?: string;
}

export class EmqxDouble {
  /** User names by client id. */
  readonly sessions = new Map<string, string>();
  readonly bans = new Map<string, Ban>();
  /** Method and path of each call. */
  readonly calls: string[] = [];
  /** Sessions that come back at once when they are kicked, and unless they are banned where `heedsBans`. */
  comesBack = false;
  heedsBans = true;
  /** Sessions in an answer at most, whatever is asked for. */
  mostInPage = MAX_LIMIT;
  /** Answers every call with this, in the place of a role that may not. */
  refusal: number | undefined;

  private constructor(readonly url: string) {}

  static async start(tls?: { key: string; cert: string }): Promise<EmqxDouble & { close(): Promise<void> }> {
    const answer = (request: IncomingMessage, response: ServerResponse): void => void double.#answer(request, response);
    const server = tls === undefined ? createPlain(answer) : createTls(tls, answer);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const double = new EmqxDouble(`http${tls === undefined ? "" : "s"}://localhost:${port}`);
    const close = async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    };
    return Object.assign(double, { close });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", this.url);
    this.calls.push(`${request.method} ${request.url}`);
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += String(chunk);
    const [status, answer] = this.#statusOf(request, url, body);
    response.writeHead(status, { "content-type": "application/json" }).end(answer === undefined ? undefined : JSON.stringify(answer));
  }

  #statusOf(request: IncomingMessage, url: URL, body: string): [status: number, answer?: unknown] {
    const expected = `Basic ${Buffer.from(`${API_KEY.username}:${API_KEY.password}`).toString("base64")}`;
    if (request.headers.authorization !== expected) return [401, { code: "BAD_API_KEY_OR_SECRET", message: "Check api_key/api_secret" }];
    if (this.refusal !== undefined) return [this.refusal, { code: "UNAUTHORIZED_ROLE", message: "no permission" }];
    const parts = url.pathname.split("/").map(decodeURIComponent);
    if (parts[1] !== "api" || parts[2] !== "v5") return notFound("API_NOT_EXIST");
    const [, , , collection, first, second, ...rest] = parts;
    if (collection === "clients" && request.method === "GET" && first === undefined) return this.#list(url.searchParams);
    if (collection === "clients" && request.method === "DELETE" && first !== undefined && second === undefined) return this.#kick(first);
    if (collection === "banned" && request.method === "POST" && first === undefined) return this.#ban(body);
    if (collection === "banned" && request.method === "DELETE" && second !== undefined && rest.length === 0)
      return this.bans.delete(`${first ?? ""} ${second}`) ? [204] : notFound("NOT_FOUND");
    return notFound("API_NOT_EXIST");
  }

  #list(filters: URLSearchParams): [number, unknown] {
    const unknown = [...filters.keys()].find((name) => !CLIENT_FILTERS.has(name));
    const [page, limit] = ["page", "limit"].map((name) => Number(filters.get(name) ?? (name === "page" ? 1 : 100)));
    if (unknown !== undefined || !isWithin(page, Infinity) || !isWithin(limit, MAX_LIMIT))
      return [400, { code: "BAD_REQUEST", message: `bad parameter ${unknown ?? ""}` }];
    const user = filters.get("username");
    const all = [...this.sessions].filter(([, username]) => user === null || username === user);
    const size = Math.min(limit, this.mostInPage);
    const data = all.slice((page - 1) * size, page * size).map(([clientid, username]) => ({ clientid, username, connected: true }));
    return [200, { data, meta: { page, limit, count: all.length, hasnext: page * size < all.length } }];
  }

  #kick(clientId: string): [number, unknown?] {
    const user = this.sessions.get(clientId);
    if (user === undefined) return notFound("CLIENTID_NOT_FOUND");
    const isBack = this.comesBack && !(this.heedsBans && this.bans.has(`username ${user}`));
    if (!isBack) this.sessions.delete(clientId);
    return [204];
  }

  #ban(body: string): [number, unknown] {
    const ban = JSON.parse(body) as Ban;
    const isKnown = Object.keys(ban).every((field) => BAN_FIELDS.has(field)) && BAN_KINDS.has(ban.as) && typeof ban.who === "string";
    if (!isKnown || (ban.until !== undefined && Number.isNaN(Date.parse(ban.until))))
      return [400, { code: "BAD_REQUEST", message: "bad ban" }];
    const key = `${ban.as} ${ban.who}`;
    const before = this.bans.get(key);
    if (before !== undefined) return [400, { code: "ALREADY_EXISTS", message: JSON.stringify(before) }];
    this.bans.set(key, ban);
    return [200, ban];
  }
}

function notFound(code: string): [number, unknown] {
  return [404, { code, message: "not found" }];
}

function isWithin(value: number | undefined, most: number): value is number {
  return value !== undefined && Number.isInteger(value) && value >= 1 && value <= most;
}
