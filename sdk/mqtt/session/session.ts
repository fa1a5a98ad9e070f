/**
 * The session that client and broker share and that outlives connections (MQTT 5.0, section 4.1): messages on their way both ways, subscriptions,
 * packet identifiers, and their storage. Plain state: packets in, packets and effects out; no link, no timer.
 */
import { HawserError } from "../../errors.js";
import type { Clock, Log, Scheduler, Storage } from "../../platform.js";
import { VolatileJournal } from "./session-journal.js";
import type { ResolvedOptions } from "../options.js";
import { Outbox } from "./outbox.js";
import type { OutgoingMessage } from "./outgoing-message.js";
import { PacketIds } from "./packet-ids.js";
import { protocolError } from "../codec/packet-error.js";
import type { AckPacket, ConnackPacket, InboundPacket, OutboundPacket, ProtocolVersion, SubackPacket } from "../codec/packet-types.js";
import { isAnswer } from "../link/reason-codes.js";
import { Receiver, type ReceiverOwner } from "./receiver.js";
import { Sender, type SenderOwner } from "./sender.js";
import { StoredJournal } from "./stored-journal.js";
import type { InboundMessage } from "./subscription.js";
import { Subscriptions, type SubscriptionsOwner } from "./subscription-table.js";

/** What a session asks of its client. */
export interface SessionOwner {
  send(packet: OutboundPacket): void;
  acknowledge(cmd: AckPacket["cmd"], messageId: number, reasonCode: number): void;
  /** Something is to be stored: {@link Session.commit} has to be called, at the latest before the next bytes go out. */
  storageDue(): void;
  dropped(topic: string, code: string): void;
  delivered(topic: string, reasonCode: number): void;
  refused(filter: string, reasonCode: number): void;
}

export interface SessionPlatform {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly log: Log;
}

/**
 * A broker of 3.1.1 cannot be told a receive maximum, and one of 5.0 may not keep to it: at least so many messages may come before the application takes
 * them. Twice what one read of 64 KiB can hold of the smallest, so that a burst alone never ends a connection.
 */
const RECEIVE_LIMIT = 16_384;

export class Session implements SenderOwner, ReceiverOwner, SubscriptionsOwner {
  readonly outbox: Outbox;
  readonly sender: Sender;
  readonly subscriptions: Subscriptions;
  readonly #receiver: Receiver;
  readonly #journal: VolatileJournal | StoredJournal;
  /** False while what is stored is read. */
  #isReady = false;
  #hasLoggedUnasked = false;

  /** @throws HawserError `BAD_OPTION`, `STORAGE_FAILED` */
  constructor(
    options: ResolvedOptions,
    private readonly platform: SessionPlatform,
    storage: Storage | undefined,
    private readonly owner: SessionOwner,
  ) {
    const ids = new PacketIds();
    this.#journal = openJournal(options, platform, storage, () => this.#isReady && owner.storageDue());
    this.outbox = new Outbox(options.outbox);
    this.sender = new Sender(this.outbox, ids, this.#journal, this);
    this.#receiver = new Receiver(this.#journal, this);
    this.subscriptions = new Subscriptions(ids, this);
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
    if (!this.#hasLoggedUnasked) this.platform.log("warn", "the broker acknowledged what was not asked", { packet: cmd.toUpperCase(), messageId });
    this.#hasLoggedUnasked = true;
  }

  /** A connection is established. */
  begin(connack: ConnackPacket, version: ProtocolVersion, options: ResolvedOptions): void {
    const { sessionPresent, properties = {} } = connack;
    const { receiveMaximum, inFlightWindow } = options;
    this.#hasLoggedUnasked = false;
    const limit = version === 5 ? (receiveMaximum ?? RECEIVE_LIMIT) : Math.max(receiveMaximum ?? 0, RECEIVE_LIMIT);
    this.#receiver.begin(limit, sessionPresent);
    this.subscriptions.begin(version, sessionPresent, properties);
    this.sender.begin(Math.min(properties.receiveMaximum ?? inFlightWindow, inFlightWindow), version, sessionPresent);
  }

  /** The connection ended. */
  end(): void {
    this.sender.end();
    this.#receiver.end();
    this.subscriptions.end();
    this.commit();
  }

  /** @throws PacketError where the packet may not come, or not now */
  packet(packet: InboundPacket): void {
    switch (packet.cmd) {
      case "publish":
        return this.#receiver.publish(packet);
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

  #acknowledgement(packet: AckPacket): void {
    const { cmd, messageId, reasonCode } = packet;
    if (!isAnswer(cmd, reasonCode)) throw protocolError(`${cmd.toUpperCase()} with reason code ${reasonCode}`);
    if (cmd === "pubrel") this.#receiver.pubrel(messageId);
    else this.sender.acknowledged(packet);
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
    if (this.subscriptions.deliver(message)) return;
    // Left from an earlier session, or unsubscribed meanwhile: unacknowledged it would hold up all others.
    this.owner.dropped(message.topic, "NO_SUBSCRIPTION");
    message.ack();
  }

  delivered(message: OutgoingMessage, reasonCode: number): void {
    this.owner.delivered(message.topic, reasonCode);
  }

  givenUp(message: OutgoingMessage, error: HawserError): void {
    this.owner.dropped(message.topic, error.code);
  }

  dropped(message: InboundMessage, code: string): void {
    this.owner.dropped(message.topic, code);
  }

  refused(filter: string, reasonCode: number): void {
    this.owner.refused(filter, reasonCode);
  }

  #restore(journal: StoredJournal): void {
    for (const { message, isReleased } of journal.restored) this.sender.restore(message, isReleased, journal.isSameSession);
    journal.restored.length = 0;
  }
}

function openJournal(options: ResolvedOptions, platform: SessionPlatform, storage: Storage | undefined, onTask: () => unknown): VolatileJournal | StoredJournal {
  const { persistent, clientId, maxStoredPerHour = Infinity } = options;
  if (!persistent) return new VolatileJournal();
  if (storage === undefined) throw new HawserError("BAD_OPTION", "the MQTT option persistent needs a storage", "Give the client a storage.");
  const { clock, scheduler, log } = platform;
  return new StoredJournal({ clock, scheduler, log, storage }, clientId, maxStoredPerHour, onTask);
}
