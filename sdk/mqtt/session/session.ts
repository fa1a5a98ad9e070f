/**
 * The session that client and broker share and that outlives connections (MQTT 5.0, section 4.1): messages on their way both ways,
 * subscriptions, packet identifiers, and their storage. Plain state: packets in, packets and effects out; no link, no timer.
 */
import { HawserError } from "../../errors.js";
import type { Blame } from "../contract/blame.js";
import type { Clock, Log, Scheduler, Storage } from "../../platform.js";
import { DeniedMessages } from "./denied-messages.js";
import { VolatileJournal } from "./session-journal.js";
import type { ResolvedOptions, SubscribeOptions } from "../contract/options.js";
import { Outbox } from "./outbox.js";
import { OutgoingMessage } from "./outgoing-message.js";
import { PacketIds } from "./packet-ids.js";
import { protocolError } from "../codec/packet-error.js";
import type {
  AckPacket,
  ConnackPacket,
  InboundPacket,
  OutboundPacket,
  ProtocolVersion,
  PublishPacket,
  SubackPacket,
} from "../codec/packet-types.js";
import { FilterRecord } from "./filter-record.js";
import { isAnswer } from "../contract/reason-codes.js";
import { Receiver, type ReceiverOwner } from "./receiver.js";
import { Sender, type SenderOwner } from "./sender.js";
import { StoredJournal } from "./stored-journal.js";
import { resolveSubscribeOptions } from "./subscribe-request.js";
import type { Message } from "../contract/incoming-messages.js";
import { MessageStream, type InboundMessage } from "./message-stream.js";
import { SubscriptionTable, type SubscriptionTableOwner } from "./subscription-table.js";
import { Suspects, type Retried } from "./suspects.js";
import { Unclaimed } from "./unclaimed.js";

/** What a session asks of its client. */
export interface SessionOwner {
  send(packet: OutboundPacket): void;
  acknowledge(cmd: AckPacket["cmd"], messageId: number, reasonCode: number): void;
  /** Something is to be stored: {@link Session.commit} has to be called, at the latest before the next bytes go out. */
  storageDue(): void;
  dropped(topic: string, code: string): void;
  uncertain(topic: string, code: string): void;
  delivered(topic: string, reasonCode: number): void;
  /** A message was denied; after the grace time `sender.refuseOutlived` is to be called, unless the connection ended before. */
  denied(): void;
  refused(filter: string, error: HawserError): void;
  /** The application has taken enough after there was too much. @param left how many messages were left with the broker */
  roomAgain(left: number): void;
  /** Sends PINGREQ; {@link Session.alive} has to be called with its answer. */
  probe(): void;
  /** Calls an application's listener, which may throw. */
  tell(call: () => unknown): void;
}

export interface SessionPlatform {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly log: Log;
}

/**
 * A broker of 3.1.1 cannot be told a receive maximum, and one of 5.0 may not keep to it: at least so many messages may come before the
 * application takes them. Twice what one read of 64 KiB can hold of the smallest, so that a burst alone never ends a connection.
 */
const RECEIVE_LIMIT = 16_384;

export class Session implements SenderOwner, ReceiverOwner, SubscriptionTableOwner {
  readonly outbox: Outbox;
  readonly sender: Sender;
  readonly subscriptions: SubscriptionTable;
  readonly #receiver: Receiver;
  readonly #suspects: Suspects;
  readonly #unclaimed: Unclaimed;
  /** Who takes what no subscription does. */
  #rest: MessageStream | undefined;
  #onMessage: ((message: Message) => unknown) | undefined;
  /** PINGREQ was sent, or answered, since anything else was. */
  #probe: "none" | "asked" | "answered" = "none";
  readonly #journal: VolatileJournal | StoredJournal;
  /** False while what is stored is read. */
  #isReady = false;
  #hasLoggedUnasked = false;
  /** What is not acknowledged comes again on the next connection. */
  #keepsSession = false;

  /** @throws HawserError `BAD_OPTION`, `STORAGE_FAILED` */
  constructor(
    options: ResolvedOptions,
    private readonly platform: SessionPlatform,
    storage: Storage | undefined,
    private readonly owner: SessionOwner,
  ) {
    const ids = new PacketIds();
    this.#suspects = new Suspects(platform.clock);
    this.#unclaimed = new Unclaimed(options.unclaimed, platform, (message) => this.#nobodyWants(message));
    this.#journal = openJournal(options, platform, storage, () => this.#isReady && owner.storageDue());
    this.outbox = new Outbox(options.outbox);
    const denials = new DeniedMessages(this.outbox.denied, options.denialGraceMs, platform.clock);
    this.sender = new Sender(this.outbox, ids, this.#journal, this.#suspects, this, options.onSessionLost === "resend", denials);
    this.#receiver = new Receiver(this.#journal, this);
    const record = new FilterRecord(options.cleanStart ? undefined : storage, options.clientId, platform.log);
    this.subscriptions = new SubscriptionTable(ids, this.#suspects, record, this, options.subscriptionIdentifiers);
    if (this.#journal instanceof StoredJournal) this.#restore(this.#journal);
    this.#isReady = true;
    this.commit();
  }

  /** Undefined where nothing is stored. */
  get wear(): StoredJournal["wear"] | undefined {
    return this.#journal instanceof StoredJournal ? this.#journal.wear : undefined;
  }

  /** What has been waiting for an answer of the broker for longest, by identity. */
  get oldestUnanswered(): object | undefined {
    return this.sender.oldest ?? this.subscriptions.oldestRequest;
  }

  /** An answer to nothing: let pass, and written down once a connection, since whoever sends one sends many. */
  unasked(cmd: AckPacket["cmd"] | SubackPacket["cmd"], messageId: number): void {
    if (!this.#hasLoggedUnasked)
      this.platform.log("warn", "the broker acknowledged what was not asked", { packet: cmd.toUpperCase(), messageId });
    this.#hasLoggedUnasked = true;
  }

  /** A connection is established. */
  begin(connack: ConnackPacket, version: ProtocolVersion, options: ResolvedOptions): void {
    const { sessionPresent, properties = {} } = connack;
    const { receiveMaximum, inFlightWindow } = options;
    this.#hasLoggedUnasked = false;
    const limit = version === 5 ? (receiveMaximum ?? RECEIVE_LIMIT) : Math.max(receiveMaximum ?? 0, RECEIVE_LIMIT);
    this.#keepsSession = version === 5 ? options.sessionExpirySeconds > 0 : !options.cleanStart;
    this.#receiver.begin(limit, version, sessionPresent, options.inboundBytes);
    this.subscriptions.begin(version, sessionPresent, properties);
    const brokersWindow = properties.receiveMaximum ?? 65_535;
    const reserved = options.reserveInFlight && brokersWindow > 1 ? 1 : 0;
    this.#probe = "none";
    this.sender.begin(Math.min(inFlightWindow, brokersWindow - reserved), brokersWindow, version, sessionPresent);
  }

  /** The connection ended. */
  end(blame: Blame): void {
    const guilty =
      blame === "none" ? this.#suspects.acquitTrial() : this.#suspects.judge(this.#unanswered(blame), blame, this.sender.isLonely);
    this.sender.end();
    this.leaveUnclaimed(false);
    this.#receiver.end();
    this.subscriptions.end();
    if (guilty instanceof OutgoingMessage) this.sender.convict(guilty);
    else if (guilty !== undefined) this.subscriptions.convict(guilty);
    this.commit();
  }

  /** The connection ends: what nobody took is left to the broker. */
  leaveUnclaimed(isConnected: boolean): void {
    for (const message of this.#unclaimed.clear()) this.#receiver.leave(message, isConnected);
  }

  /** The items that may have ended the connection. */
  #unanswered(blame: Blame): Retried[] {
    if (blame !== "unanswered") return [...this.sender.unanswered(), ...this.subscriptions.unanswered()];
    const oldest = this.sender.oldest ?? this.subscriptions.oldestRequest?.item;
    return oldest === undefined ? [] : [oldest];
  }

  /** The message to be sent now, if there is one and the broker takes more. The caller sends it, or gives it up. */
  next(): OutgoingMessage | undefined {
    const message = this.sender.next(this.platform.clock);
    if (message === undefined) return this.#suspects.isAny ? this.#tryAlone() : undefined;
    this.#probe = "none";
    return message;
  }

  /** PINGRESP came: the broker has dealt with all that was sent before PINGREQ. */
  alive(): void {
    if (this.#probe === "asked") this.#probe = "answered";
  }

  /** Nothing else is to be sent: what may have ended connections is tried, one at a time. */
  #tryAlone(): OutgoingMessage | undefined {
    if (this.#suspects.trial !== undefined || !this.sender.isQuiet || !this.subscriptions.isQuiet) return undefined;
    const item = this.subscriptions.suspect() ?? this.sender.suspect(this.platform.clock);
    if (item === undefined) {
      this.#suspects.isAny = false;
      return undefined;
    }
    if (this.#probe === "none") {
      this.#probe = "asked";
      this.owner.probe();
    }
    if (this.#probe !== "answered") return undefined;
    this.#probe = "none";
    this.#suspects.trial = item;
    if (item instanceof OutgoingMessage) return this.sender.try(item);
    this.subscriptions.try(item);
    return undefined;
  }

  /** What no subscription takes, as an async iterable. @throws HawserError `ALREADY_SUBSCRIBED`, `BAD_OPTION` */
  messages(options: SubscribeOptions): MessageStream {
    if (this.#rest !== undefined)
      throw new HawserError("ALREADY_SUBSCRIBED", "an iterator over the other messages already exists", "Use that one, or close it first.");
    const rest = new MessageStream("#", resolveSubscribeOptions(options), {
      closed: () => {
        this.#rest = undefined;
        return Promise.resolve();
      },
      dropped: (message, code) => this.dropped(message, code),
      leftBehind: (message) => this.leftBehind(message),
    });
    rest.answered(0);
    this.#rest = rest;
    this.#offer();
    return rest;
  }

  /** What no subscription and no iterator takes. */
  set onMessage(listener: ((message: Message) => unknown) | undefined) {
    this.#onMessage = listener;
    if (listener !== undefined) this.#offer();
  }

  get onMessage(): ((message: Message) => unknown) | undefined {
    return this.#onMessage;
  }

  /** @throws HawserError `INVALID_FILTER`, `ALREADY_SUBSCRIBED`, `BAD_OPTION` */
  subscribe(filter: string, options: SubscribeOptions): MessageStream {
    const subscription = this.subscriptions.add(filter, options);
    this.#offer();
    return subscription;
  }

  /** Somebody new may want what nobody took. */
  #offer(): void {
    this.#unclaimed.offer((message) => this.#hand(message));
  }

  /** @throws PacketError where the packet may not come, or not now */
  packet(packet: InboundPacket): void {
    switch (packet.cmd) {
      case "publish":
        return this.#publish(packet);
      case "puback":
      case "pubrec":
      case "pubrel":
      case "pubcomp":
        return this.#acknowledgement(packet);
      case "suback":
      case "unsuback":
        return this.subscriptions.answered(packet);
      default:
        throw protocolError(`${packet.cmd.toUpperCase()} at this place`);
    }
  }

  #publish(packet: PublishPacket): void {
    if (packet.qos === 0 || this.#keepsSession || !this.#receiver.isSkimming) return this.#receiver.publish(packet);
    // Nobody would send it again.
    if (this.#receiver.refuse(packet)) this.owner.dropped(packet.topic, "BUFFER_FULL");
  }

  /** There is so much for the application to take that no more should be read. */
  get isFull(): boolean {
    return this.#receiver.isFull;
  }

  /** Reading goes on all the same, for what else the broker has to say. */
  skim(): void {
    this.#receiver.skim();
  }

  roomAgain(left: number): void {
    this.owner.roomAgain(left);
  }

  #acknowledgement(packet: AckPacket): void {
    const { cmd, messageId, reasonCode } = packet;
    if (!isAnswer(cmd, reasonCode)) throw protocolError(`${cmd.toUpperCase()} with reason code ${reasonCode}`);
    if (cmd === "pubrel") this.#receiver.pubrel(messageId);
    else this.sender.acknowledged(packet);
  }

  /** A message that is too large to be taken: it is reported, and acknowledged so that the broker does not send it for ever. */
  oversized(packet: PublishPacket, sizeBytes: number): void {
    this.platform.log("warn", "a message is too large and was passed over", { topic: packet.topic, bytes: sizeBytes });
    if (this.#receiver.refuse(packet)) this.owner.dropped(packet.topic, "PACKET_TOO_LARGE");
  }

  /** Stores what is to be stored. */
  commit(): void {
    this.#journal.commit();
  }

  // What the parts of the session want.

  send(packet: OutboundPacket): void {
    this.owner.send(packet);
  }

  acknowledge(cmd: AckPacket["cmd"], messageId: number, reasonCode: number): void {
    this.owner.acknowledge(cmd, messageId, reasonCode);
  }

  deliver(message: InboundMessage): void {
    if (this.#hand(message) || (message.qos > 0 && this.#unclaimed.hold(message))) return;
    this.#nobodyWants(message);
  }

  /** False when there is nobody for it. */
  #hand(message: InboundMessage): boolean {
    if (this.subscriptions.deliver(message)) return true;
    if (this.#rest !== undefined) this.#rest.push(message);
    else if (this.#onMessage !== undefined) this.#call(this.#onMessage, message);
    else return false;
    return true;
  }

  /** Acknowledged when the listener is done with it, however that went. */
  #call(listener: (message: Message) => unknown, message: InboundMessage): void {
    let result: unknown;
    this.owner.tell(() => (result = listener(message)));
    void Promise.resolve(result).then(
      () => message.ack(),
      (error: unknown) => {
        this.owner.tell(() => {
          throw error;
        });
        message.ack();
      },
    );
  }

  /** Left from an earlier session, or unsubscribed meanwhile: unacknowledged it would hold up all others. */
  #nobodyWants(message: InboundMessage): void {
    this.owner.dropped(message.topic, "NO_SUBSCRIPTION");
    message.ack();
  }

  leftBehind(message: InboundMessage): void {
    if (message.qos === 0 || message.isCopy) message.ack();
    else this.deliver(message);
  }

  delivered(message: OutgoingMessage, reasonCode: number): void {
    this.owner.delivered(message.topic, reasonCode);
  }

  givenUp(message: OutgoingMessage, error: HawserError): void {
    this.owner.dropped(message.topic, error.code);
  }

  denied(): void {
    this.owner.denied();
  }

  uncertain(message: OutgoingMessage, error: HawserError): void {
    this.owner.uncertain(message.topic, error.code);
  }

  dropped(message: InboundMessage, code: string): void {
    this.owner.dropped(message.topic, code);
  }

  refused(filter: string, error: HawserError): void {
    this.owner.refused(filter, error);
  }

  #restore(journal: StoredJournal): void {
    for (const { message, stage } of journal.restored) this.sender.restore(message, stage, journal.isSameSession);
    journal.restored.length = 0;
  }
}

function openJournal(
  options: ResolvedOptions,
  platform: SessionPlatform,
  storage: Storage | undefined,
  onTask: () => unknown,
): VolatileJournal | StoredJournal {
  const { persistent, clientId, maxStoredPerHour = Infinity } = options;
  if (!persistent) return new VolatileJournal();
  if (storage === undefined)
    throw new HawserError("BAD_OPTION", "the MQTT option persistent needs a storage", "Give the client a storage.");
  const { clock, scheduler, log } = platform;
  return new StoredJournal({ clock, scheduler, log, storage }, clientId, maxStoredPerHour, onTask);
}
