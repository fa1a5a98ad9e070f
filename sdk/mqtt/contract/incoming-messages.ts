/** What an application gets from a subscription: messages, one after another. */
import type { PublishProperties, QoS } from "../codec/packet-types.js";

/** One message from the broker. */
export interface Message {
  readonly topic: string;
  /** The receiver's own. */
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** The broker says that it may have sent this message before. */
  readonly dup: boolean;
  /** 5.0 only. */
  readonly properties: PublishProperties;
  /**
   * The payload as UTF-8 text.
   * @throws HawserError `NOT_UTF8`
   */
  text(): string;
  /** Tells the broker that the message is taken; needed with `manualAck` only. Calling it again does nothing. */
  ack(): void;
}

/**
 * The messages of one topic filter, at the pace of whoever iterates.
 *
 * Without `manualAck`, a message is acknowledged when the next one is asked for, so that whatever the loop's body awaits holds the broker
 * back.
 * Leaving the loop closes the subscription. It survives reconnects. With several iterators at once, each message goes to one of them; use
 * `manualAck` then.
 */
export interface Subscription extends AsyncIterableIterator<Message, undefined> {
  readonly filter: string;
  /** The QoS that the broker granted; rejects with a `RefusedError` when it refused. Waits while offline. */
  readonly granted: Promise<number>;
  /** The number of messages that wait to be taken. */
  readonly buffered: number;
  /** Waits for the next message. Rejects with the broker's refusal once what came before it is taken; done after {@link close}. */
  next(): Promise<IteratorResult<Message, undefined>>;
  /** Closes the subscription: what leaving a `for await` loop calls. */
  return(): Promise<IteratorResult<Message, undefined>>;
  /**
   * Unsubscribes. Messages of QoS 1 and 2 that the application has not taken go to whoever else wants them, or wait unacknowledged for a
   * grace time for somebody who subscribes again. Settles when the broker confirmed, or when the connection ended and the session with it.
   * Idempotent.
   */
  close(): Promise<void>;
  [Symbol.asyncIterator](): this;
  /** Closes the subscription; absent on engines without `Symbol.asyncDispose`, XS among them. */
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}
