/** EMQX's REST API, version 5: the sessions of a user name, and bans. Written after its documentation; no EMQX has been asked here. */
import { asList, asObject, ManagementConnection } from "../management-api.js";
import type { ManagementAnswer, ManagementLogin } from "../management-api.js";

const PAGE_SIZE = 1000;
/** A million sessions. */
const MAX_PAGES = 1000;
const NEXT = "Check the address (the dashboard's port), the API key and its secret, and that the key's role is administrator.";
/** Without an end, some releases take a year for one. */
const FOR_GOOD = "2999-12-31T23:59:59Z";
/** A ban that ends before this is not one for good. */
const GOOD_ENOUGH_MS = Date.parse("2200-01-01T00:00:00Z");

export class EmqxApi {
  readonly #connection: ManagementConnection;

  /** @param login `username` is the API key, `password` its secret */
  constructor(login: ManagementLogin) {
    this.#connection = new ManagementConnection(login, "api/v5", NEXT);
  }

  /**
   * The client ids of every session of a user name, also of those that are not connected.
   * @throws HawserError `MANAGEMENT_FAILED`
   */
  async clientIdsOf(user: string): Promise<string[]> {
    const found: string[] = [];
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const answer = await this.#connection.send("GET", `clients?username=${encodeURIComponent(user)}&page=${page}&limit=${PAGE_SIZE}`);
      if (answer.status !== 200) throw this.#refused(answer);
      const { data, meta } = asObject(this.#connection.parse(answer));
      if (!Array.isArray(data)) throw this.#connection.failed("its answer has no list of clients");
      for (const row of asList(data).map(asObject)) {
        const { clientid, username } = row;
        // An API that knows no such filter lists everybody.
        if (typeof clientid === "string" && username === user) found.push(clientid);
      }
      const { hasnext } = asObject(meta);
      if (!(typeof hasnext === "boolean" ? hasnext : data.length === PAGE_SIZE)) return found;
    }
    throw this.#connection.failed(`it has more than ${MAX_PAGES * PAGE_SIZE} sessions`);
  }

  /** Ends a session. Succeeds where it has ended already. Throws as {@link clientIdsOf}. */
  async kick(clientId: string): Promise<void> {
    const answer = await this.#connection.send("DELETE", `clients/${encodeURIComponent(clientId)}`);
    if (answer.status !== 204 && answer.status !== 404) throw this.#refused(answer);
  }

  /** Lets nobody in by this user name any more. A ban that would end takes this one's place. Throws as {@link clientIdsOf}. */
  async ban(user: string, reason: string): Promise<void> {
    const body = { as: "username", who: user, by: "hawser", reason, until: FOR_GOOD };
    const answer = await this.#connection.send("POST", "banned", { body });
    if (answer.status === 200) return;
    const before = this.#bannedBefore(answer);
    if (before === undefined) throw this.#refused(answer);
    if (isForGood(before["until"])) return;
    await this.unban(user);
    const again = await this.#connection.send("POST", "banned", { body });
    if (again.status !== 200) throw this.#refused(again);
  }

  /** @returns false where there was no ban. Throws as {@link clientIdsOf}. */
  async unban(user: string): Promise<boolean> {
    const answer = await this.#connection.send("DELETE", `banned/username/${encodeURIComponent(user)}`);
    if (answer.status !== 204 && answer.status !== 404) throw this.#refused(answer);
    return answer.status === 204;
  }

  /** The ban that was there, where that is why it was refused: the answer's message is that ban as JSON. */
  #bannedBefore(answer: ManagementAnswer): Readonly<Record<string, unknown>> | undefined {
    if (answer.status !== 400) return undefined;
    const { code, message } = asObject(jsonOf(answer.text));
    if (typeof code !== "string" || !code.startsWith("ALREADY_EXIST")) return undefined;
    return asObject(typeof message === "string" ? jsonOf(message) : message);
  }

  #refused({ status, text }: ManagementAnswer): Error {
    if (status === 401) return this.#connection.failed("it takes neither the API key nor its secret");
    if (status === 403) return this.#connection.failed("this API key may not do that");
    const code = /"code":"([A-Z_]{1,40})"/.exec(text)?.[1];
    return this.#connection.failed(`it answered ${status}${code === undefined ? "" : ` (${code})`}`);
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isForGood(until: unknown): boolean {
  if (until === "infinity") return true;
  return typeof until === "string" && Date.parse(until) >= GOOD_ENOUGH_MS;
}
