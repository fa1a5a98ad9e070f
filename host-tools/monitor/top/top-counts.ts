/** What `hawser monitor top` shows of a broker's log, kept within bounds. */
import type { MonitorEvent } from "../log-monitor.js";
import { REFUSAL_REASONS } from "../mosquitto-line.js";
import type { RefusalReason } from "../mosquitto-line.js";
import { RecentCount } from "./recent-count.js";
import type { Recent } from "./recent-count.js";

/** Client ids that are remembered as connected. Past it, the count says "at least". */
export const MAX_CLIENTS = 200_000;

const COUNTED = ["refused", "denied", "taken-over", "timed-out", "kicked", "connected", "alert"] as const;
type Counted = (typeof COUNTED)[number];

export interface TopSnapshot {
  /** The broker's version, once the log said it. */
  readonly version?: string;
  /** Clients that are connected by what the log says. */
  readonly connected: number;
  readonly isConnectedFull: boolean;
  readonly counts: Readonly<Record<Counted, Recent>>;
  readonly refusals: Readonly<Record<RefusalReason, Recent>>;
  /** When the newest event was written; undefined without any. */
  readonly newestMs?: number;
}

const mapOf = <K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> =>
  Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>;

export class TopCounts {
  readonly #clients = new Set<string>();
  readonly #counts = mapOf(COUNTED, () => new RecentCount());
  readonly #refusals = mapOf(REFUSAL_REASONS, () => new RecentCount());
  #isFull = false;
  #version: string | undefined;
  #newestMs: number | undefined;

  event(event: MonitorEvent): void {
    const { kind, timeMs } = event;
    this.#newestMs = Math.max(timeMs, this.#newestMs ?? timeMs);
    if (isCounted(kind)) this.#counts[kind].add(timeMs);
    switch (event.kind) {
      case "refused":
        return this.#refusals[event.reason].add(timeMs);
      case "connected":
        return this.#connected(event.client);
      case "disconnected":
      case "timed-out":
      case "kicked":
        if (event.client !== undefined) this.#clients.delete(event.client);
        return;
      case "broker-started":
        this.#version = event.version;
        return this.#forgetClients();
      case "broker-stopped":
        return this.#forgetClients();
    }
  }

  /** Of a broker that counts by itself: what happened since the look before. */
  looked({ refusals, connects, version }: { refusals: number; connects: number; version: string }, timeMs: number): void {
    this.#newestMs = timeMs;
    this.#version = version;
    this.#counts.refused.add(timeMs, refusals);
    this.#refusals.password.add(timeMs, refusals);
    this.#counts.connected.add(timeMs, connects);
  }

  at(nowMs: number): TopSnapshot {
    return {
      ...(this.#version === undefined ? {} : { version: this.#version }),
      connected: this.#clients.size,
      isConnectedFull: this.#isFull,
      counts: mapOf(COUNTED, (kind) => this.#counts[kind].at(nowMs)),
      refusals: mapOf(REFUSAL_REASONS, (reason) => this.#refusals[reason].at(nowMs)),
      ...(this.#newestMs === undefined ? {} : { newestMs: this.#newestMs }),
    };
  }

  #connected(client: string | undefined): void {
    if (client === undefined || this.#clients.has(client)) return;
    if (this.#clients.size < MAX_CLIENTS) this.#clients.add(client);
    else this.#isFull = true;
  }

  #forgetClients(): void {
    this.#clients.clear();
    this.#isFull = false;
  }
}

function isCounted(kind: MonitorEvent["kind"]): kind is Counted {
  return (COUNTED as readonly string[]).includes(kind);
}
