/** The messages that wait to be sent, each kind in its order, and the bounds of all that is not delivered yet. */
import { HawserError } from "../../errors.js";
import type { OutboxOptions } from "../contract/options.js";
import { MessageList, type OutgoingMessage } from "./outgoing-message.js";

export class Outbox {
  readonly waiting = new MessageList();
  /** The device's own upkeep: never behind the application's messages. */
  readonly urgent = new MessageList();
  /** Messages that may make the broker end the connection, each with those behind it of the same topic. */
  readonly apart = new MessageList();
  /** Messages of which nobody knows whether they were delivered, kept for the application; not counted with the others. */
  readonly uncertain = new MessageList();
  /** Messages that the broker denied a moment ago; the first to make room. */
  readonly denied = new MessageList();
  #messages = 0;
  #bytes = 0;
  #uncertainBytes = 0;

  constructor(private options: OutboxOptions) {}

  configure(options: OutboxOptions): void {
    this.options = options;
  }

  /** Undelivered messages, those in flight included. */
  get messages(): number {
    return this.#messages;
  }

  /** Their bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Tells which waiting messages must go so that `message` finds room; none are removed yet.
   * @throws HawserError `OUTBOX_FULL`, `MESSAGE_TOO_LARGE`
   */
  victims(message: OutgoingMessage): readonly OutgoingMessage[] {
    if (message.isBeyondBounds) return NONE;
    const { maxMessages, maxBytes, overflow } = this.options;
    if (message.sizeBytes > maxBytes) {
      throw new HawserError(
        "MESSAGE_TOO_LARGE",
        `the message of ${message.sizeBytes} bytes is larger than the outbox (${maxBytes})`,
        "Send smaller messages, or raise outbox.maxBytes.",
      );
    }
    let messages = this.#messages + 1 - maxMessages;
    let bytes = this.#bytes + message.sizeBytes - maxBytes;
    if (messages <= 0 && bytes <= 0) return NONE;
    const victims: OutgoingMessage[] = [];
    for (const list of overflow === "reject" ? [this.denied] : [this.denied, this.apart, this.waiting]) {
      for (const one of list) {
        if (messages <= 0 && bytes <= 0) break;
        // What may have reached the broker holds a packet identifier there and goes on.
        if (list !== this.denied && (one.dup || one.isBeyondBounds || (overflow === "replace-by-topic" && one.topic !== message.topic)))
          continue;
        victims.push(one);
        messages--;
        bytes -= one.sizeBytes;
      }
    }
    if (messages <= 0 && bytes <= 0) return victims;
    throw new HawserError(
      "OUTBOX_FULL",
      `the outbox is full (${this.#messages} messages, ${this.#bytes} bytes)`,
      "Publish less, or use a larger outbox or another overflow policy.",
    );
  }

  add(message: OutgoingMessage): void {
    (message.isBeyondBounds ? this.urgent : this.waiting).append(message);
    this.#messages++;
    this.#bytes += message.sizeBytes;
  }

  /** Of the messages set apart, the first of each topic. */
  firstsApart(): OutgoingMessage[] {
    const topics = new Set<string>();
    return [...this.apart].filter(({ topic }) => !topics.has(topic) && topics.add(topic));
  }

  /** Takes messages back in their order, before all that was never sent. */
  takeBack(messages: MessageList): void {
    const urgent = new MessageList();
    for (const one of messages) {
      if (!one.isBeyondBounds) continue;
      messages.remove(one);
      urgent.append(one);
    }
    this.urgent.prepend(urgent);
    this.waiting.prepend(messages);
  }

  /** Keeps an uncertain message. @returns the oldest others, which make room for it */
  keep(message: OutgoingMessage): OutgoingMessage[] {
    const { uncertain, options } = this;
    uncertain.append(message);
    this.#uncertainBytes += message.sizeBytes;
    const removed: OutgoingMessage[] = [];
    for (const one of uncertain) {
      if (one === message || (uncertain.size <= MAX_UNCERTAIN && this.#uncertainBytes * 4 <= options.maxBytes)) break;
      this.unkeep(one);
      removed.push(one);
    }
    return removed;
  }

  unkeep(message: OutgoingMessage): void {
    this.uncertain.remove(message);
    this.#uncertainBytes -= message.sizeBytes;
  }

  /** A message that is not waiting any more is delivered or given up. */
  forget(message: OutgoingMessage): void {
    this.#messages--;
    this.#bytes -= message.sizeBytes;
  }
}

/** Uncertain messages kept at most; and they take at most a quarter of the outbox's bytes. */
const MAX_UNCERTAIN = 32;

const NONE: readonly OutgoingMessage[] = Object.freeze([]);
