/**
 * Notices that a connection is dead although nobody said so (MQTT 5.0, section 3.1.2.10): asks when it was silent, and waits for the answer
 * within a bound. One timer runs at a time, however many packets come and go.
 */
import type { Cancel, Scheduler } from "../platform.js";

export interface KeepAliveEffects {
  ping(): void;
  /** No answer came: the connection is dead. */
  expired(what: string): void;
  /** What has been waiting for an acknowledgement for longest, by identity. */
  oldestUnanswered(): object | undefined;
}

/** Looked at so often within an interval that a packet goes out at least every four fifths of it. */
const LOOKS = 2.5;
/** The longest wait for PINGRESP. */
const MAX_ANSWER_MS = 20_000;

export class KeepAlive {
  #cancelLook: Cancel | undefined;
  #cancelAnswer: Cancel | undefined;
  #cancelWatch: Cancel | undefined;
  #hasSent = true;
  #hasReceived = true;
  #silentLooks = 0;
  #oldest: object | undefined;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly effects: KeepAliveEffects,
  ) {}

  /** @param intervalSeconds 0: no pings. @param ackTimeoutMs 0: acknowledgements are not watched */
  start(intervalSeconds: number, ackTimeoutMs: number): void {
    if (intervalSeconds > 0) this.#look((intervalSeconds * 1000) / LOOKS);
    if (ackTimeoutMs > 0) this.#watch(ackTimeoutMs);
  }

  stop(): void {
    this.#cancelLook?.();
    this.#cancelAnswer?.();
    this.#cancelWatch?.();
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

  #look(everyMs: number): void {
    this.#cancelLook = this.scheduler.after(everyMs, () => {
      this.#silentLooks = this.#hasReceived ? 0 : this.#silentLooks + 1;
      // Silence from the broker counts too: a client that only sends would never learn that nobody listens.
      if (!this.#hasSent || this.#silentLooks >= 2) this.#ping(everyMs);
      this.#hasSent = false;
      this.#hasReceived = false;
      this.#look(everyMs);
    });
  }

  #ping(everyMs: number): void {
    if (this.#cancelAnswer !== undefined) return;
    const boundMs = Math.min(MAX_ANSWER_MS, everyMs * LOOKS);
    this.#cancelAnswer = this.scheduler.after(boundMs, () => this.effects.expired(`PINGREQ for ${boundMs} ms`));
    this.effects.ping();
  }

  #watch(ackTimeoutMs: number): void {
    this.#oldest = this.effects.oldestUnanswered();
    this.#cancelWatch = this.scheduler.after(ackTimeoutMs, () => {
      if (this.#oldest !== undefined && this.effects.oldestUnanswered() === this.#oldest) {
        this.effects.expired(`a packet for ${ackTimeoutMs} ms or more`);
      } else this.#watch(ackTimeoutMs);
    });
  }
}
