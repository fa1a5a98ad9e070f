/** RabbitMQ's management API: what a node says of itself, and the end of a user's connections. Tried with 3.10. */
import { asList, asObject, ManagementConnection } from "../management-api.js";
import type { ManagementLogin } from "../management-api.js";

export interface ManagedConnection {
  /** RabbitMQ's own name of it. */
  readonly name: string;
  readonly user: string;
  readonly address?: string;
  readonly clientId?: string;
}

/** Failed and successful logins since the node started. */
export interface LoginCounts {
  readonly failed: number;
  readonly succeeded: number;
}

export interface LoginSource extends LoginCounts {
  readonly address: string;
  /** What the sender called itself. Nothing proves it. */
  readonly user: string;
}

export interface NodeFacts {
  readonly name: string;
  readonly isRunning: boolean;
  readonly uptimeMs: number;
  readonly memoryBytes: number;
}

export interface Overview {
  readonly version: string;
  readonly connections: number;
  readonly consumers: number;
  readonly published: number;
  readonly delivered: number;
  readonly stored: number;
  readonly connectionsOpened: number;
  readonly connectionsClosed: number;
}

const PAGE_SIZE = 500;
/** Half a million connections. */
const MAX_PAGES = 1000;
const MAX_NODES = 32;
const NEXT = "Check the address, the plugin rabbitmq_management, and the user's password and tags.";

export class ManagementApi {
  readonly #connection: ManagementConnection;

  constructor(login: ManagementLogin, maxAnswerBytes?: number) {
    this.#connection = new ManagementConnection(login, "api", NEXT, maxAnswerBytes);
  }

  /** @throws HawserError `MANAGEMENT_FAILED` */
  async overview(): Promise<Overview> {
    const answer = asObject(await this.#get("overview"));
    const [objects, messages, queues, churn] = ["object_totals", "message_stats", "queue_totals", "churn_rates"].map((part) =>
      asObject(answer[part] ?? {}),
    );
    return {
      version: typeof answer["rabbitmq_version"] === "string" ? answer["rabbitmq_version"].slice(0, 32) : "",
      connections: count(objects, "connections"),
      consumers: count(objects, "consumers"),
      published: count(messages, "publish"),
      delivered: count(messages, "deliver_get"),
      stored: count(queues, "messages"),
      connectionsOpened: count(churn, "connection_created"),
      connectionsClosed: count(churn, "connection_closed"),
    };
  }

  /** At most 32 of them. Throws as {@link overview}. */
  async nodes(): Promise<NodeFacts[]> {
    const answer = await this.#get("nodes?columns=name,running,uptime,mem_used");
    return asList(answer)
      .slice(0, MAX_NODES)
      .map(asObject)
      .flatMap((node) => {
        const name = node["name"];
        if (typeof name !== "string") return [];
        return [{ name, isRunning: node["running"] === true, uptimeMs: count(node, "uptime"), memoryBytes: count(node, "mem_used") }];
      });
  }

  /** Of MQTT, by the node's own count. Throws as {@link overview}. */
  async logins(node: string): Promise<LoginCounts> {
    const rows = asList(await this.#get(`auth/attempts/${encodeURIComponent(node)}`)).map(asObject);
    return sumOf(rows.filter(isMqtt));
  }

  /**
   * By address and user name; none where the node does not count them (`track_auth_attempt_source`).
   * @throws as {@link overview}; also when there are more than an answer may hold
   */
  async loginSources(node: string): Promise<LoginSource[]> {
    const rows = asList(await this.#get(`auth/attempts/${encodeURIComponent(node)}/source`)).map(asObject);
    return rows.filter(isMqtt).flatMap((row) => {
      const { remote_address: address, username: user } = row;
      return typeof address === "string" && typeof user === "string" ? [{ address, user, ...sumOf([row]) }] : [];
    });
  }

  /**
   * Every connection that signed in as this user.
   * @throws as {@link overview}
   */
  async connectionsOf(user: string): Promise<ManagedConnection[]> {
    const found: ManagedConnection[] = [];
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const columns = "columns=name,user,peer_host,variable_map";
      const answer = asObject(await this.#get(`connections?page=${page}&page_size=${PAGE_SIZE}&${columns}`));
      for (const row of asList(answer["items"]).map(asObject)) {
        const { name, user: owner, peer_host: address, variable_map: variables } = row;
        if (typeof name !== "string" || owner !== user) continue;
        const clientId = asObject(variables ?? {})["client_id"];
        found.push({
          name,
          user,
          ...(typeof address === "string" ? { address } : {}),
          ...(typeof clientId === "string" ? { clientId } : {}),
        });
      }
      if (page >= count(answer, "page_count")) return found;
    }
    throw this.#connection.failed(`it has more than ${MAX_PAGES * PAGE_SIZE} connections`);
  }

  /**
   * Ends a connection. Succeeds where it has ended already.
   * @throws as {@link overview}
   */
  async close(connection: string, reason: string): Promise<void> {
    const headers = { "x-reason": reason };
    const { status } = await this.#connection.send("DELETE", `connections/${encodeURIComponent(connection)}`, { headers });
    if (status !== 204 && status !== 404) throw this.#connection.failed(`it answered ${status}`);
  }

  async #get(path: string): Promise<unknown> {
    const answer = await this.#connection.send("GET", path);
    if (answer.status === 401)
      throw this.#connection.failed("it takes neither the user name nor the password, or the user has no tag `monitoring`");
    if (answer.status !== 200) throw this.#connection.failed(`it answered ${answer.status}`);
    return this.#connection.parse(answer);
  }
}

function isMqtt(row: Readonly<Record<string, unknown>>): boolean {
  return row["protocol"] === "mqtt";
}

function sumOf(rows: readonly Readonly<Record<string, unknown>>[]): LoginCounts {
  const sum = (field: string): number => rows.reduce((total, row) => total + count(row, field), 0);
  return { failed: sum("auth_attempts_failed"), succeeded: sum("auth_attempts_succeeded") };
}

/** A number that cannot be one is 0. */
function count(of: Readonly<Record<string, unknown>> | undefined, field: string): number {
  const value = of?.[field];
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}
