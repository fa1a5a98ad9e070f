/** Reads RabbitMQ's management API now and then: its counts, and who failed to log in. */
import { errorMessage } from "../../sdk/errors.js";
import type { LoginSource, ManagementApi, NodeFacts, Overview } from "../brokers/rabbitmq/management-api.js";
import type { BrokerEvent } from "./log-events.js";

/** What a look found. Counts are since the look before. */
export interface RabbitmqLook {
  readonly overview: Overview;
  readonly memoryBytes: number;
  readonly uptimeMs: number;
  readonly accepts: number;
  readonly ends: number;
  readonly connects: number;
  readonly refusals: number;
}

export interface RabbitmqOwner {
  looked(look: RabbitmqLook): void;
  event(event: BrokerEvent): void;
  /** Why it cannot be read, once for each time. */
  unreachable(reason: string): void;
}

const LOOK_MS = 5000;
/** Of one sender in one look: enough for every rule about single senders, and an end to a flood. */
const MOST_OF_ONE = 20;
const MOST_EVENTS = 500;

export class RabbitmqSource {
  readonly #api: ManagementApi;
  readonly #owner: RabbitmqOwner;
  readonly #lookMs: number;
  readonly #totals = new Map<string, number>();
  #uptimes = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #isClosed = false;
  #isReported = false;
  #isWithoutSources = false;
  #isFirst = true;

  constructor(api: ManagementApi, owner: RabbitmqOwner, lookMs = LOOK_MS) {
    this.#api = api;
    this.#owner = owner;
    this.#lookMs = lookMs;
  }

  /** Looks, and goes on looking until {@link close}. */
  start(): void {
    this.#looking = this.look().then(() => {
      if (!this.#isClosed) this.#timer = setTimeout(() => this.start(), this.#lookMs);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** One look. Never fails. */
  async look(): Promise<void> {
    try {
      const [overview, nodes] = await Promise.all([this.#api.overview(), this.#api.nodes()]);
      const running = nodes.filter(({ isRunning }) => isRunning);
      let [connects, refusals] = [0, 0];
      const sources: LoginSource[] = [];
      for (const { name } of running) {
        const { failed, succeeded } = await this.#api.logins(name);
        connects += this.#since(`connects ${name}`, succeeded);
        refusals += this.#since(`refusals ${name}`, failed);
        sources.push(...(await this.#sourcesOf(name)));
      }
      if (this.#isClosed) return;
      const nowMs = Date.now();
      this.#restarts(running, overview.version, nowMs);
      this.#failures(sources, nowMs);
      this.#owner.looked({
        overview,
        memoryBytes: running.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
        uptimeMs: Math.max(0, ...running.map(({ uptimeMs }) => uptimeMs)),
        accepts: this.#since("accepts", overview.connectionsOpened),
        ends: this.#since("ends", overview.connectionsClosed),
        connects,
        refusals,
      });
      this.#isFirst = false;
      this.#isReported = false;
    } catch (error) {
      if (!this.#isReported && !this.#isClosed) this.#owner.unreachable(errorMessage(error));
      this.#isReported = true;
    }
  }

  /** Strangers decide how long this list is: without it, the counts still come. */
  async #sourcesOf(node: string): Promise<readonly LoginSource[]> {
    try {
      return await this.#api.loginSources(node);
    } catch (error) {
      if (!this.#isWithoutSources && !this.#isClosed) this.#owner.unreachable(`who failed to log in at ${node}: ${errorMessage(error)}`);
      this.#isWithoutSources = true;
      return [];
    }
  }

  /** What was there at the first look happened before it. A count that fell began anew. */
  #since(key: string, total: number): number {
    const before = this.#totals.get(key);
    this.#totals.set(key, total);
    if (before === undefined) return this.#isFirst ? 0 : total;
    return total < before ? total : total - before;
  }

  #restarts(running: readonly NodeFacts[], version: string, timeMs: number): void {
    for (const { name, uptimeMs } of running) {
      const before = this.#uptimes.get(name);
      if (before !== undefined && uptimeMs < before) this.#owner.event({ kind: "broker-started", version: `RabbitMQ ${version}`, timeMs });
    }
    this.#uptimes = new Map(running.map(({ name, uptimeMs }) => [name, uptimeMs]));
  }

  /** RabbitMQ keeps them for ever: those that are gone with a restart are forgotten here too. */
  #failures(sources: readonly LoginSource[], timeMs: number): void {
    const seen = new Set<string>();
    let left = MOST_EVENTS;
    for (const { address, user, failed } of sources) {
      const key = `source ${address} ${user}`;
      seen.add(key);
      const events = Math.min(this.#since(key, failed), MOST_OF_ONE, left);
      left -= events;
      for (let told = 0; told < events; told += 1)
        this.#owner.event({ kind: "refused", reason: "password", address, claimedClient: user.slice(0, MOST_NAME), timeMs });
    }
    for (const key of this.#totals.keys()) if (key.startsWith("source ") && !seen.has(key)) this.#totals.delete(key);
  }
}

/** As long as mosquitto's log lets one be. */
const MOST_NAME = 1024;
