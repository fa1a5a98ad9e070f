/**
 * Messages of QoS 1 and 2 that nobody takes yet: kept for a while, unacknowledged, for an application that subscribes late. A broker that
 * kept commands while the device was off sends them at once, often in one piece with CONNACK.
 */
import type { Cancel, Clock, Scheduler } from "../../platform.js";
import type { UnclaimedOptions } from "../contract/options.js";
import type { InboundMessage } from "./message-stream.js";

interface Held {
  readonly message: InboundMessage;
  readonly untilMs: number;
}

/** Topics for which nobody came within the grace time; as many are remembered. */
const MAX_UNWANTED = 16;

export class Unclaimed {
  /** In the order they came, and so in the order their time is up. */
  #held: Held[] = [];
  #bytes = 0;
  #unwanted: string[] = [];
  #cancel: Cancel | undefined;

  /** @param expired called for each message that nobody took in time */
  constructor(
    private options: UnclaimedOptions,
    private readonly platform: { readonly clock: Clock; readonly scheduler: Scheduler },
    private readonly expired: (message: InboundMessage) => void,
  ) {}

  configure(options: UnclaimedOptions): void {
    this.options = options;
  }

  /** Keeps a message; false where there is no room, or where nobody came for the same topic before. */
  hold(message: InboundMessage): boolean {
    const { graceMs, maxMessages, maxBytes } = this.options;
    const isFull = this.#held.length >= maxMessages || (this.#held.length > 0 && this.#bytes + message.sizeBytes > maxBytes);
    if (graceMs === 0 || isFull || this.#unwanted.includes(message.topic)) return false;
    this.#held.push({ message, untilMs: this.platform.clock.monotonicMs() + graceMs });
    this.#bytes += message.sizeBytes;
    this.#schedule();
    return true;
  }

  /** Somebody new is there: offers each message, in order. @param take false: it is not for them */
  offer(take: (message: InboundMessage) => boolean): void {
    this.#unwanted = [];
    if (this.#held.length === 0) return;
    const offered = this.#held;
    this.#held = [];
    this.#held = [...offered.filter(({ message }) => !take(message)), ...this.#held];
    this.#bytes = this.#held.reduce((sum, { message }) => sum + message.sizeBytes, 0);
  }

  /** The connection ended: the broker sends them again on the next. @returns them */
  clear(): InboundMessage[] {
    const messages = this.#held.map(({ message }) => message);
    this.#held = [];
    this.#unwanted = [];
    this.#bytes = 0;
    this.#cancel?.();
    this.#cancel = undefined;
    return messages;
  }

  #schedule(): void {
    const first = this.#held[0];
    if (first === undefined || this.#cancel !== undefined) return;
    this.#cancel = this.platform.scheduler.after(Math.max(1, first.untilMs - this.platform.clock.monotonicMs()), () => {
      this.#cancel = undefined;
      this.#expire();
    });
  }

  #expire(): void {
    const nowMs = this.platform.clock.monotonicMs();
    for (let first = this.#held[0]; first !== undefined && first.untilMs <= nowMs; first = this.#held[0]) {
      this.#held.shift();
      const { message } = first;
      this.#bytes -= message.sizeBytes;
      if (!this.#unwanted.includes(message.topic)) this.#unwanted = [...this.#unwanted.slice(1 - MAX_UNWANTED), message.topic];
      this.expired(message);
    }
    this.#schedule();
  }
}
