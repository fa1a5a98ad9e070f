/**
 * An MQTT client for 3.1.1 and 5.0 over any link. It outlives its connections: what is published and subscribed while there is none waits for
 * the next. It never connects by itself; `Device` does that.
 */
import type { Failure } from "../connection/failure.js";
import { errorMessage, HawserError } from "../errors.js";
import type { Link, LinkHandlers, Platform, Storage } from "../platform.js";
import { ConnectError } from "./connect-error.js";
import { Connection } from "./connection.js";
import { resolveOptions, toBytes, type DisconnectOptions, type MqttOptions, type PublishOptions, type PublishResult, type ResolvedOptions, type SubscribeOptions } from "./options.js";
import { DELIVERED, OutgoingMessage } from "./outgoing-message.js";
import type { AckPacket, ConnackPacket, InboundPacket, Properties } from "./packet.js";
import { PublishWriter } from "./publish-writer.js";
import { writeAck } from "./publish-codec.js";
import { Requester, type RequesterOptions } from "./requester.js";
import { Session } from "./session.js";
import type { Wear } from "./stored-journal.js";
import type { Subscription } from "./subscription.js";
import { checkTopic } from "./topics.js";

/** What CONNACK said. */
export interface Connack {
  /** The broker has kept the session. */
  sessionPresent: boolean;
  /** The client identifier in use: the broker's choice where this client left it open. */
  clientId: string;
  /** 5.0 only. */
  properties: Properties;
}

export type MqttPlatform = Pick<Platform, "clock" | "scheduler" | "random" | "log">;

export class MqttClient {
  /** The end of an established connection, once each. A failed attempt rejects `connect` instead. */
  onEnd: ((failure: Failure) => void) | undefined;
  /** A message was given up: its topic, and why (`OUTBOX_FULL` never comes here, that is thrown). Inbound: `BUFFER_FULL`, `NO_SUBSCRIPTION`. */
  onMessageDropped: ((topic: string, code: string) => void) | undefined;
  /** A QoS 1 or 2 message is with the broker, also one stored before a reboot. */
  onPublishSettled: ((topic: string, reasonCode: number) => void) | undefined;
  /** The broker refused a subscription: a new one, which then fails, or one that was granted before and is asked for again on the next connection. */
  onSubscriptionRefused: ((filter: string, reasonCode: number) => void) | undefined;
  #options: ResolvedOptions;
  #connection: Connection | undefined;
  #publisher: PublishWriter | undefined;
  #assignedClientId: string | undefined;
  #attempt: { resolve: (connack: Connack) => void; reject: (error: ConnectError) => void } | undefined;
  #closing: (() => void)[] = [];
  readonly #session: Session;
  /** The last topic found valid: it is likely to be the next one too. */
  #validTopic: string | undefined;
  readonly #nowMs = (): number => this.platform.clock.monotonicMs();

  /**
   * @param storage where a persistent client keeps its state, under keys that begin with `mq-`
   * @throws HawserError `BAD_OPTION`, `STORAGE_FAILED`
   */
  constructor(
    options: MqttOptions,
    private readonly platform: MqttPlatform,
    storage?: Storage,
  ) {
    this.#options = resolveOptions(options);
    this.#session = new Session(this.#options, platform, storage, {
      send: (packet) => this.#connection?.send(packet),
      acknowledge: (cmd, messageId, reasonCode) => this.#acknowledge(cmd, messageId, reasonCode),
      storageDue: () => this.#storageDue(),
      dropped: (topic, code) => this.#tell(() => this.onMessageDropped?.(topic, code)),
      delivered: (topic, reasonCode) => this.onPublishSettled && this.#tell(() => this.onPublishSettled?.(topic, reasonCode)),
      refused: (filter, reasonCode) => this.#tell(() => this.onSubscriptionRefused?.(filter, reasonCode)),
    });
  }

  /** Changes options; they count from the next connection on. Throws `BAD_OPTION`. */
  configure(changes: Partial<MqttOptions>): void {
    this.#options = resolveOptions({ ...this.#options, ...changes });
    if (changes.clientId !== undefined) this.#assignedClientId = undefined;
    this.#session.outbox.configure(this.#options.outbox);
  }

  get connected(): boolean {
    return this.#connection?.isEstablished ?? false;
  }

  /** Messages not delivered yet, and how many of them are in flight. */
  get pending(): { messages: number; bytes: number; inFlight: number } {
    const { outbox, sender } = this.#session;
    return { messages: outbox.messages, bytes: outbox.bytes, inFlight: sender.inFlight };
  }

  /** What a persistent client has done to its storage; undefined without. */
  get storageWear(): Readonly<Wear> | undefined {
    return this.#session.wear;
  }

  /**
   * Makes one attempt over the link that `dial` opens.
   * @throws ConnectError when the attempt fails; HawserError `ALREADY_CONNECTED`
   */
  connect(dial: (handlers: LinkHandlers) => Link): Promise<Connack> {
    if (this.#connection !== undefined) {
      return Promise.reject(new HawserError("ALREADY_CONNECTED", "this client has a connection or makes one", "Wait for its end."));
    }
    const connection = new Connection(this.#options, this.#clientId, this.platform.scheduler, {
      established: (connack) => this.#established(connection, connack),
      packet: (packet) => this.#packet(packet),
      writable: () => this.#pump(),
      beforeFlush: () => this.#session.commit(),
      ended: (reason, wasEstablished) => this.#ended(reason, wasEstablished),
      oldestUnanswered: () => this.#session.oldestUnanswered,
    });
    this.#connection = connection;
    return new Promise((resolve, reject) => {
      this.#attempt = { resolve, reject };
      connection.start(dial);
    });
  }

  /**
   * Publishes a message. Settles when the promised level is reached (QoS 0: handed to the link, 1: acknowledged, 2: completed), or with
   * `queue` as soon as the outbox holds it. While offline, QoS 1 and 2 wait in the outbox.
   * @throws HawserError `INVALID_TOPIC`; `NOT_CONNECTED` (QoS 0 without `queue`); `OUTBOX_FULL`, `MESSAGE_TOO_LARGE`; later `MESSAGE_DROPPED`,
   *   `MESSAGE_EXPIRED`, `QOS_NOT_SUPPORTED`, `RETAIN_NOT_SUPPORTED`, `PACKET_TOO_LARGE`, `STORAGE_FULL`, `STORAGE_FAILED`; RefusedError with the broker's reason code
   */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions = {}): Promise<PublishResult> {
    try {
      return this.#publish(topic, payload, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /**
   * Subscribes; survives reconnects. Iterate over the result.
   * @throws HawserError `INVALID_FILTER`, `ALREADY_SUBSCRIBED`, `BAD_OPTION`
   */
  subscribe(filter: string, options: SubscribeOptions = {}): Subscription {
    return this.#session.subscriptions.add(filter, options);
  }

  /**
   * Asks the broker for an existing subscription once more and resolves with its answer, 0..2 or 0x80 and more: proof that this connection may
   * do what it is for.
   * @throws HawserError `NOT_SUBSCRIBED`, `NOT_CONNECTED` (also when the connection ends before the answer)
   */
  confirm(filter: string): Promise<number> {
    return this.#session.subscriptions.confirm(filter);
  }

  /** Closes the subscription to `filter`, if there is one. */
  unsubscribe(filter: string): Promise<void> {
    return this.#session.subscriptions.get(filter)?.close() ?? Promise.resolve();
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
    return this.#connection?.reauthenticate() ?? Promise.reject(new HawserError("NOT_CONNECTED", "there is no connection to authenticate", "Wait for one."));
  }

  /** Ends the connection, or the attempt, in an orderly way. Settles when it has ended. */
  disconnect(options: DisconnectOptions = {}): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#closing.push(resolve);
      connection.disconnect(options);
    });
  }

  /** Ends the connection at once and for the reason given; the broker publishes the will. */
  abort(reason: Failure): void {
    this.#connection?.abort(reason);
  }

  get #clientId(): string {
    return this.#assignedClientId ?? this.#options.clientId;
  }

  /** Written together with what goes out in this turn, or at once where nothing does. */
  #storageDue(): void {
    if (this.connected) this.#connection?.wrote();
    else this.#session.commit();
  }

  #publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<PublishResult> {
    const { qos = 0, queue = false } = options;
    if (qos === 0 && !queue && !this.connected) {
      throw new HawserError("NOT_CONNECTED", `there is no connection for a QoS 0 message to ${topic}`, "Wait for a connection, use QoS 1 or 2, or `queue: true`.");
    }
    const message = this.#message(topic, payload, options);
    this.#session.sender.accept(message, options.persist !== false || qos === 2);
    const outcome = queue ? ACCEPTED : message.outcome();
    this.#pump();
    return outcome;
  }

  #message(topic: string, payload: Uint8Array | string, options: PublishOptions): OutgoingMessage {
    const { qos = 0, retain = false, properties } = options;
    if (topic !== this.#validTopic) this.#validTopic = checkTopic(topic);
    // The caller may use its array again.
    const bytes = typeof payload === "string" ? toBytes(payload) : new Uint8Array(payload);
    const expirySeconds = properties?.messageExpiryInterval;
    const expiresAtMs = expirySeconds === undefined ? undefined : this.#nowMs() + expirySeconds * 1000;
    return new OutgoingMessage(topic, bytes, qos, retain, properties, expiresAtMs);
  }

  /** Sends what may be sent. */
  #pump(): void {
    const connection = this.#connection;
    const publisher = this.#publisher;
    if (connection === undefined || publisher === undefined) return;
    while (connection.isWritable) {
      const message = this.#session.sender.next(this.#nowMs);
      if (message === undefined) return;
      try {
        publisher.write(connection.writer, message);
      } catch (error) {
        this.#session.sender.giveUp(message, error as HawserError);
        continue;
      }
      connection.wrote();
      if (message.qos === 0) this.#session.sender.handedOver(message);
    }
  }

  #established(connection: Connection, connack: ConnackPacket): void {
    const { sessionPresent, properties = {} } = connack;
    if (properties.assignedClientIdentifier !== undefined) this.#assignedClientId = properties.assignedClientIdentifier;
    this.#publisher = new PublishWriter(connection.version, properties, this.#options.outgoingTopicAliases, this.#nowMs);
    this.#session.begin(connack, connection.version, this.#options);
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.resolve({ sessionPresent, clientId: this.#clientId, properties });
    this.#pump();
  }

  #packet(packet: InboundPacket): void {
    this.#session.packet(packet);
    if (packet.cmd !== "publish") this.#pump();
  }

  #acknowledge(cmd: AckPacket["cmd"], messageId: number, reasonCode: number): void {
    const connection = this.#connection;
    if (connection === undefined || !connection.isEstablished) return;
    writeAck(connection.writer, cmd, messageId, connection.version === 5 ? reasonCode : 0);
    connection.wrote();
  }

  #ended(reason: Failure, wasEstablished: boolean): void {
    this.#connection = undefined;
    this.#publisher = undefined;
    const closing = this.#closing;
    this.#closing = [];
    if (wasEstablished) this.#session.end();
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.reject(new ConnectError(reason));
    if (wasEstablished) this.#tell(() => this.onEnd?.(reason));
    for (const resolve of closing) resolve();
  }

  /** What a listener throws is not the connection's fault, and must not end it. */
  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.platform.log("error", "a listener of the MQTT client threw", { error: errorMessage(error) });
    }
  }
}

const ACCEPTED = Promise.resolve(DELIVERED);
