/**
 * What is behind `MqttClient`: joins the session, which lasts, with the connections, which come and go. One object instead of a closure for
 * each thing they have to tell one another: gateways and fleet simulators have thousands of clients in one process.
 */
import type { Failure } from "../failure.js";
import { errorMessage, HawserError } from "../errors.js";
import { EventHub } from "../event-hub.js";
import type { Cancel, Clock, Link, LinkHandlers, Log, Random, Scheduler, Storage } from "../platform.js";
import { checkMessageProperties } from "./contract/check-properties.js";
import { ConnectError, RefusedError } from "./contract/connect-error.js";
import type { MqttEvent } from "./contract/mqtt-events.js";
import { Connection, type ConnectionOwner } from "./link/connection.js";
import {
  abortedError,
  badOption,
  checkDisconnectOptions,
  checkPublishOptions,
  resolveOptions,
  toBytes,
  type AbortSignalLike,
  type DisconnectOptions,
  type MqttOptions,
  type PublishOptions,
  type PublishResult,
  type ResolvedOptions,
} from "./contract/options.js";
import { DELIVERED, OutgoingMessage } from "./session/outgoing-message.js";
import type { AckPacket, ConnackPacket, InboundPacket, OutboundPacket, Properties, PublishPacket } from "./codec/packet-types.js";
import { PublishWriter } from "./link/publish-writer.js";
import { writeAck } from "./codec/publish-codec.js";
import { Session, type SessionOwner } from "./session/session.js";
import { checkTopic } from "./contract/topics.js";

/** What CONNACK said. */
export interface Connack {
  /** The broker has kept the session. */
  sessionPresent: boolean;
  /** The client identifier in use: the broker's choice where this client left it open. */
  clientId: string;
  /** 5.0 only. */
  properties: Properties;
}

/** The ports that a client needs; `nodePlatform` and the firmware's platform have them. */
export interface MqttPlatform {
  clock: Clock;
  scheduler: Scheduler;
  random: Random;
  log: Log;
}

/** Before a subscription that the broker refused is asked for again on the same connection: its rules may be on their way. */
const ASK_AGAIN_MS = 60_000;

/** Whom it tells what happens; each may throw. */
export interface ClientListener {
  onEnd: ((failure: Failure) => void) | undefined;
  onMessageDropped: ((topic: string, code: string) => void) | undefined;
  onMessageHeld: ((topic: string, code: string) => void) | undefined;
  onMessageUncertain: ((topic: string, code: string) => void) | undefined;
  onPublishSettled: ((topic: string, reasonCode: number) => void) | undefined;
  onSubscriptionRefused: ((filter: string, reasonCode: number, code: string) => void) | undefined;
}

/** Waits until nothing is left in the outbox. */
type Drained = () => void;

interface Attempt {
  readonly resolve: (connack: Connack) => void;
  readonly reject: (error: ConnectError) => void;
}

export class SessionDriver implements ConnectionOwner, SessionOwner {
  readonly session: Session;
  readonly events: EventHub<MqttEvent>;
  readonly counts = { connections: 0, messagesSent: 0, messagesReceived: 0, bytesSent: 0, bytesReceived: 0 };
  #drained: Drained[] | undefined;
  #options: ResolvedOptions;
  #connection: Connection | undefined;
  #publisher: PublishWriter | undefined;
  #assignedClientId: string | undefined;
  /** A message came or was delivered on this connection, or the one before. */
  #hasMoved = false;
  /** Just published, by somebody who waits for it. */
  #fresh: OutgoingMessage | undefined;
  /** The attempt before ended without CONNACK, perhaps because of what went out before it. */
  #waitsForConnack = false;
  #cancelHold: Cancel | undefined;
  #cancelDenial: Cancel | undefined;
  #attempt: Attempt | undefined;
  #closing: (() => void)[] | undefined;
  /** The last topic found valid: it is likely to be the next one too. */
  #validTopic: string | undefined;

  constructor(
    options: MqttOptions,
    private readonly platform: MqttPlatform,
    storage: Storage | undefined,
    private readonly listener: ClientListener,
  ) {
    this.#options = resolveOptions(options);
    this.events = new EventHub(platform.log);
    this.session = new Session(this.#options, platform, storage, this);
  }

  configure(changes: Partial<MqttOptions>): void {
    this.#options = resolveOptions({ ...this.#options, ...changes });
    if (changes.clientId !== undefined) this.#assignedClientId = undefined;
    this.session.outbox.configure(this.#options.outbox);
  }

  get isConnected(): boolean {
    return this.#connection?.isEstablished ?? false;
  }

  /** The latest connection was of use: a message came, or one was delivered, or none waits. */
  get wasUseful(): boolean {
    return this.#hasMoved || this.session.outbox.messages === 0;
  }

  connect(dial: (handlers: LinkHandlers) => Link): Promise<Connack> {
    if (this.#connection !== undefined) {
      return Promise.reject(
        new HawserError("ALREADY_CONNECTED", "this client is already connected or connecting", "Wait for that connection to end."),
      );
    }
    const connection = new Connection(this.#options, this.#clientId, this.platform.scheduler, this);
    this.#connection = connection;
    return new Promise((resolve, reject) => {
      this.#attempt = { resolve, reject };
      connection.start(dial);
    });
  }

  reauthenticate(): Promise<void> {
    return (
      this.#connection?.reauthenticate() ??
      Promise.reject(new HawserError("NOT_CONNECTED", "no connection to authenticate", "Wait for one."))
    );
  }

  disconnect(options: DisconnectOptions): Promise<void> {
    checkDisconnectOptions(options, this.#connection?.options.sessionExpirySeconds ?? this.#options.sessionExpirySeconds);
    const connection = this.#connection;
    if (connection === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      (this.#closing ??= []).push(resolve);
      this.session.leaveUnclaimed(connection.isEstablished);
      connection.disconnect(options);
    });
  }

  abort(reason: Failure): void {
    this.#connection?.abort(reason);
  }

  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<PublishResult> {
    checkPublishOptions(options);
    const { qos = 0, queue = false, signal } = options;
    if (signal?.aborted === true) throw abortedError(`the message to ${topic}`);
    const message = this.#message(topic, payload, options);
    if (qos === 0 && !queue && !this.isConnected) {
      throw new HawserError(
        "NOT_CONNECTED",
        `not connected: cannot send a QoS 0 message to ${topic}`,
        "Wait for a connection, use QoS 1 or 2, or `queue: true`.",
      );
    }
    this.session.sender.accept(message, options.persist !== false || qos === 2);
    const outcome = queue ? ACCEPTED : message.outcome();
    // Who waits for it hears at once that this broker does not take it; what was accepted before waits for another.
    this.#fresh = queue ? undefined : message;
    this.#pump();
    this.#fresh = undefined;
    return signal === undefined ? outcome : this.#abortable(outcome, signal, message);
  }

  /** Settles when nothing of the application's is left in the outbox: delivered, or given up. */
  drain(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.platform.scheduler.after(timeoutMs, () => {
        this.#drained = this.#drained?.filter((one) => one !== done);
        const { messages } = this.session.outbox;
        reject(
          new HawserError(
            "DRAIN_TIMEOUT",
            `${messages} messages were not delivered within ${timeoutMs} ms`,
            "They stay in the outbox: wait longer, or discard them.",
          ),
        );
      });
      const done = (): void => {
        cancel();
        resolve();
      };
      (this.#drained ??= []).push(done);
      this.checkDrained();
    });
  }

  checkDrained(): void {
    if (this.#drained === undefined || this.session.outbox.messages > 0) return;
    const drained = this.#drained;
    this.#drained = undefined;
    for (const done of drained) done();
  }

  #abortable(outcome: Promise<PublishResult>, signal: AbortSignalLike, message: OutgoingMessage): Promise<PublishResult> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        reject(abortedError(`the message to ${message.topic}`));
        // Its payload is its own: no other message has this array.
        this.session.sender.discard(({ payload }) => payload === message.payload);
        this.checkDrained();
      };
      const over = (): void => signal.removeEventListener("abort", abort);
      signal.addEventListener("abort", abort);
      outcome.then(resolve, reject).then(over, over);
    });
  }

  // What the connection tells.

  opened(connection: Connection): void {
    const { messagesWithConnect = 0, authentication } = connection.options;
    // With enhanced authentication nothing else may come before CONNACK (section 3.1.2.11.9).
    if (connection.info?.resumed !== true || this.#waitsForConnack || authentication !== undefined) return;
    const publisher = new PublishWriter(connection.version, {}, 0, this.platform.clock);
    for (let left = messagesWithConnect; left > 0; left--) {
      const message = this.session.sender.early(this.platform.clock);
      if (message === undefined) return;
      publisher.write(connection.writer, message);
      this.counts.messagesSent++;
    }
  }

  established(connack: ConnackPacket): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#hasMoved = false;
    const { sessionPresent, properties = {} } = connack;
    const { version, options } = connection;
    // Only where the choice was left to the broker (section 3.2.2.3.7): a name of our own is not for it to take.
    if (this.#options.clientId === "" && properties.assignedClientIdentifier) this.#assignedClientId = properties.assignedClientIdentifier;
    this.#publisher = new PublishWriter(version, properties, options.outgoingTopicAliases, this.platform.clock);
    this.session.begin(connack, version, options);
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.counts.connections++;
    const { tlsVersion = "none", cipher = "none", resumed = false } = connection.info ?? {};
    this.events.emit({
      type: "connected",
      clientId: this.#clientId,
      sessionPresent,
      protocolVersion: version,
      tlsVersion,
      cipher,
      resumed,
      properties,
    });
    attempt?.resolve({ sessionPresent, clientId: this.#clientId, properties });
    this.#pump();
  }

  packet(packet: InboundPacket): void {
    this.session.packet(packet);
    if (packet.cmd === "publish") {
      this.#hasMoved = true;
      this.counts.messagesReceived++;
    } else this.#pump();
  }

  oversized(packet: PublishPacket, sizeBytes: number): void {
    this.session.oversized(packet, sizeBytes);
  }

  writable(): void {
    this.#pump();
  }

  get isFull(): boolean {
    return this.session.isFull;
  }

  skim(): void {
    this.platform.log("warn", "the application takes no messages: the broker keeps them", {});
    this.session.skim();
  }

  /** Not within the call of the application that took a message. */
  roomAgain(left: number): void {
    const connection = this.#connection;
    void ACCEPTED.then(() => {
      if (connection === this.#connection) connection?.roomAgain(left);
    });
  }

  alive(): void {
    this.session.alive();
    this.#pump();
  }

  beforeFlush(): void {
    this.session.commit();
  }

  get oldestUnanswered(): object | undefined {
    return this.session.oldestUnanswered;
  }

  ended(reason: Failure, wasEstablished: boolean): void {
    if (this.#connection?.isUnanswered === true) this.session.subscriptions.doubt();
    const blame = this.#connection?.blame ?? "none";
    this.#connection = undefined;
    this.#publisher = undefined;
    this.#cancelHold?.();
    this.#cancelHold = undefined;
    this.#cancelDenial?.();
    this.#cancelDenial = undefined;
    const closing = this.#closing ?? [];
    this.#closing = undefined;
    this.#waitsForConnack = !wasEstablished;
    if (wasEstablished) this.session.end(blame);
    else this.session.sender.end();
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.reject(new ConnectError(reason));
    if (wasEstablished) {
      this.tell(() => this.listener.onEnd?.(reason));
      this.events.emit({ type: "disconnected", code: reason.code, class: reason.class, message: reason.message });
    }
    for (const resolve of closing) resolve();
  }

  // What the session wants.

  send(packet: OutboundPacket): void {
    this.#connection?.send(packet);
  }

  acknowledge(cmd: AckPacket["cmd"], messageId: number, reasonCode: number): void {
    const connection = this.#connection;
    if (connection === undefined || !connection.isEstablished) return;
    writeAck(connection.writer, cmd, messageId, connection.version === 5 ? reasonCode : 0);
    connection.wrote();
  }

  /** Stored together with what goes out in this turn, or at once where nothing does. */
  storageDue(): void {
    if (this.isConnected) this.#connection?.wrote();
    else this.session.commit();
  }

  dropped(topic: string, code: string): void {
    this.tell(() => this.listener.onMessageDropped?.(topic, code));
    this.events.emit({ type: "message-dropped", topic, code });
    this.checkDrained();
  }

  uncertain(topic: string, code: string): void {
    this.tell(() => this.listener.onMessageUncertain?.(topic, code));
    this.events.emit({ type: "message-uncertain", topic, code });
    this.checkDrained();
  }

  delivered(topic: string, reasonCode: number): void {
    this.#hasMoved = true;
    if (this.listener.onPublishSettled !== undefined) this.tell(() => this.listener.onPublishSettled?.(topic, reasonCode));
  }

  denied(): void {
    this.#cancelDenial ??= this.platform.scheduler.after(this.#options.denialGraceMs, () => {
      this.#cancelDenial = undefined;
      if (this.session.sender.refuseOutlived()) this.denied();
    });
  }

  refused(filter: string, error: HawserError): void {
    const connection = this.#connection;
    this.platform.scheduler.after(ASK_AGAIN_MS, () => connection === this.#connection && this.session.subscriptions.askAgain(filter));
    const reasonCode = error instanceof RefusedError ? error.reasonCode : UNSPECIFIED_ERROR;
    this.tell(() => this.listener.onSubscriptionRefused?.(filter, reasonCode, error.code));
    this.events.emit({ type: "subscription-refused", filter, code: error.code });
  }

  probe(): void {
    this.#connection?.send({ cmd: "pingreq" });
  }

  get #clientId(): string {
    return this.#assignedClientId ?? this.#options.clientId;
  }

  #message(topic: string, payload: Uint8Array | string, options: PublishOptions): OutgoingMessage {
    const { qos = 0, retain = false } = options;
    if (topic !== this.#validTopic || topic === undefined) this.#validTopic = checkTopic(topic);
    if (typeof payload !== "string" && !(payload instanceof Uint8Array)) throw badOption("payload", "must be a string or a Uint8Array");
    const properties = options.properties === undefined ? undefined : checkMessageProperties(options.properties);
    // The caller may use its array again.
    const bytes = typeof payload === "string" ? toBytes(payload) : new Uint8Array(payload);
    const expirySeconds = properties?.messageExpiryInterval;
    const expiresAtMs = expirySeconds === undefined ? undefined : this.platform.clock.monotonicMs() + expirySeconds * 1_000;
    const message = new OutgoingMessage(topic, bytes, qos, retain, properties, expiresAtMs);
    if (options.beyondBounds === true) message.isBeyondBounds = true;
    return message;
  }

  /** Sends what may be sent. */
  #pump(): void {
    this.#write();
    this.checkDrained();
  }

  #write(): void {
    const connection = this.#connection;
    const publisher = this.#publisher;
    if (connection === undefined || publisher === undefined) return;
    const { sender } = this.session;
    while (connection.isWritable) {
      const message = this.session.next();
      if (message === undefined) return;
      try {
        publisher.write(connection.writer, message);
      } catch (error) {
        this.#cannotGo(message, error as HawserError);
        continue;
      }
      connection.wrote();
      this.counts.messagesSent++;
      if (message.qos === 0) sender.handedOver(message);
    }
  }

  /**
   * The broker at hand does not take it (its QoS, retain, size). A wrong one may be in the right one's place: accepted messages wait for a
   * while.
   */
  #cannotGo(message: OutgoingMessage, error: HawserError): void {
    const { heldForMs } = this.#options;
    const nowMs = this.platform.clock.monotonicMs();
    const isNew = message.heldSinceMs === undefined;
    message.heldSinceMs ??= nowMs;
    if (message === this.#fresh || nowMs - message.heldSinceMs >= heldForMs) return this.session.sender.giveUp(message, error);
    this.session.sender.hold(message);
    this.#cancelHold ??= this.platform.scheduler.after(heldForMs, () => {
      this.#cancelHold = undefined;
      this.session.sender.retryHeld();
      this.#pump();
    });
    if (!isNew) return;
    this.tell(() => this.listener.onMessageHeld?.(message.topic, error.code));
    this.events.emit({ type: "message-held", topic: message.topic, code: error.code });
  }

  /** What a listener throws is not the connection's fault, and must not end it. */
  tell(call: () => unknown): void {
    try {
      call();
    } catch (error) {
      this.platform.log("error", "a listener of the MQTT client threw", { error: errorMessage(error) });
    }
  }
}

/** Stands for whatever has no reason code (MQTT 5.0, table 2-6). */
const UNSPECIFIED_ERROR = 0x80;

const ACCEPTED = Promise.resolve(DELIVERED);
