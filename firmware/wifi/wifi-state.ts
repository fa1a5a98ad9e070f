/**
 * When a station connects, gives up and tries again: plain state. Events and time in, effects out; `wifi-keeper.ts` does what it says.
 *
 * ECMA-419 Wi-Fi tells of itself by one number: 200 down, 300 connecting, 400 joined without an address, 500 joined with one.
 * The driver never reconnects by itself, does not tell when a lease was lost, and can believe itself up on an access point
 * that forwards nothing; so a station that proved nothing for long is taken down and joined anew.
 */
import { Backoff, type BackoffPolicy } from "../../sdk/backoff.js";

export interface WifiPolicy {
  backoff: BackoffPolicy;
  /** From the call to an address, milliseconds. */
  joinTimeoutMs: number;
  /**
   * Up without any proof that the network works for so long, milliseconds, means join anew; doubles each time in a row, up to eightfold.
   */
  suspectAfterMs: number;
}

export const DEFAULT_WIFI_POLICY: WifiPolicy = {
  backoff: { baseMs: 1_000, capMs: 60_000, floorMs: 500, stableAfterMs: 30_000 },
  joinTimeoutMs: 20_000,
  suspectAfterMs: 600_000,
};

export type WifiEvent =
  | "start"
  | "stop"
  /** The time asked for by the last `wait` is over. */
  | "elapsed"
  /** The driver refused to connect. */
  | "refused"
  /** Something answered from beyond the access point. */
  | "proof"
  /** The driver's number changed. */
  | { connection: number };

export type WifiEffect =
  | { kind: "connect" }
  | { kind: "disconnect" }
  /** Replaces the wait before it. */
  | { kind: "wait"; delayMs: number }
  | { kind: "idle" }
  | { kind: "up" }
  | { kind: "down"; reason: "left" | "failed" | "no-answer" | "stopped" };

const HAS_ADDRESS = 500;
const JOINING = 300;
const MOST_DOUBLINGS = 3;

export class WifiState {
  readonly #policy: WifiPolicy;
  readonly #backoff: Backoff;
  #stage: "off" | "joining" | "up" | "resting" = "off";
  #upSinceMs = 0;
  /** The last proof, or when it came up. */
  #provedAtMs = 0;
  #doublings = 0;

  constructor(policy: WifiPolicy, fraction: () => number) {
    this.#policy = policy;
    this.#backoff = new Backoff(policy.backoff, fraction);
  }

  get isUp(): boolean {
    return this.#stage === "up";
  }

  /** @param nowMs monotonic */
  on(event: WifiEvent, nowMs: number): WifiEffect[] {
    if (event === "start") return this.#stage === "off" ? this.#join() : [];
    if (this.#stage === "off") return [];
    if (event === "stop") return this.#stop();
    if (event === "proof") return this.#proof(nowMs);
    if (event === "elapsed") return this.#elapsed(nowMs);
    if (event === "refused") return this.#stage === "joining" ? this.#rest() : [];
    return this.#changed(event.connection, nowMs);
  }

  #changed(connection: number, nowMs: number): WifiEffect[] {
    // Also while resting: a late event of an attempt given up can make a join look failed that then succeeds.
    if (connection >= HAS_ADDRESS) return this.#stage === "up" ? [] : this.#up(nowMs);
    if (this.#stage === "up") {
      // Joined but without an address any more, or down altogether: from here on it is a join like any other.
      this.#backoff.ended(nowMs - this.#upSinceMs);
      const down: WifiEffect = { kind: "down", reason: "left" };
      return connection < JOINING ? [down, ...this.#rest()] : [down, { kind: "disconnect" }, ...this.#rest()];
    }
    return this.#stage === "joining" && connection < JOINING ? this.#rest() : [];
  }

  #elapsed(nowMs: number): WifiEffect[] {
    switch (this.#stage) {
      case "joining":
        return [{ kind: "down", reason: "failed" }, { kind: "disconnect" }, ...this.#rest()];
      case "up":
        if (this.#suspectInMs(nowMs) > 0) return [this.#suspicion(nowMs)];
        this.#doublings = Math.min(MOST_DOUBLINGS, this.#doublings + 1);
        this.#backoff.ended(nowMs - this.#upSinceMs);
        return [{ kind: "down", reason: "no-answer" }, { kind: "disconnect" }, ...this.#rest()];
      default:
        return this.#join();
    }
  }

  #join(): WifiEffect[] {
    this.#stage = "joining";
    return [{ kind: "wait", delayMs: this.#policy.joinTimeoutMs }, { kind: "connect" }];
  }

  #up(nowMs: number): WifiEffect[] {
    this.#stage = "up";
    this.#upSinceMs = nowMs;
    this.#provedAtMs = nowMs;
    return [this.#suspicion(nowMs), { kind: "up" }];
  }

  /** Comes with all data, so it moves no timer but one that was set for a longer time. */
  #proof(nowMs: number): WifiEffect[] {
    if (this.#stage !== "up") return [];
    this.#provedAtMs = nowMs;
    if (this.#doublings === 0) return [];
    this.#doublings = 0;
    return [this.#suspicion(nowMs)];
  }

  #suspectInMs(nowMs: number): number {
    return this.#provedAtMs + this.#policy.suspectAfterMs * 2 ** this.#doublings - nowMs;
  }

  #suspicion(nowMs: number): WifiEffect {
    return { kind: "wait", delayMs: this.#suspectInMs(nowMs) };
  }

  #rest(): WifiEffect[] {
    this.#stage = "resting";
    return [{ kind: "wait", delayMs: this.#backoff.next() }];
  }

  #stop(): WifiEffect[] {
    const wasUp = this.#stage === "up";
    this.#stage = "off";
    const end: WifiEffect[] = [{ kind: "idle" }, { kind: "disconnect" }];
    return wasUp ? [{ kind: "down", reason: "stopped" }, ...end] : end;
  }
}
