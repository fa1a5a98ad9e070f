/**
 * An MQTT client for 3.1.1 and 5.0 over any link. It outlives its connections: what is published and subscribed while there is none waits for
 * the next. It never connects by itself; `Device` does that.
 */
import type { Failure } from "../connection/failure.js";
import { HawserError } from "../errors.js";
import type { Link, LinkHandlers, Platform, Storage } from "../platform.js";
import { ConnectError } from "./connect-error.js";
import { Connection } from "./connection.js";
import { VolatileJournal } from "./journal.js";
import { resolveOptions, toBytes, type DisconnectOptions, type MqttOptions, type PublishOptions, type PublishResult, type ResolvedOptions, type SubscribeOptions } from "./options.js";
import { Outbox } from "./outbox.js";
import { DELIVERED, OutgoingMessage } from "./outgoing-message.js";
import { PacketIds } from "./packet-ids.js";
import { protocolError } from "./packet-error.js";
import type { ConnackPacket, InboundPacket, Properties } from "./packet.js";
import { PublishWriter } from "./publish-writer.js";
import { writeAck } from "./publish-codec.js";
import { Receiver } from "./receiver.js";
import { Sender } from "./sender.js";
import type { InboundMessage, Subscription } from "./subscription.js";
import { StoredJournal, type Wear } from "./stored-journal.js";
import { Subscriptions } from "./subscriptions.js";
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

/** A broker of 3.1.1 cannot be told a receive maximum: at least so many messages may come before the application takes them. */
const MIN_RECEIVE_LIMIT_3_1_1 = 1_024;

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
  readonly #journal: VolatileJournal | StoredJournal;
  readonly #ids = new PacketIds();
  readonly #outbox: Outbox;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  readonly #subscriptions: Subscriptions;
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
    this.#journal = this.#openJournal(storage);
    this.#outbox = new Outbox(this.#options.outbox);
    this.#sender = new Sender(this.#outbox, this.#ids, this.#journal, {
      release: (messageId, reasonCode) => this.#acknowledge("pubrel", messageId, reasonCode),
      dropped: (message, error) => this.onMessageDropped?.(message.topic, error.code),
      delivered: (message, reasonCode) => this.onPublishSettled?.(message.topic, reasonCode),
    });
    this.#receiver = new Receiver(this.#journal, {
      deliver: (message) => this.#deliver(message),
      acknowledge: (cmd, messageId, reasonCode) => this.#acknowledge(cmd, messageId, reasonCode),
    });
    this.#subscriptions = new Subscriptions(this.#ids, {
      send: (packet) => this.#connection?.send(packet),
      dropped: (message, code) => this.onMessageDropped?.(message.topic, code),
      refused: (filter, reasonCode) => this.onSubscriptionRefused?.(filter, reasonCode),
    });
    if (this.#journal instanceof StoredJournal) this.#restore(this.#journal);
  }

  /** Changes options; they count from the next connection on. Throws `BAD_OPTION`. */
  configure(changes: Partial<MqttOptions>): void {
    this.#options = resolveOptions({ ...this.#options, ...changes });
    this.#outbox.configure(this.#options.outbox);
  }

  get connected(): boolean {
    return this.#connection?.isEstablished ?? false;
  }

  /** Messages not delivered yet, and how many of them are in flight. */
  get pending(): { messages: number; bytes: number; inFlight: number } {
    return { messages: this.#outbox.messages, bytes: this.#outbox.bytes, inFlight: this.#sender.inFlight };
  }

  /** What a persistent client has done to its storage; undefined without. */
  get storageWear(): Readonly<Wear> | undefined {
    return this.#journal instanceof StoredJournal ? this.#journal.wear : undefined;
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
      beforeFlush: () => this.#journal.commit(),
      ended: (reason, wasEstablished) => this.#ended(reason, wasEstablished),
      oldestUnanswered: () => this.#sender.oldest ?? this.#subscriptions.oldestRequest,
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
    return this.#subscriptions.add(filter, options);
  }

  /**
   * Asks the broker for an existing subscription once more and resolves with its answer, 0..2 or 0x80 and more: proof that this connection may
   * do what it is for.
   * @throws HawserError `NOT_SUBSCRIBED`, `NOT_CONNECTED` (also when the connection ends before the answer)
   */
  confirm(filter: string): Promise<number> {
    return this.#subscriptions.confirm(filter);
  }

  /** Closes the subscription to `filter`, if there is one. */
  unsubscribe(filter: string): Promise<void> {
    return this.#subscriptions.get(filter)?.close() ?? Promise.resolve();
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

  #openJournal(storage: Storage | undefined): VolatileJournal | StoredJournal {
    const { persistent, clientId, maxStoredPerHour = Infinity } = this.#options;
    if (!persistent) return new VolatileJournal();
    if (storage === undefined) throw new HawserError("BAD_OPTION", "the MQTT option persistent needs a storage", "Give the client a storage.");
    const { clock, scheduler, log } = this.platform;
    return new StoredJournal({ clock, scheduler, log, storage }, clientId, maxStoredPerHour, () => this.#storageDue());
  }

  #restore(journal: StoredJournal): void {
    for (const { message, isReleased } of journal.restored) this.#sender.restore(message, isReleased, journal.isSameSession);
    journal.restored.length = 0;
  }

  /** Written together with what goes out in this turn, or at once where nothing does. */
  #storageDue(): void {
    if (this.connected) this.#connection?.wrote();
    else this.#journal.commit();
  }

  #publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<PublishResult> {
    const { qos = 0, queue = false } = options;
    if (qos === 0 && !queue && !this.connected) {
      throw new HawserError("NOT_CONNECTED", `there is no connection for a QoS 0 message to ${topic}`, "Wait for a connection, use QoS 1 or 2, or `queue: true`.");
    }
    const message = this.#message(topic, payload, options);
    this.#sender.accept(message, options.persist !== false || qos === 2);
    const outcome = queue ? ACCEPTED : message.outcome();
    this.#pump();
    return outcome;
  }

  #message(topic: string, payload: Uint8Array | string, options: PublishOptions): OutgoingMessage {
    const { qos = 0, retain = false, properties } = options;
    if (topic !== this.#lastTopic) this.#lastTopic = checkTopic(topic);
    // The caller may use its array again.
    const bytes = typeof payload === "string" ? toBytes(payload) : new Uint8Array(payload);
    const expirySeconds = properties?.messageExpiryInterval;
    const expiresAtMs = expirySeconds === undefined ? undefined : this.#nowMs() + expirySeconds * 1000;
    return new OutgoingMessage(topic, bytes, qos, retain, properties, expiresAtMs);
  }

  #lastTopic: string | undefined;

  /** Sends what may be sent. */
  #pump(): void {
    const connection = this.#connection;
    const publisher = this.#publisher;
    if (connection === undefined || publisher === undefined) return;
    while (connection.isWritable) {
      const message = this.#sender.next(this.#nowMs);
      if (message === undefined) return;
      try {
        publisher.write(connection.writer, message);
      } catch (error) {
        this.#sender.giveUp(message, error as HawserError);
        continue;
      }
      connection.wrote();
      if (message.qos === 0) this.#sender.handedOver(message);
    }
  }

  #established(connection: Connection, connack: ConnackPacket): void {
    const { sessionPresent, properties = {} } = connack;
    const { version } = connection;
    const options = this.#options;
    if (properties.assignedClientIdentifier !== undefined) this.#assignedClientId = properties.assignedClientIdentifier;
    this.#publisher = new PublishWriter(version, properties, options.outgoingTopicAliases, this.#nowMs);
    const window = Math.min(properties.receiveMaximum ?? 65_535, options.inFlightWindow);
    this.#receiver.begin(version === 5 ? options.receiveMaximum : Math.max(options.receiveMaximum, MIN_RECEIVE_LIMIT_3_1_1), sessionPresent);
    this.#subscriptions.begin(version, sessionPresent);
    this.#sender.begin(window, version, sessionPresent);
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.resolve({ sessionPresent, clientId: this.#clientId, properties });
    this.#pump();
  }

  #packet(packet: InboundPacket): void {
    switch (packet.cmd) {
      case "publish":
        return this.#receiver.publish(packet);
      case "pubrel":
        return this.#receiver.pubrel(packet.messageId);
      case "puback":
      case "pubrec":
      case "pubcomp":
        this.#sender.acknowledged(packet);
        return this.#pump();
      case "suback":
      case "unsuback":
        return this.#subscriptions.answered(packet);
      default:
        throw protocolError(`${packet.cmd.toUpperCase()} from a broker`);
    }
  }

  #deliver(message: InboundMessage): void {
    if (this.#subscriptions.deliver(message)) return;
    // Left from an earlier session, or unsubscribed meanwhile: unacknowledged it would hold up all others.
    this.onMessageDropped?.(message.topic, "NO_SUBSCRIPTION");
    message.ack();
  }

  #acknowledge(cmd: "puback" | "pubrec" | "pubrel" | "pubcomp", messageId: number, reasonCode: number): void {
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
    if (wasEstablished) {
      this.#sender.end();
      this.#receiver.end();
      this.#subscriptions.end();
      this.#journal.commit();
    }
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.reject(new ConnectError(reason));
    if (wasEstablished) this.onEnd?.(reason);
    for (const resolve of closing) resolve();
  }
}

const ACCEPTED = Promise.resolve(DELIVERED);
