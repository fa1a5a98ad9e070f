/**
 * An MQTT client for 3.1.1 and 5.0 over any link. It outlives its connections: what is published and subscribed while there is none waits
 * for the next. It never connects by itself; `Device` does that.
 */
import { disposeBy } from "../async-dispose.js";
import type { Failure } from "../failure.js";
import type { Link, LinkHandlers, Storage } from "../platform.js";
import { SessionDriver, type Connack, type MqttPlatform } from "./session-driver.js";
import { abortedError } from "./contract/options.js";
import type { MqttEvent, MqttListener, MqttStatistics } from "./contract/mqtt-events.js";
import type {
  DisconnectOptions,
  MqttOptions,
  OutboxMessage,
  PublishOptions,
  PublishResult,
  SubscribeOptions,
  UnsubscribeOptions,
  UnsubscribeResult,
} from "./contract/options.js";
import { PendingRequests, type Requester, type RequesterOptions } from "./requester.js";
import type { Wear } from "./session/stored-journal.js";
import type { Message, Subscription } from "./contract/incoming-messages.js";

export class MqttClient {
  /** Disconnects; `await using` calls it. Absent on engines without `Symbol.asyncDispose`, XS among them. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  /** The end of an established connection, once each. A failed attempt rejects `connect` instead. */
  onEnd: ((failure: Failure) => void) | undefined;
  /**
   * A message was given up: its topic, and why (`OUTBOX_FULL` never comes here, that is thrown). Inbound: `BUFFER_FULL`, `NO_SUBSCRIPTION`.
   */
  onMessageDropped: ((topic: string, code: string) => void) | undefined;
  /**
   * A message that was accepted is not what the broker at hand takes; it waits for another, `heldForMs` at most. Why: as `publish` rejects
   * where it was not accepted yet.
   */
  onMessageHeld: ((topic: string, code: string) => void) | undefined;
  /**
   * A QoS 2 message that nobody awaits may be delivered or lost: `SESSION_LOST`, or `BROKER_HANGS_UP` where the broker ended the connection
   * for its PUBREL. It stays readable in {@link outbox}.
   */
  onMessageUncertain: ((topic: string, code: string) => void) | undefined;
  /** A QoS 1 or 2 message is with the broker, also one stored before a reboot. */
  onPublishSettled: ((topic: string, reasonCode: number) => void) | undefined;
  /**
   * The broker refused a subscription: a new one, which then fails, or one that was granted before and is asked for again on the next
   * connection. `code` says why;
   * `BROKER_HANGS_UP`: it ended the connection each time, and the subscription has failed.
   */
  onSubscriptionRefused: ((filter: string, reasonCode: number, code: string) => void) | undefined;
  readonly #driver: SessionDriver;

  /**
   * @param storage where a persistent client keeps its state, under keys that begin with `mq-`
   * @throws HawserError `BAD_OPTION`, `STORAGE_FAILED`
   */
  constructor(
    options: MqttOptions,
    private readonly platform: MqttPlatform,
    storage?: Storage,
  ) {
    this.#driver = new SessionDriver(options, platform, storage, this);
  }

  /** Changes options; they count from the next connection on. Throws `BAD_OPTION`. */
  configure(changes: Partial<MqttOptions>): void {
    this.#driver.configure(changes);
  }

  get connected(): boolean {
    return this.#driver.isConnected;
  }

  /** The latest connection, at hand or ended, was of use: a message came over it, or one was delivered, or none waits. */
  get wasUseful(): boolean {
    return this.#driver.wasUseful;
  }

  /** Calls `listener` with every event from now on. @returns a function that ends it */
  listen(listener: MqttListener): () => void {
    return this.#driver.events.listen(listener);
  }

  /** The events from now on, to iterate over. A slow reader loses the oldest beyond 256. Leaving the loop ends it. */
  events(): AsyncIterableIterator<MqttEvent, undefined> {
    return this.#driver.events.stream();
  }

  get statistics(): MqttStatistics {
    return { ...this.#driver.counts, acksOutstanding: this.#driver.session.sender.inFlight };
  }

  /**
   * Waits until every message in the outbox is delivered or given up. Does not end the connection.
   * @throws HawserError `DRAIN_TIMEOUT` after `timeoutMs` (milliseconds; default 30000); the messages stay in the outbox
   */
  drain({ timeoutMs = 30_000 }: { timeoutMs?: number } = {}): Promise<void> {
    return this.#driver.drain(timeoutMs);
  }

  /** Messages not delivered yet, and how many of them are in flight. */
  get pending(): { messages: number; bytes: number; inFlight: number } {
    const { outbox, sender } = this.#driver.session;
    return { messages: outbox.messages, bytes: outbox.bytes, inFlight: sender.inFlight };
  }

  /** The messages that are not delivered, and those of which that is not known. */
  outbox(): OutboxMessage[] {
    return this.#driver.session.sender.list();
  }

  /**
   * Gives up messages that are not delivered, all or those for which `which` says so; `publish` rejects with `MESSAGE_DISCARDED`. What is
   * on its way stays: messages sent on the connection at hand, and at QoS 2 those sent before.
   * @returns how many were given up
   */
  discard(which: (message: OutboxMessage) => boolean = () => true): number {
    const count = this.#driver.session.sender.discard(which);
    this.#driver.checkDrained();
    return count;
  }

  /** What a persistent client has done to its storage; undefined without. */
  get storageWear(): Readonly<Wear> | undefined {
    return this.#driver.session.wear;
  }

  /**
   * Makes one attempt over the link that `dial` opens.
   * @throws ConnectError when the attempt fails; HawserError `ALREADY_CONNECTED`
   */
  connect(dial: (handlers: LinkHandlers) => Link): Promise<Connack> {
    return this.#driver.connect(dial);
  }

  /**
   * Publishes a message. Settles when the promised level is reached (QoS 0: handed to the link, 1: acknowledged, 2: completed), or with
   * `queue` as soon as the outbox holds it. While offline, QoS 1 and 2 wait in the outbox.
   * @throws HawserError `INVALID_TOPIC`, `BAD_OPTION`, `BAD_PROPERTY`; `ABORTED` (by the signal, at once or later); `NOT_CONNECTED` (QoS 0
   *   without `queue`); `OUTBOX_FULL`, `MESSAGE_TOO_LARGE`; at once or later `BROKER_HANGS_UP`; later `MESSAGE_DROPPED`,
   *   `MESSAGE_DISCARDED`, `SESSION_LOST`,
   *   `MESSAGE_EXPIRED`, `QOS_NOT_SUPPORTED`, `RETAIN_NOT_SUPPORTED`, `PACKET_TOO_LARGE`, `STORAGE_FULL`, `STORAGE_FAILED`; RefusedError
   * with the broker's reason code
   */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions = {}): Promise<PublishResult> {
    try {
      return this.#driver.publish(topic, payload, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /**
   * Subscribes; survives reconnects. Iterate over the result.
   * @throws HawserError `INVALID_FILTER`, `ALREADY_SUBSCRIBED`, `BAD_OPTION`, `ABORTED`
   */
  subscribe(filter: string, options: SubscribeOptions = {}): Subscription {
    if (options.signal?.aborted === true) throw abortedError(`the subscription to ${filter}`);
    const subscription = this.#driver.session.subscribe(filter, options);
    options.signal?.addEventListener("abort", () => void subscription.close());
    return subscription;
  }

  /**
   * Asks the broker for an existing subscription once more and resolves with its answer, 0..2 or 0x80 and more: proof that this connection
   * may do what it is for.
   * @throws HawserError `NOT_SUBSCRIBED`, `NOT_CONNECTED` (also when the connection ends before the answer)
   */
  confirm(filter: string): Promise<number> {
    return this.#driver.session.subscriptions.confirm(filter);
  }

  /**
   * The messages that no subscription takes: of subscriptions that the broker made, or that an earlier program left in the session. Iterate
   * over the result; closing it unsubscribes from nothing. Only `manualAck`, `bufferSize` and `bufferBytes` of the options count.
   * @throws HawserError `ALREADY_SUBSCRIBED`, `BAD_OPTION`
   */
  messages(options: SubscribeOptions = {}): Subscription {
    return this.#driver.session.messages(options);
  }

  /**
   * Called with each message that no subscription and no {@link messages} takes; it is acknowledged when the call, or the promise it
   * returns, is done.
   */
  get onMessage(): ((message: Message) => unknown) | undefined {
    return this.#driver.session.onMessage;
  }

  set onMessage(listener: ((message: Message) => unknown) | undefined) {
    this.#driver.session.onMessage = listener;
  }

  /**
   * Unsubscribes from one filter or several in one packet, also from what an earlier program subscribed to. Subscriptions to them are
   * closed. Settles with the broker's answer; waits while offline.
   * @throws HawserError `INVALID_FILTER`, `BAD_PROPERTY`
   */
  unsubscribe(filters: string | readonly string[], options: UnsubscribeOptions = {}): Promise<UnsubscribeResult> {
    try {
      return this.#driver.session.subscriptions.unsubscribe(typeof filters === "string" ? [filters] : filters, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /**
   * Gives subscriptions other filters: their topics have been moved. What the broker still sends for the ones before is delivered.
   * @param renamed returns the filter for each one that there is; where there is another subscription with it, nothing changes
   */
  move(renamed: (filter: string) => string): void {
    this.#driver.session.subscriptions.move(renamed);
  }

  /** The filters subscribed to. */
  get filters(): readonly string[] {
    return this.#driver.session.subscriptions.filters;
  }

  /**
   * Filters that the broker's session has, and this program has not subscribed to: an earlier firmware did. Known as far as this client's
   * storage goes back;
   * {@link unsubscribe} takes any.
   */
  get leftoverFilters(): readonly string[] {
    return this.#driver.session.subscriptions.leftovers;
  }

  /**
   * Prepares to send requests whose answers come to `responseTopic`, which is subscribed to until {@link Requester.close}; needs 5.0. The
   * topic should be this client's alone; brokers may propose one in CONNACK (`responseInformation`).
   * @throws HawserError as `subscribe`
   */
  requester(responseTopic: string, options: RequesterOptions = {}): Requester {
    return new PendingRequests(this, this.platform, responseTopic, options);
  }

  /**
   * Begins a new exchange of enhanced authentication on the connection (MQTT 5.0, section 4.12.1); settles with the broker's consent.
   * @throws HawserError `NOT_CONNECTED`, `ALREADY_AUTHENTICATING`
   */
  reauthenticate(): Promise<void> {
    return this.#driver.reauthenticate();
  }

  /**
   * Ends the connection, or the attempt, in an orderly way. Settles when it has ended.
   * @throws HawserError `BAD_OPTION`, `BAD_PROPERTY`
   */
  disconnect(options: DisconnectOptions = {}): Promise<void> {
    try {
      return this.#driver.disconnect(options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /** Ends the connection at once and for the reason given; the broker publishes the will. */
  abort(reason: Failure): void {
    this.#driver.abort(reason);
  }
}

disposeBy(MqttClient.prototype, function () {
  return this.disconnect();
});
