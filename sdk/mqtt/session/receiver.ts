/**
 * The receiving half of a session (MQTT 5.0, section 4.3): what is delivered, what is a repetition, and when which acknowledgement is due.
 * Plain state: no link, no clock.
 *
 * A QoS 2 message counts as received when the application took it: that is when its identifier is stored and PUBREC goes out. A power cut
 * while the application works on a message therefore brings it again; one after that does not.
 */
import type { Journal } from "./session-journal.js";
import { LazyMap } from "./lazy-map.js";
import { PacketError, protocolError } from "../codec/packet-error.js";
import type { AckPacket, ProtocolVersion, PublishPacket } from "../codec/packet-types.js";
import { InboundMessage } from "./message-stream.js";

/** What a receiver asks of its session. */
export interface ReceiverOwner {
  deliver(message: InboundMessage): void;
  acknowledge(cmd: AckPacket["cmd"], messageId: number, reasonCode: number): void;
  /** The application has taken enough after there was too much. @param left how many messages were left with the broker */
  roomAgain(left: number): void;
}

/** "An implementation or administrative imposed limit has been exceeded" (MQTT 5.0, table 3-4). */
const QUOTA_EXCEEDED = 0x97;

/** Messages of one level on this connection whose acknowledgement is due, in the order they came (section 4.6). */
type Turn = InboundMessage[];

export class Receiver {
  readonly #turns: readonly [Turn, Turn] = [[], []];
  /** Messages with the application: the broker sends them again on the next connection of the session. */
  readonly #open = new LazyMap<number, InboundMessage>();
  /** QoS 2 identifiers whose message the application took; PUBREL is to come. */
  readonly #received: LazyMap<number, true>;
  /** Identifiers that count against the receive maximum on this connection. */
  readonly #outstanding = new LazyMap<number, true>();
  #limit = 0;
  /** Of messages that the application has not taken, over all connections. */
  #heldBytes = 0;
  #budgetBytes = Infinity;
  #wasFull = false;
  /** What comes now is left with the broker, unacknowledged, which sends it again on the next connection; so many were. */
  #isSkimming = false;
  #left = 0;
  #version: ProtocolVersion = 4;
  /** Connections begun and ended; what storage finishes late must not speak on a later one. */
  #epoch = 0;

  constructor(
    private readonly journal: Journal,
    private readonly owner: ReceiverOwner,
  ) {
    this.#received = journal.received;
  }

  /** A connection begins. @param limit how many messages the broker may send without an acknowledgement */
  begin(limit: number, version: ProtocolVersion, sessionPresent: boolean, budgetBytes: number): void {
    this.#limit = limit;
    this.#budgetBytes = budgetBytes;
    this.#isSkimming = false;
    this.#left = 0;
    this.#version = version;
    if (sessionPresent) return;
    this.#open.clear();
    if (this.#received.size === 0) return;
    this.#received.clear();
    this.journal.saveReceived(() => undefined);
  }

  /** The application has so much to take that no more should be read. */
  get isFull(): boolean {
    if (this.#isSkimming || this.#heldBytes < this.#budgetBytes) return false;
    this.#wasFull = true;
    return true;
  }

  get isSkimming(): boolean {
    return this.#isSkimming;
  }

  /**
   * Reading goes on for what else the broker has to say: messages of QoS 1 and 2 are left with it from here on, so that their order is
   * kept.
   */
  skim(): void {
    this.#isSkimming = true;
  }

  end(): void {
    this.#epoch++;
    this.#outstanding.clear();
    for (const turn of this.#turns) turn.length = 0;
  }

  /** @throws PacketError `RECEIVE_MAXIMUM_EXCEEDED`, `PROTOCOL_ERROR` */
  publish(packet: PublishPacket): void {
    const { qos, messageId, dup } = packet;
    if (qos === 0) return this.owner.deliver(this.#message(packet));
    this.#count(messageId);
    if (qos === 2 && this.#received.has(messageId)) return this.#pubrec(messageId);
    const open = this.#open.get(messageId);
    // At QoS 2 the identifier alone says that it is the same message (section 4.3.3); aedes leaves DUP out. At QoS 1 it may be used anew,
    // and RabbitMQ and LavinMQ give what they repeat new identifiers: only the content tells.
    if (
      open !== undefined &&
      open.topic === packet.topic &&
      open.qos === qos &&
      (qos === 2 || (dup && sameBytes(open.payload, packet.payload)))
    )
      return this.#again(open);
    // Else a broker could send without end and never come to the limit, which counts identifiers.
    if (open !== undefined && this.#turn(open).includes(open)) throw protocolError(`packet identifier ${messageId} for two messages`);
    if (this.#isSkimming) {
      this.#left++;
      return;
    }
    const message = this.#message(packet);
    this.#heldBytes += message.heldBytes;
    this.#open.set(messageId, message);
    this.#turn(message).push(message);
    this.owner.deliver(message);
  }

  /**
   * A message that this side cannot take: acknowledged in its turn, with a reason where there is room for one (5.0).
   * @returns false where it is known already
   * @throws PacketError as {@link publish}
   */
  refuse(packet: PublishPacket): boolean {
    const { qos, messageId } = packet;
    if (qos === 0) return true;
    this.#count(messageId);
    if (qos === 2 && this.#received.has(messageId)) {
      this.#pubrec(messageId);
      return false;
    }
    const message = this.#message(packet);
    message.refusal = this.#version === 5 ? QUOTA_EXCEEDED : 0;
    this.#heldBytes += message.heldBytes;
    this.#open.set(messageId, message);
    this.#turn(message).push(message);
    message.ack();
    return true;
  }

  pubrel(messageId: number): void {
    const epoch = this.#epoch;
    const finish = (): void => {
      if (epoch !== this.#epoch) return;
      this.#outstanding.delete(messageId);
      // After a restart of one side an unknown identifier is no error (MQTT 5.0, section 4.3.3): 0x92.
      this.owner.acknowledge("pubcomp", messageId, known ? 0 : 0x92);
    };
    const known = this.#received.delete(messageId);
    if (known) this.journal.saveReceived(finish);
    else finish();
  }

  /**
   * Nobody has this message, and its connection ends: it is left to the broker, which repeats it as good as new. While the connection is
   * there, what stands behind it and was taken is acknowledged.
   */
  leave(message: InboundMessage, isConnected: boolean): void {
    this.#free(message);
    if (this.#open.get(message.messageId) === message) this.#open.delete(message.messageId);
    const turn = this.#turn(message);
    const at = turn.indexOf(message);
    if (at < 0) return;
    turn.splice(at, 1);
    if (isConnected) this.#settleTaken(turn);
  }

  /** The application took a message: its acknowledgement goes out when all before it have gone. */
  taken(message: InboundMessage): void {
    if (message.qos === 0) return;
    this.#free(message);
    this.#acknowledge(message);
  }

  #acknowledge(message: InboundMessage): void {
    const turn = this.#turn(message);
    if (!turn.includes(message)) return this.#takenLate(message);
    this.#settleTaken(turn);
  }

  #settleTaken(turn: Turn): void {
    while (turn[0]?.isTaken === true) this.#settle(turn.shift() as InboundMessage);
  }

  #free(message: InboundMessage): void {
    this.#heldBytes -= message.heldBytes;
    if (!this.#wasFull || this.#heldBytes > this.#budgetBytes / 2) return;
    this.#wasFull = false;
    // Nothing came meanwhile: what comes from now on has room.
    if (this.#left === 0) this.#isSkimming = false;
    this.owner.roomAgain(this.#left);
  }

  #settle(message: InboundMessage): void {
    const { messageId } = message;
    this.#open.delete(messageId);
    if (message.qos === 1 || message.refusal > 0) {
      this.#outstanding.delete(messageId);
      return this.owner.acknowledge(message.qos === 1 ? "puback" : "pubrec", messageId, message.refusal);
    }
    this.#received.set(messageId, true);
    this.#pubrec(messageId);
    // Now, not with the turn's other writes: the application may take the next message before those.
    this.journal.commit();
  }

  /** PUBREC, once it is stored that the message was received. */
  #pubrec(messageId: number): void {
    const epoch = this.#epoch;
    this.journal.saveReceived(() => {
      if (epoch === this.#epoch) this.owner.acknowledge("pubrec", messageId, 0);
    });
  }

  /** Its connection is gone: remembered, so that the broker's repetition is not delivered again. */
  #takenLate(message: InboundMessage): void {
    if (message.qos !== 2 || this.#open.get(message.messageId) !== message) return;
    this.#open.delete(message.messageId);
    this.#received.set(message.messageId, true);
    this.journal.saveReceived(() => undefined);
    this.journal.commit();
  }

  /** The broker repeats, on a new connection, what the application still has or has taken meanwhile. */
  #again(message: InboundMessage): void {
    const turn = this.#turn(message);
    if (turn.includes(message)) return;
    turn.push(message);
    if (message.isTaken) this.#acknowledge(message);
  }

  #count(messageId: number): void {
    this.#outstanding.set(messageId, true);
    if (this.#outstanding.size <= this.#limit) return;
    throw new PacketError(
      "RECEIVE_MAXIMUM_EXCEEDED",
      0x93,
      `the broker sent more than ${this.#limit} messages without waiting for acknowledgements`,
    );
  }

  #turn(message: InboundMessage): Turn {
    return this.#turns[message.qos - 1] as Turn;
  }

  #message(packet: PublishPacket): InboundMessage {
    return new InboundMessage(
      packet.topic,
      packet.payload,
      packet.qos,
      packet.retain,
      packet.dup,
      packet.messageId,
      packet.properties,
      this,
    );
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
