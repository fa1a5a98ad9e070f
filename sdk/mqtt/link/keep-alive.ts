/**
 * Notices that a connection is dead although nobody said so (MQTT 5.0, section 3.1.2.10): asks when it was silent, and waits for the answer
 * within a bound. One timer runs, however many packets come and go, and a second one while an answer is awaited.
 */
import type { Cancel, Scheduler } from "../../platform.js";

/** What the keep-alive asks of its connection. */
export interface KeepAliveOwner {
  ping(): void;
  /** No answer came: the connection is dead. */
  expired(what: string): void;
  /** What has been waiting for an acknowledgement for longest, by identity. */
  readonly oldestUnanswered: object | undefined;
}

/** Looked at so often within an interval that a packet goes out at least every four fifths of it. */
const LOOKS = 2.5;
/** The longest wait for PINGRESP. */
const MAX_ANSWER_MS = 20_000;

export class KeepAlive {
  #cancelTick: Cancel | undefined;
  #cancelAnswer: Cancel | undefined;
  /** Between two looks at the traffic; 0: none. */
  #lookMs = 0;
  #ackTimeoutMs = 0;
  #tickMs = 0;
  #sinceLookMs = 0;
  #hasSent = true;
  #hasReceived = true;
  #silentLooks = 0;
  #oldest: object | undefined;
  #oldestForMs = 0;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly owner: KeepAliveOwner,
  ) {}

  /** @param intervalSeconds 0: no pings. @param ackTimeoutMs 0: acknowledgements are not watched */
  start(intervalSeconds: number, ackTimeoutMs: number): void {
    this.#lookMs = (intervalSeconds * 1_000) / LOOKS;
    this.#ackTimeoutMs = ackTimeoutMs;
    // A whole number of ticks makes a look, so that none comes late.
    const shorter = ackTimeoutMs > 0 && ackTimeoutMs < this.#lookMs;
    this.#tickMs = this.#lookMs === 0 ? ackTimeoutMs : shorter ? this.#lookMs / Math.ceil(this.#lookMs / ackTimeoutMs) : this.#lookMs;
    if (this.#tickMs > 0) this.#schedule();
  }

  stop(): void {
    this.#cancelTick?.();
    this.#cancelAnswer?.();
    this.#cancelTick = undefined;
    this.#cancelAnswer = undefined;
  }

  sent(): void {
    this.#hasSent = true;
  }

  received(): void {
    this.#hasReceived = true;
  }

  /** PINGRESP. */
  answered(): void {
    this.#cancelAnswer?.();
    this.#cancelAnswer = undefined;
  }

  #schedule(): void {
    this.#cancelTick = this.scheduler.after(this.#tickMs, () => {
      this.#schedule();
      this.#sinceLookMs += this.#tickMs;
      // Half a tick of tolerance for sums of fractions.
      if (this.#lookMs > 0 && this.#sinceLookMs >= this.#lookMs - this.#tickMs / 2) this.#look();
      if (this.#ackTimeoutMs > 0) this.#watch();
    });
  }

  #look(): void {
    this.#sinceLookMs = 0;
    this.#silentLooks = this.#hasReceived ? 0 : this.#silentLooks + 1;
    // Silence from the broker counts too: a client that only sends would never learn that nobody listens.
    if (!this.#hasSent || this.#silentLooks >= 2) this.#ping();
    this.#hasSent = false;
    this.#hasReceived = false;
  }

  #ping(): void {
    if (this.#cancelAnswer !== undefined) return;
    const boundMs = Math.min(MAX_ANSWER_MS, this.#lookMs * LOOKS);
    this.#cancelAnswer = this.scheduler.after(boundMs, () => this.owner.expired(`PINGREQ for ${boundMs} ms`));
    this.owner.ping();
  }

  #watch(): void {
    const oldest = this.owner.oldestUnanswered;
    this.#oldestForMs = oldest !== undefined && oldest === this.#oldest ? this.#oldestForMs + this.#tickMs : 0;
    this.#oldest = oldest;
    if (oldest !== undefined && this.#oldestForMs >= this.#ackTimeoutMs) this.owner.expired(`a packet for ${this.#ackTimeoutMs} ms or more`);
  }
}
