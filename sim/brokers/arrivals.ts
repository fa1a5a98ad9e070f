/** Where connections come from and how fast: bounds for one network, and on the rate of all. */
import type { Socket } from "node:net";
import type { BrokerLimits } from "./broker-events.js";
import { networkOf } from "./half-open.js";

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Networks whose last connection came long ago are forgotten above this. */
const MAX_BUCKETS = 10_000;

/** Has a key that no network has. */
const ALL = "all";

export class Arrivals {
  readonly #openByNetwork = new Map<string, number>();
  readonly #buckets = new Map<string, Bucket>();

  /** @param limits read anew for each connection */
  constructor(
    private readonly limits: Readonly<
      Pick<BrokerLimits, "maxConnectionsPerNetwork" | "maxConnectionsPerSecond" | "maxConnectionsPerSecondPerNetwork">
    >,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** Counts a connection until it closes; false, and it is not counted, when it is one too many. */
  admit(socket: Pick<Socket, "remoteAddress" | "once">): boolean {
    const network = networkOf(socket.remoteAddress ?? "");
    const open = this.#openByNetwork.get(network) ?? 0;
    const { maxConnectionsPerNetwork, maxConnectionsPerSecond, maxConnectionsPerSecondPerNetwork } = this.limits;
    const all = this.#filled(ALL, maxConnectionsPerSecond);
    const own = this.#filled(network, maxConnectionsPerSecondPerNetwork);
    if (open >= maxConnectionsPerNetwork || all.tokens < 1 || own.tokens < 1) return false;
    all.tokens -= 1;
    own.tokens -= 1;
    this.#openByNetwork.set(network, open + 1);
    socket.once("close", () => this.#left(network));
    return true;
  }

  #left(network: string): void {
    const others = (this.#openByNetwork.get(network) ?? 1) - 1;
    if (others > 0) this.#openByNetwork.set(network, others);
    else this.#openByNetwork.delete(network);
  }

  /** A second's worth may come at once, and one connection where the rate is less than one. */
  #filled(key: string, perSecond: number): Bucket {
    const nowMs = this.nowMs();
    const capacity = Math.max(1, perSecond);
    const bucket = this.#buckets.get(key) ?? { tokens: capacity, atMs: nowMs };
    bucket.tokens = Math.min(capacity, bucket.tokens + ((nowMs - bucket.atMs) * perSecond) / 1_000);
    bucket.atMs = nowMs;
    // The one that has been silent longest stands first.
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    const [silent] = this.#buckets.size > MAX_BUCKETS ? this.#buckets.keys() : [];
    if (silent !== undefined) this.#buckets.delete(silent);
    return bucket;
  }
}
