/**
 * An MQTT client for 3.1.1 and 5.0 over any link. It outlives its connections: what is published and subscribed while there is none waits for
 * the next. It never connects by itself; `Device` does that.
 */
import type { Failure } from "../failure.js";
import type { Link, LinkHandlers, Storage } from "../platform.js";
import { ClientCore, type Connack, type MqttPlatform } from "./client-core.js";
import type { DisconnectOptions, MqttOptions, PublishOptions, PublishResult, SubscribeOptions } from "./options.js";
import { Requester, type RequesterOptions } from "./requester.js";
import type { Wear } from "./session/stored-journal.js";
import type { Subscription } from "./session/subscription.js";

export class MqttClient {
  /** The end of an established connection, once each. A failed attempt rejects `connect` instead. */
  onEnd: ((failure: Failure) => void) | undefined;
  /** A message was given up: its topic, and why (`OUTBOX_FULL` never comes here, that is thrown). Inbound: `BUFFER_FULL`, `NO_SUBSCRIPTION`. */
  onMessageDropped: ((topic: string, code: string) => void) | undefined;
  /** A QoS 1 or 2 message is with the broker, also one stored before a reboot. */
  onPublishSettled: ((topic: string, reasonCode: number) => void) | undefined;
  /** The broker refused a subscription: a new one, which then fails, or one that was granted before and is asked for again on the next connection. */
  onSubscriptionRefused: ((filter: string, reasonCode: number) => void) | undefined;
  readonly #core: ClientCore;

  /**
   * @param storage where a persistent client keeps its state, under keys that begin with `mq-`
   * @throws HawserError `BAD_OPTION`, `STORAGE_FAILED`
   */
  constructor(
    options: MqttOptions,
    private readonly platform: MqttPlatform,
    storage?: Storage,
  ) {
    this.#core = new ClientCore(options, platform, storage, this);
  }

  /** Changes options; they count from the next connection on. Throws `BAD_OPTION`. */
  configure(changes: Partial<MqttOptions>): void {
    this.#core.configure(changes);
  }

  get connected(): boolean {
    return this.#core.isConnected;
  }

  /** The latest connection, at hand or ended, was of use: a message came over it, or one was delivered, or none waits. */
  get wasUseful(): boolean {
    return this.#core.wasUseful;
  }

  /** Messages not delivered yet, and how many of them are in flight. */
  get pending(): { messages: number; bytes: number; inFlight: number } {
    const { outbox, sender } = this.#core.session;
    return { messages: outbox.messages, bytes: outbox.bytes, inFlight: sender.inFlight };
  }

  /** What a persistent client has done to its storage; undefined without. */
  get storageWear(): Readonly<Wear> | undefined {
    return this.#core.session.wear;
  }

  /**
   * Makes one attempt over the link that `dial` opens.
   * @throws ConnectError when the attempt fails; HawserError `ALREADY_CONNECTED`
   */
  connect(dial: (handlers: LinkHandlers) => Link): Promise<Connack> {
    return this.#core.connect(dial);
  }

  /**
   * Publishes a message. Settles when the promised level is reached (QoS 0: handed to the link, 1: acknowledged, 2: completed), or with
   * `queue` as soon as the outbox holds it. While offline, QoS 1 and 2 wait in the outbox.
   * @throws HawserError `INVALID_TOPIC`, `BAD_OPTION`, `BAD_PROPERTY`; `NOT_CONNECTED` (QoS 0 without `queue`); `OUTBOX_FULL`, `MESSAGE_TOO_LARGE`; later `MESSAGE_DROPPED`,
   *   `MESSAGE_EXPIRED`, `QOS_NOT_SUPPORTED`, `RETAIN_NOT_SUPPORTED`, `PACKET_TOO_LARGE`, `STORAGE_FULL`, `STORAGE_FAILED`; RefusedError with the broker's reason code
   */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions = {}): Promise<PublishResult> {
    try {
      return this.#core.publish(topic, payload, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /**
   * Subscribes; survives reconnects. Iterate over the result.
   * @throws HawserError `INVALID_FILTER`, `ALREADY_SUBSCRIBED`, `BAD_OPTION`
   */
  subscribe(filter: string, options: SubscribeOptions = {}): Subscription {
    return this.#core.session.subscriptions.add(filter, options);
  }

  /**
   * Asks the broker for an existing subscription once more and resolves with its answer, 0..2 or 0x80 and more: proof that this connection may
   * do what it is for.
   * @throws HawserError `NOT_SUBSCRIBED`, `NOT_CONNECTED` (also when the connection ends before the answer)
   */
  confirm(filter: string): Promise<number> {
    return this.#core.session.subscriptions.confirm(filter);
  }

  /** Closes the subscription to `filter`, if there is one. */
  unsubscribe(filter: string): Promise<void> {
    return this.#core.session.subscriptions.get(filter)?.close() ?? Promise.resolve();
  }

  /**
   * Prepares to send requests whose answers come to `responseTopic`, which is subscribed to until {@link Requester.close}; needs 5.0. The topic should be this
   * client's alone; brokers may propose one in CONNACK (`responseInformation`).
   * @throws HawserError as `subscribe`
   */
  requester(responseTopic: string, options: RequesterOptions = {}): Requester {
    return new Requester(this, this.platform, responseTopic, options);
  }

  /**
   * Begins a new exchange of enhanced authentication on the connection (MQTT 5.0, section 4.12.1); settles with the broker's consent.
   * @throws HawserError `NOT_CONNECTED`, `ALREADY_AUTHENTICATING`
   */
  reauthenticate(): Promise<void> {
    return this.#core.reauthenticate();
  }

  /** Ends the connection, or the attempt, in an orderly way. Settles when it has ended. */
  disconnect(options: DisconnectOptions = {}): Promise<void> {
    return this.#core.disconnect(options);
  }

  /** Ends the connection at once and for the reason given; the broker publishes the will. */
  abort(reason: Failure): void {
    this.#core.abort(reason);
  }
}
