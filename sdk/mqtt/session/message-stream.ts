/** Behind `Subscription`: queues the messages of one topic filter until the application takes them. */
import { disposeBy } from "../../async-dispose.js";
import { HawserError } from "../../errors.js";
import { propertiesSize } from "../codec/properties.js";
import type { PublishProperties, QoS } from "../codec/packet-types.js";
import type { Message, Subscription } from "../contract/incoming-messages.js";
import type { ResolvedSubscribeOptions } from "./subscribe-request.js";
import { decodeUtf8 } from "../../encoding/utf8.js";

/** Who is told that an application took a message. */
export interface Acknowledger {
  taken(message: InboundMessage): void;
}

/** What a message takes besides its text and bytes, measured on XS: its slots, its payload's two objects, its place in lists. */
const MESSAGE_BYTES = 320;
/** The same of a list's entry, roughly. */
const OVERHEAD_BYTES = 64;

const NO_PROPERTIES: PublishProperties = Object.freeze({});

/** A message and what the protocol still owes for it. */
export class InboundMessage implements Message {
  /** The protocol's acknowledgement may go out, in its turn. */
  isTaken = false;
  /** The reason code of the acknowledgement, where the message is refused. */
  refusal = 0;
  /** Others have this message too, or had it. */
  isCopy = false;

  constructor(
    readonly topic: string,
    readonly payload: Uint8Array,
    readonly qos: QoS,
    readonly retain: boolean,
    readonly dup: boolean,
    readonly messageId: number,
    private readonly given: PublishProperties | undefined,
    private readonly acknowledger: Acknowledger,
  ) {}

  get sizeBytes(): number {
    return this.topic.length + this.payload.length;
  }

  /** What it takes of memory, roughly: a pair of user properties is small on the wire, and several objects here. */
  get heldBytes(): number {
    const given = this.given;
    const lists = (given?.userProperties?.length ?? 0) + (given?.subscriptionIdentifiers?.length ?? 0);
    return MESSAGE_BYTES + this.sizeBytes + (given === undefined ? 0 : propertiesSize(given) + lists * OVERHEAD_BYTES);
  }

  get properties(): PublishProperties {
    return this.given ?? NO_PROPERTIES;
  }

  text(): string {
    const text = decodeUtf8(this.payload);
    if (text === undefined)
      throw new HawserError("NOT_UTF8", `the message on ${this.topic} is not UTF-8 text`, "Read the payload as bytes.");
    return text;
  }

  ack(): void {
    if (this.isTaken) return;
    this.isTaken = true;
    this.acknowledger.taken(this);
  }

  /** The same message for one of `count` subscriptions: it is taken when all have taken theirs. */
  copies(count: number): InboundMessage[] {
    let missing = count;
    const all: Acknowledger = { taken: () => void (--missing === 0 && this.ack()) };
    return Array.from({ length: count }, () => {
      const copy = new InboundMessage(this.topic, this.payload, this.qos, this.retain, this.dup, this.messageId, this.given, all);
      copy.isCopy = true;
      return copy;
    });
  }
}

/** What a subscription asks of its client. */
export interface SubscriptionOwner {
  closed(subscription: MessageStream): Promise<void>;
  dropped(message: InboundMessage, code: string): void;
  /** The subscription was closed before the application took this message. */
  leftBehind(message: InboundMessage): void;
}

type Waiter = { resolve: (result: IteratorResult<Message, undefined>) => void; reject: (error: unknown) => void };

const DONE: IteratorResult<Message, undefined> = Object.freeze({ value: undefined, done: true });

/** The application sees it as a `Subscription`; what feeds it is for the session only. */
export class MessageStream implements Subscription {
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly granted: Promise<number>;
  #resolveGranted: (code: number) => void = () => undefined;
  #rejectGranted: (error: Error) => void = () => undefined;
  /** A queue in an array: `#head` is the next to be taken. */
  #buffer: InboundMessage[] = [];
  #head = 0;
  #bestEffort = 0;
  #bestEffortBytes = 0;
  /** With the application, to be acknowledged when it asks for more. */
  readonly #handed: InboundMessage[] = [];
  #waiters: Waiter[] = [];
  #state: "open" | "closed" | "failed" = "open";
  #error: unknown;

  constructor(
    /** Changes where the topics are moved. */
    public filter: string,
    readonly options: ResolvedSubscribeOptions,
    private readonly owner: SubscriptionOwner,
  ) {
    this.granted = new Promise((resolve, reject) => {
      this.#resolveGranted = resolve;
      this.#rejectGranted = reject;
    });
    // Nobody has to look at it.
    this.granted.catch(() => undefined);
  }

  get buffered(): number {
    return this.#buffer.length - this.#head;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    if (this.#handed.length > 0) this.#ackHanded();
    if (this.#head < this.#buffer.length) return Promise.resolve({ value: this.#shift(), done: false });
    if (this.#state === "failed") return Promise.reject(this.#error);
    if (this.#state === "closed") return Promise.resolve(DONE);
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  async return(): Promise<IteratorResult<Message, undefined>> {
    await this.close();
    return DONE;
  }

  /**
   * Unsubscribes. Messages of QoS 1 and 2 that the application has not taken go to whoever else wants them, or wait unacknowledged for a
   * grace time for somebody who subscribes anew. Settles when the broker confirmed, or when the connection ended and the session with it.
   * Idempotent.
   */
  close(): Promise<void> {
    const before = this.#state;
    if (before === "closed") return Promise.resolve();
    const left = this.#finish();
    const done = before === "failed" ? Promise.resolve() : this.owner.closed(this);
    for (const message of left) this.owner.leftBehind(message);
    return done;
  }

  /** For the client: it unsubscribes by itself. */
  end(): void {
    if (this.#state === "closed") return;
    for (const message of this.#finish()) this.owner.leftBehind(message);
  }

  /** For the client: a message came. */
  push(message: InboundMessage): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      this.#hand(message);
      waiter.resolve({ value: message, done: false });
      return;
    }
    if (message.qos === 0) {
      const bytes = this.#bestEffortBytes + message.sizeBytes;
      if (this.#bestEffort >= this.options.bufferSize || bytes > this.options.bufferBytes)
        return this.owner.dropped(message, "BUFFER_FULL");
      this.#bestEffort++;
      this.#bestEffortBytes = bytes;
    }
    this.#buffer.push(message);
  }

  /** For the client: the broker's answer to SUBSCRIBE. */
  answered(code: number): void {
    this.#resolveGranted(code);
  }

  /** For the client: the broker does not grant it. What came before that is still the application's to take; then `next` rejects. */
  fail(error: Error): void {
    if (this.#state !== "open") return;
    this.#state = "failed";
    this.#error = error;
    this.#rejectGranted(error);
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  /** The application wants no more. @returns what it has not taken */
  #finish(): InboundMessage[] {
    this.#state = "closed";
    const left = this.#buffer.slice(this.#head);
    this.#buffer = [];
    this.#head = 0;
    this.#ackHanded();
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(DONE);
    this.#rejectGranted(new HawserError("SUBSCRIPTION_CLOSED", `the subscription to ${this.filter} was closed`, "Subscribe again."));
    return left;
  }

  #shift(): InboundMessage {
    const message = this.#buffer[this.#head++] as InboundMessage;
    if (this.#head === this.#buffer.length) {
      this.#buffer.length = 0;
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#buffer.length) {
      this.#buffer = this.#buffer.slice(this.#head);
      this.#head = 0;
    }
    if (message.qos === 0) {
      this.#bestEffort--;
      this.#bestEffortBytes -= message.sizeBytes;
    }
    this.#hand(message);
    return message;
  }

  #hand(message: InboundMessage): void {
    if (!this.options.manualAck) this.#handed.push(message);
  }

  #ackHanded(): void {
    for (const message of this.#handed) message.ack();
    this.#handed.length = 0;
  }
}

disposeBy(MessageStream.prototype, function () {
  return this.close();
});
