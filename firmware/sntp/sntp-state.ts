/**
 * Which time server is asked when, and when their answers are believed: plain state.
 *
 * SNTP proves nothing about who answers. So with two or more servers no time is taken that only one of them says, and none that
 * `judgeReply` refuses; the clock is asked for again every few hours, and a server that asks for peace gets it.
 */
import { Backoff, type BackoffPolicy } from "../../sdk/backoff.js";
import type { Verdict } from "./sntp-packet.js";

export interface SntpPolicy {
  /** Between rounds that failed, milliseconds. */
  backoff: BackoffPolicy;
  /** After a round that gave a time, milliseconds; jittered by up to a tenth. */
  againAfterMs: number;
  /** How far two servers may be apart, milliseconds. */
  agreementMs: number;
}

export const DEFAULT_SNTP_POLICY: SntpPolicy = {
  backoff: { baseMs: 4_000, capMs: 900_000, floorMs: 2_000, stableAfterMs: 0 },
  againAfterMs: 6 * 3_600_000,
  agreementMs: 5_000,
};

const RATE_PEACE_MS = 4 * 3_600_000;
const DENIED_PEACE_MS = 24 * 3_600_000;

export type SntpStep =
  | { kind: "ask"; server: string }
  /** The servers agree: take this wall time (at monotonic 0), and rest. */
  | { kind: "set"; wallStartMs: number; delayMs: number }
  /** No agreement this time. */
  | { kind: "rest"; delayMs: number };

interface Server {
  name: string;
  /** Left alone until then, monotonic. */
  peaceUntilMs: number;
}

export class SntpState {
  readonly #policy: SntpPolicy;
  readonly #fraction: () => number;
  readonly #backoff: Backoff;
  readonly #servers: Server[];
  #toAsk: Server[] = [];
  #answers: number[] = [];

  constructor(servers: readonly string[], fraction: () => number, policy: SntpPolicy = DEFAULT_SNTP_POLICY) {
    this.#policy = policy;
    this.#fraction = fraction;
    this.#backoff = new Backoff(policy.backoff, fraction);
    this.#servers = servers.map((name) => ({ name, peaceUntilMs: 0 }));
  }

  /** A new round. @param nowMs monotonic */
  begin(nowMs: number): SntpStep {
    this.#answers = [];
    this.#toAsk = this.#servers.filter((server) => server.peaceUntilMs <= nowMs);
    return this.#next(undefined);
  }

  /** What the server asked last said, or undefined when it said nothing in time. */
  answered(verdict: Exclude<Verdict, { kind: "stray" }> | undefined, nowMs: number): SntpStep {
    const server = this.#toAsk.shift();
    if (verdict?.kind === "kiss" && server) server.peaceUntilMs = nowMs + (verdict.code === "RATE" ? RATE_PEACE_MS : DENIED_PEACE_MS);
    return this.#next(verdict?.kind === "time" ? verdict.wallStartMs : undefined);
  }

  /** The network came back: the next failure waits briefly again. */
  hurry(): void {
    this.#backoff.reset();
  }

  #next(wallStartMs: number | undefined): SntpStep {
    if (wallStartMs !== undefined) {
      const agreed = this.#agreed(wallStartMs);
      if (agreed !== undefined) return this.#set(agreed);
      this.#answers.push(wallStartMs);
    }
    const server = this.#toAsk[0];
    return server ? { kind: "ask", server: server.name } : { kind: "rest", delayMs: this.#backoff.next() };
  }

  #agreed(wallStartMs: number): number | undefined {
    if (this.#servers.length === 1) return wallStartMs;
    const other = this.#answers.find((answer) => Math.abs(answer - wallStartMs) <= this.#policy.agreementMs);
    return other === undefined ? undefined : (other + wallStartMs) / 2;
  }

  #set(wallStartMs: number): SntpStep {
    this.#toAsk = [];
    this.#backoff.reset();
    return { kind: "set", wallStartMs, delayMs: Math.round(this.#policy.againAfterMs * (0.9 + 0.1 * this.#fraction())) };
  }
}
