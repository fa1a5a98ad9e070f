/** What a broker remembers of one client between connections (MQTT 5.0 section 4.1): subscriptions, and messages on their way both ways. */
import type { SubscriptionOptions, Will } from "../wire/wire-packets.js";
import type { Message } from "./message.js";

export interface Outgoing {
  message: Message;
  subscriptionIdentifiers: number[];
  /** `publish` until it is acknowledged (QoS 1) or received (QoS 2), then `pubrel`. */
  phase: "publish" | "pubrel";
}

export interface Subscription extends SubscriptionOptions {
  identifier: number | undefined;
}

export class ServerSession {
  readonly subscriptions = new Map<string, Subscription>();
  /** Sent and not finished, in the order of sending. */
  readonly inFlight = new Map<number, Outgoing>();
  /** Not sent yet. */
  readonly queue: Outgoing[] = [];
  /**
   * QoS 2 packet identifiers received and not released: a second PUBLISH with one of them is the same message. Without one, it was refused.
   */
  readonly received = new Map<number, Message | undefined>();
  will: Will | undefined;
  #lastId = 0;

  constructor(
    readonly clientId: string,
    /** Milliseconds it is kept after the connection ended; Infinity for ever. */
    public expiryMs: number,
  ) {}

  nextId(): number {
    do this.#lastId = (this.#lastId % 65_535) + 1;
    while (this.inFlight.has(this.#lastId));
    return this.#lastId;
  }
}
