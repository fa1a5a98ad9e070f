/** A message on its way to the broker, and the lists it stands in. */
import type { MessageProperties, Properties, QoS } from "../codec/packet-types.js";
import { propertiesSize } from "../codec/properties.js";
import type { PublishResult } from "../contract/options.js";
import type { Retried } from "./suspects.js";
import { utf8Length } from "../../encoding/utf8.js";

export const DELIVERED: PublishResult = Object.freeze({ reasonCode: 0 });

/** What a message takes besides its text and bytes, roughly: counted so that many empty messages are bounded too. */
const OVERHEAD_BYTES = 32;

export class OutgoingMessage implements Retried {
  /** 0 at QoS 0 and until the outbox took it. */
  messageId = 0;
  /** May have reached the broker in this session before: sent again with DUP. */
  dup = false;
  /** QoS 2: the broker has it, and storage knows that. */
  isReleased = false;
  /** The number of its storage record; -1 when it has none. */
  recordNumber = -1;
  recordParts = 0;
  /** Since when a broker did not take it, on the monotonic clock. */
  heldSinceMs: number | undefined;
  /** Of the device's own upkeep: goes before the application's, is taken although the outbox is full, and is not given up to make room. */
  isBeyondBounds = false;
  /** Connections that the broker ended while this was unanswered. */
  strikes = 0;
  /** Connections on which the broker denied it. */
  denials = 0;
  readonly sizeBytes: number;
  /** The list it stands in, and its neighbours there. */
  list: MessageList | undefined;
  previous: OutgoingMessage | undefined;
  following: OutgoingMessage | undefined;
  #resolve: ((result: PublishResult) => void) | undefined;
  #reject: ((error: Error) => void) | undefined;

  constructor(
    readonly topic: string,
    readonly payload: Uint8Array,
    readonly qos: QoS,
    readonly retain: boolean,
    readonly properties: MessageProperties | undefined,
    /** On the monotonic clock; undefined: never. */
    readonly expiresAtMs: number | undefined,
  ) {
    this.sizeBytes = OVERHEAD_BYTES + utf8Length(topic) + payload.length + (properties === undefined ? 0 : propertiesSize(properties));
  }

  /** Settles when the message is delivered or given up. */
  outcome(): Promise<PublishResult> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  delivered(reasonCode: number, properties: Properties | undefined): void {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    if (resolve === undefined) return;
    if (reasonCode === 0 && properties === undefined) resolve(DELIVERED);
    else resolve({ reasonCode, ...(properties === undefined ? {} : { properties }) });
  }

  /** Somebody waits for its outcome. */
  get isAwaited(): boolean {
    return this.#resolve !== undefined;
  }

  failed(error: Error): void {
    this.#reject?.(error);
    this.#reject = undefined;
    this.#resolve = undefined;
  }
}

/** Messages in order, with constant time for taking one out of the middle. */
export class MessageList implements Iterable<OutgoingMessage> {
  first: OutgoingMessage | undefined;
  #last: OutgoingMessage | undefined;
  size = 0;

  /** The message at hand may be taken out meanwhile. */
  *[Symbol.iterator](): Iterator<OutgoingMessage> {
    for (let one = this.first, following = one?.following; one !== undefined; one = following, following = one?.following) yield one;
  }

  append(message: OutgoingMessage): void {
    message.list = this;
    message.previous = this.#last;
    message.following = undefined;
    if (this.#last === undefined) this.first = message;
    else this.#last.following = message;
    this.#last = message;
    this.size++;
  }

  remove(message: OutgoingMessage): void {
    if (message.previous === undefined) this.first = message.following;
    else message.previous.following = message.following;
    if (message.following === undefined) this.#last = message.previous;
    else message.following.previous = message.previous;
    message.list = undefined;
    message.previous = undefined;
    message.following = undefined;
    this.size--;
  }

  /** Puts a message before all others. */
  prependOne(message: OutgoingMessage): void {
    const others = new MessageList();
    others.append(message);
    this.prepend(others);
  }

  /** Moves all of `others` before the first of these, in their order. */
  prepend(others: MessageList): void {
    if (others.#last === undefined) return;
    for (let one = others.first; one !== undefined; one = one.following) one.list = this;
    others.#last.following = this.first;
    if (this.first === undefined) this.#last = others.#last;
    else this.first.previous = others.#last;
    this.first = others.first;
    this.size += others.size;
    others.first = undefined;
    others.#last = undefined;
    others.size = 0;
  }
}
