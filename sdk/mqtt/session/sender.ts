/**
 * The sending half of a session (MQTT 5.0, section 4.3): which message goes next, what each acknowledgement means, and what is sent again
 * on the next connection. Plain state: no link, no timer.
 */
import type { HawserError } from "../../errors.js";
import type { Clock } from "../../platform.js";
import { hangsUpError, RefusedError } from "../contract/connect-error.js";
import type { DeniedMessages } from "./denied-messages.js";
import type { Stage } from "./message-records.js";
import type { OutboxMessage } from "../contract/options.js";
import { VolatileJournal, type Journal } from "./session-journal.js";
import { LazyMap } from "./lazy-map.js";
import { discardedError, expiredError, isExpired, overflowError, sessionLostError, view } from "./message-outcomes.js";
import type { Outbox } from "./outbox.js";
import { MessageList, type OutgoingMessage } from "./outgoing-message.js";
import { protocolError } from "../codec/packet-error.js";
import type { PacketIds } from "./packet-ids.js";
import type { AckPacket, ProtocolVersion } from "../codec/packet-types.js";
import { APART_STRIKES, fewestStrikes, type Retried, type Suspects } from "./suspects.js";

/** What a sender asks of its session. */
export interface SenderOwner {
  /** Not called between connections. */
  acknowledge(cmd: "pubrel", messageId: number, reasonCode: number): void;
  givenUp(message: OutgoingMessage, error: HawserError): void;
  /** Nobody knows whether it was delivered, and nobody awaits it. */
  uncertain(message: OutgoingMessage, error: HawserError): void;
  /** The broker answered what was not asked, or twice. */
  unasked(cmd: AckPacket["cmd"], messageId: number): void;
  /** A message was denied; {@link Sender.refuseOutlived} is to be called when the grace time is over. */
  denied(): void;
  /** Awaited or not. */
  delivered(message: OutgoingMessage, reasonCode: number): void;
}

/** After so many messages of others a suspect gets its turn, although more of them wait. */
const MESSAGES_BETWEEN_TRIALS = 50;
/** Every broker takes so large a message; what more it takes only its CONNACK says. */
const EARLY_BYTES = 1_024;

export class Sender {
  /** Sent on this connection, no PUBACK or PUBREC yet, in the order they were sent. */
  readonly #sent = new MessageList();
  readonly #sentById = new LazyMap<number, OutgoingMessage>();
  /** QoS 2 that the broker has received: PUBREL is due or sent, in the order of their PUBRECs. */
  readonly #released = new LazyMap<number, OutgoingMessage>();
  /** What the broker at hand does not take. */
  readonly #held = new MessageList();
  #window = 0;
  #brokersWindow = 0;
  #version: ProtocolVersion = 4;
  #isConnected = false;
  /** The broker resumed a session of which nothing is known here: identifiers it may still hold at QoS 2, but for those in this set. */
  #cleared: Set<number> | undefined;
  #hasBegun = false;
  /** The message under way alone, taken out of those set apart. */
  #tried: OutgoingMessage | undefined;
  #sinceTrial = 0;

  constructor(
    private readonly outbox: Outbox,
    private readonly ids: PacketIds,
    private readonly journal: Journal,
    private readonly suspects: Suspects,
    private readonly owner: SenderOwner,
    /** What the broker lost after PUBREC is published again, as new. */
    public resendsLost = false,
    private readonly denials?: DeniedMessages,
  ) {}

  /** Messages whose packet identifier the broker may hold. */
  get inFlight(): number {
    return this.#sent.size + this.#released.size;
  }

  /** The message that has been unacknowledged for longest on this connection. */
  get oldest(): OutgoingMessage | undefined {
    return this.#sent.first;
  }

  /**
   * Takes a message in; from here on it is delivered or reported.
   * @throws HawserError `OUTBOX_FULL`, `MESSAGE_TOO_LARGE`, `TOO_MANY_IN_FLIGHT`, `BROKER_HANGS_UP`, or what storage throws: then nothing
   *   has changed
   */
  accept(message: OutgoingMessage, persist: boolean): void {
    if (this.suspects.shuns(message.topic, message.sizeBytes)) throw hangsUpError(`a message to ${message.topic}`);
    const victims = this.outbox.victims(message);
    if (message.qos > 0) message.messageId = this.ids.take();
    try {
      // Stored before the others go: a power cut between the two leaves one too many, never one too few.
      if (persist && message.qos > 0) this.journal.store(message);
    } catch (error) {
      this.ids.release(message.messageId);
      throw error;
    }
    for (const victim of victims) this.giveUp(victim, this.denials?.release(victim) ?? overflowError(victim));
    this.suspects.begin(message, message.topic);
    this.outbox.add(message);
  }

  /**
   * Puts back what storage kept over a reboot.
   * @param isSameSession the broker's session may know it
   */
  restore(message: OutgoingMessage, stage: Stage, isSameSession: boolean): void {
    if (stage === 2) return this.#keep(message);
    this.outbox.add(message);
    if (!this.ids.restore(message.messageId)) this.#renumber(message);
    message.dup = isSameSession;
    if (stage === 0) return;
    this.outbox.waiting.remove(message);
    if (!isSameSession) return this.#lost(message);
    message.isReleased = true;
    this.#released.set(message.messageId, message);
  }

  /** Duplicate ids should not occur; renumber rather than drop a message. */
  #renumber(message: OutgoingMessage): void {
    message.messageId = this.ids.take();
    this.journal.store(message);
  }

  /**
   * A connection begins.
   * @param window how many messages of the application may be in flight
   * @param brokersWindow how many the broker takes in all
   */
  begin(window: number, brokersWindow: number, version: ProtocolVersion, sessionPresent: boolean): void {
    this.#isConnected = true;
    this.#window = Math.min(window, brokersWindow);
    this.#brokersWindow = brokersWindow;
    this.#version = version;
    this.#sinceTrial = 0;
    if (!sessionPresent) this.#cleared = undefined;
    else if (!this.#hasBegun && this.journal instanceof VolatileJournal) this.#cleared = new Set();
    this.#hasBegun = true;
    if (!sessionPresent) this.#forgetSession();
    const held = new Set<string>();
    for (const message of this.#released.values()) {
      // PUBRELs of a topic keep their order (section 4.6): a broker may deliver as late as at PUBREL.
      if (held.has(message.topic)) message.strikes = Math.max(message.strikes, APART_STRIKES);
      if (message.strikes >= APART_STRIKES) held.add(message.topic);
      else this.#release(message);
    }
  }

  /** The broker knows nothing of this session any more: all that it has not taken over is sent as new. */
  #forgetSession(): void {
    const { waiting, urgent, apart } = this.outbox;
    for (const list of [waiting, urgent, apart]) for (const one of list) one.dup = false;
    for (const message of [...this.#released.values()]) this.#lost(message);
  }

  /**
   * The broker confirmed that it has the message, and forgot the session before PUBCOMP. It may deliver at PUBLISH or as late as at PUBREL
   * (MQTT 5.0, section 4.3.3):
   * what became of the message cannot be known.
   */
  #lost(message: OutgoingMessage): void {
    this.#released.delete(message.messageId);
    this.#answered(message);
    if (this.resendsLost && this.#isNewAgain(message)) this.outbox.waiting.append(message);
    else this.#doubt(message, sessionLostError(message));
  }

  /** False when storage does not take it. */
  #isNewAgain(message: OutgoingMessage): boolean {
    try {
      if (message.recordNumber >= 0) this.journal.store(message);
    } catch {
      return false;
    }
    message.isReleased = false;
    message.dup = false;
    return true;
  }

  /** Whoever awaits the message is told; else it is kept, for somebody to look at. */
  #doubt(message: OutgoingMessage, error: HawserError): void {
    if (message.isAwaited) {
      this.#forget(message);
      return message.failed(error);
    }
    this.outbox.forget(message);
    this.journal.doubt(message, () => this.ids.release(message.messageId));
    this.#keep(message);
    this.owner.uncertain(message, error);
  }

  #keep(message: OutgoingMessage): void {
    for (const oldest of this.outbox.keep(message)) this.journal.remove(oldest, () => undefined);
  }

  /** What is not delivered yet, without the device's own upkeep. */
  list(): OutboxMessage[] {
    const { apart, denied, waiting, uncertain } = this.outbox;
    const of = (messages: Iterable<OutgoingMessage>, state: OutboxMessage["state"]): OutboxMessage[] =>
      [...messages].filter(({ isBeyondBounds }) => !isBeyondBounds).map((message) => view(message, state));
    return [
      ...of(uncertain, "uncertain"),
      ...of(this.#released.values(), "sent"),
      ...of(this.#sent, "sent"),
      ...of(apart, "apart"),
      ...of(denied, "waiting"),
      ...of(waiting, "waiting"),
    ];
  }

  /**
   * Gives up what the application does not want delivered any more, except for what the broker may have begun to deliver. @returns how many
   */
  discard(which: (message: OutboxMessage) => boolean): number {
    const { apart, denied, waiting, uncertain } = this.outbox;
    let count = 0;
    for (const [list, state] of [
      [apart, "apart"],
      [denied, "waiting"],
      [waiting, "waiting"],
    ] as const) {
      for (const message of list) {
        if ((message.qos === 2 && message.dup) || !which(view(message, state))) continue;
        this.giveUp(message, discardedError(message));
        count++;
      }
    }
    for (const message of uncertain) {
      if (!which(view(message, "uncertain"))) continue;
      this.outbox.unkeep(message);
      this.journal.remove(message, () => undefined);
      count++;
    }
    return count;
  }

  /** The connection ended: what is not acknowledged goes again, before all that was never sent. */
  end(): void {
    this.#isConnected = false;
    this.#window = 0;
    this.#brokersWindow = 0;
    this.#sentById.clear();
    for (const one of this.#sent) one.dup = true;
    const tried = this.#tried;
    this.#tried = undefined;
    if (tried?.list === this.#sent) {
      this.#sent.remove(tried);
      this.outbox.apart.prependOne(tried);
    }
    this.outbox.takeBack(this.#held);
    this.outbox.takeBack(this.#sent);
    // Before the others: they were sent before them.
    this.denials?.end();
    this.outbox.takeBack(this.outbox.denied);
  }

  /** Gives up the messages whose denial the connection has outlived. @returns whether others are still in doubt */
  refuseOutlived(): boolean {
    for (const message of this.denials?.outlived() ?? []) this.#refuse(message);
    return this.outbox.denied.size > 0;
  }

  /** The denial stands. */
  #refuse(message: OutgoingMessage): void {
    const error = this.denials?.release(message);
    if (error !== undefined) this.giveUp(message, error);
  }

  /** A message just taken by {@link next} waits for another connection. */
  hold(message: OutgoingMessage): void {
    this.#sentById.delete(message.messageId);
    message.list?.remove(message);
    this.#answered(message);
    this.#held.append(message);
  }

  retryHeld(): void {
    this.outbox.takeBack(this.#held);
  }

  /** What was sent on this connection and is not answered. */
  unanswered(): Retried[] {
    const released = [...this.#released.values()].filter((one) => one.strikes < APART_STRIKES || this.suspects.trial === one);
    return [...this.#sent, ...released];
  }

  /** All messages are for one topic: whether others get through cannot be seen. */
  get isLonely(): boolean {
    const { urgent, waiting, apart } = this.outbox;
    const topics = new Set([...this.#released.values()].map(({ topic }) => topic));
    for (const list of [urgent, waiting, apart, this.#sent, this.#held]) for (const one of list) topics.add(one.topic);
    return topics.size < 2;
  }

  /** The message to be sent now, if there is one and the broker takes more. The caller sends it, or gives it up. */
  next(clock: Clock): OutgoingMessage | undefined {
    return (
      this.#nextOf(this.outbox.urgent, this.#brokersWindow, clock) ??
      (this.#isHeld ? undefined : this.#nextOf(this.outbox.waiting, this.#window, clock))
    );
  }

  /** The application's messages wait while a suspect is tried, or until one can be. */
  get #isHeld(): boolean {
    const { isAny, trial } = this.suspects;
    return isAny && (trial !== undefined || (this.#sinceTrial >= MESSAGES_BETWEEN_TRIALS && this.#suspect() !== undefined));
  }

  #nextOf(list: MessageList, window: number, clock: Clock): OutgoingMessage | undefined {
    for (;;) {
      const message = list.first;
      if (message === undefined) return undefined;
      if (isExpired(message, clock)) this.giveUp(message, expiredError(message));
      else if (this.#isApart(message)) this.#setApart(message);
      else if (message.qos > 0 && this.inFlight >= window) return undefined;
      else return this.#take(message);
    }
  }

  /**
   * A message that may go out before the broker has told what it takes and what it remembers: a small one that asks nothing special of it,
   * was never sent, and has nothing before it.
   */
  early(clock: Clock): OutgoingMessage | undefined {
    const { urgent, waiting } = this.outbox;
    const message = waiting.first;
    if (message === undefined || urgent.size + this.#released.size > 0 || this.suspects.isAny || isExpired(message, clock))
      return undefined;
    const isPlain = message.qos === 1 && !message.retain && message.sizeBytes <= EARLY_BYTES;
    return isPlain && !message.dup ? this.#take(message) : undefined;
  }

  #take(message: OutgoingMessage): OutgoingMessage {
    message.list?.remove(message);
    if (message.qos === 0) return message;
    if (message.qos === 2 && this.#cleared?.has(message.messageId) === false) {
      this.#cleared.add(message.messageId);
      this.owner.acknowledge("pubrel", message.messageId, 0x92);
    }
    this.#sent.append(message);
    this.#sentById.set(message.messageId, message);
    this.#sinceTrial++;
    return message;
  }

  /** A suspect, or behind one on its topic: there the order has to be kept (section 4.6). */
  #isApart(message: OutgoingMessage): boolean {
    if (message.qos === 0 || !this.suspects.isAny) return false;
    if (message.strikes >= APART_STRIKES) return true;
    for (const one of this.outbox.apart) if (one.topic === message.topic) return true;
    for (const one of this.#released.values()) if (one.strikes >= APART_STRIKES && one.topic === message.topic) return message.qos === 2;
    return false;
  }

  #setApart(message: OutgoingMessage): void {
    message.list?.remove(message);
    this.outbox.apart.append(message);
  }

  /** Nothing that was sent waits for an answer. */
  get isQuiet(): boolean {
    if (this.#sent.size > 0) return false;
    for (const message of this.#released.values()) if (message.strikes < APART_STRIKES) return false;
    return true;
  }

  /** The suspect to be tried next: the one with the fewest strikes of those that are first of their topic. */
  suspect(clock: Clock): OutgoingMessage | undefined {
    for (const message of this.outbox.apart) if (isExpired(message, clock)) this.giveUp(message, expiredError(message));
    return this.#suspect();
  }

  #suspect(): OutgoingMessage | undefined {
    const firsts = new Map<string, OutgoingMessage>();
    for (const message of this.#released.values()) if (!firsts.has(message.topic)) firsts.set(message.topic, message);
    for (const message of this.outbox.firstsApart()) if (!firsts.has(message.topic)) firsts.set(message.topic, message);
    return fewestStrikes([...firsts.values()]);
  }

  /** Sends a suspect alone. @returns the message to be sent; undefined where PUBREL is all that is due */
  try(message: OutgoingMessage): OutgoingMessage | undefined {
    this.#sinceTrial = 0;
    if (message.isReleased) {
      this.#release(message);
      return undefined;
    }
    this.#tried = message;
    return this.#take(message);
  }

  /** The broker ends the connection for this message, even alone. */
  convict(message: OutgoingMessage): void {
    const { topic, sizeBytes } = message;
    const isTopic = this.suspects.convict(topic, sizeBytes);
    const error = hangsUpError(`the message to ${topic}`);
    if (this.#released.delete(message.messageId)) return this.#doubt(message, error);
    this.giveUp(message, error);
    for (const other of this.outbox.apart) {
      if (other.topic !== topic) continue;
      if (isTopic && other.sizeBytes >= sizeBytes) this.giveUp(other, hangsUpError(`messages to ${topic}`));
      else this.suspects.begin(other, topic);
    }
  }

  /** A QoS 0 message taken by {@link next} was handed to the link. */
  handedOver(message: OutgoingMessage): void {
    this.outbox.forget(message);
    message.delivered(0, undefined);
  }

  /** A message that waits, or was just taken by {@link next}, will not be delivered. */
  giveUp(message: OutgoingMessage, error: HawserError): void {
    if (message.list === this.#sent) this.#sentById.delete(message.messageId);
    message.list?.remove(message);
    this.denials?.release(message);
    this.#released.delete(message.messageId);
    this.#answered(message);
    this.#drop(message, error);
  }

  /** PUBACK, PUBREC or PUBCOMP. @throws PacketError where it cannot be the answer to what was sent */
  acknowledged(packet: AckPacket): void {
    if (packet.cmd === "puback") this.#puback(packet);
    else if (packet.cmd === "pubrec") this.#pubrec(packet);
    else this.#pubcomp(packet);
  }

  #puback(packet: AckPacket): void {
    const message = this.#sentById.get(packet.messageId);
    // Brokers and bridges answer twice, or late: nothing follows from it.
    if (message === undefined) return this.owner.unasked(packet.cmd, packet.messageId);
    // RabbitMQ answers QoS 2 so, in 3.1.1: it has lowered the level and taken the message over.
    if (message.qos === 2 && this.#version === 5) throw protocolError(`PUBACK for packet identifier ${packet.messageId}, which is QoS 2`);
    this.#removeSent(message);
    this.#complete(message, packet.reasonCode, packet.properties);
  }

  #pubrec(packet: AckPacket): void {
    const { messageId } = packet;
    const message = this.#sentById.get(messageId);
    if (message === undefined) {
      // A refusal is the end of that exchange: a PUBREL would begin another (MQTT 5.0, section 4.3.3).
      if (packet.reasonCode >= 0x80) return this.owner.unasked(packet.cmd, messageId);
      const released = this.#released.get(messageId);
      if (released !== undefined) return this.#release(released);
      // After a restart of one side this is no error (MQTT 5.0, section 4.3.3): 0x92, packet identifier not found.
      return this.owner.acknowledge("pubrel", messageId, 0x92);
    }
    if (message.qos !== 2) throw protocolError(`PUBREC for packet identifier ${messageId}, which is QoS 1`);
    this.#removeSent(message);
    if (packet.reasonCode >= 0x80) return this.#complete(message, packet.reasonCode, packet.properties);
    this.#released.set(messageId, message);
    this.journal.release(message, () => {
      message.isReleased = true;
      this.#release(message);
    });
  }

  /** PUBREL, once the record says so: else a reboot could send the message again after the broker has forgotten its identifier. */
  #release(message: OutgoingMessage): void {
    const isDue = this.#isConnected && message.isReleased && this.#released.get(message.messageId) === message;
    if (isDue) this.owner.acknowledge("pubrel", message.messageId, 0);
  }

  #pubcomp(packet: AckPacket): void {
    const message = this.#released.get(packet.messageId);
    // It may answer the PUBREL for an identifier that was not known here.
    if (message === undefined) return this.owner.unasked(packet.cmd, packet.messageId);
    this.#complete(message, packet.reasonCode === 0x92 ? 0 : packet.reasonCode, packet.properties);
  }

  #removeSent(message: OutgoingMessage): void {
    this.#sent.remove(message);
    this.#sentById.delete(message.messageId);
    this.suspects.acquit(message.topic, message);
    this.#answered(message);
  }

  /** The broker answered, or no answer is wanted any more: what waited behind it on its topic goes with the others again. */
  #answered(message: OutgoingMessage): void {
    this.suspects.answered(message);
    // A suspect whose PUBREL alone was due is tried without being sent.
    if (this.#tried !== message && !message.isReleased) return;
    if (this.#tried === message) this.#tried = undefined;
    if (this.outbox.apart.size === 0) return;
    const followers = new MessageList();
    for (const one of this.outbox.apart) {
      if (one.topic !== message.topic) continue;
      if (one.strikes >= APART_STRIKES) break;
      this.outbox.apart.remove(one);
      followers.append(one);
    }
    this.outbox.takeBack(followers);
  }

  #complete(message: OutgoingMessage, reasonCode: number, properties: AckPacket["properties"]): void {
    this.#released.delete(message.messageId);
    this.#answered(message);
    if (reasonCode >= 0x80) return this.#denied(message, new RefusedError(`the message to ${message.topic}`, reasonCode, properties));
    for (const one of this.denials?.accepted(message.topic) ?? []) this.#refuse(one);
    this.#forget(message);
    message.delivered(reasonCode, properties);
    this.owner.delivered(message, reasonCode);
  }

  #denied(message: OutgoingMessage, error: RefusedError): void {
    if (this.denials?.take(message, error) === true) this.owner.denied();
    else this.#drop(message, error);
  }

  #drop(message: OutgoingMessage, error: HawserError): void {
    this.#forget(message);
    message.failed(error);
    this.owner.givenUp(message, error);
  }

  #forget(message: OutgoingMessage): void {
    this.outbox.forget(message);
    if (message.qos === 0) return;
    // Not before its record is gone: after a reboot two messages would have one identifier.
    this.journal.remove(message, () => this.ids.release(message.messageId));
  }
}
