/** Messages from one client on one connection: duplicates, windows and aliases, and everything a client may do wrong with them. */
import type { Publish, Version } from "../wire/wire-packets.js";
import { Reason, type BrokerLimits } from "./broker-settings.js";
import type { Message } from "./message.js";
import type { ServerSession } from "./server-session.js";

export type Receipt = "new" | "duplicate" | "misbehaved";

export class Receipts {
  /** Packet identifiers on this connection that wait for PUBACK, or for PUBREL. */
  readonly #open = new Set<number>();
  readonly #aliases = new Map<number, string>();

  constructor(
    private readonly session: ServerSession,
    private readonly limits: BrokerLimits,
    private readonly version: Version,
    private readonly misbehaved: (what: string, reasonCode: number) => void,
  ) {}

  /** The topic a PUBLISH means; undefined when it means none. */
  resolveAlias(packet: Publish): string | undefined {
    const alias = packet.properties.topicAlias;
    if (alias === undefined) return packet.topic;
    if (alias < 1 || alias > this.limits.topicAliasMaximum) {
      this.misbehaved(`topic alias ${alias}`, 0x94);
      return undefined;
    }
    if (packet.topic !== "") this.#aliases.set(alias, packet.topic);
    const topic = this.#aliases.get(alias);
    if (topic === undefined) this.misbehaved(`topic alias ${alias} that was never set`, Reason.protocolError);
    return topic;
  }

  receive(packet: Publish, message: Message): Receipt {
    if (packet.qos > this.limits.maximumQos)
      return this.#fault(`QoS ${packet.qos} where ${this.limits.maximumQos} is the highest`, Reason.qosNotSupported);
    if (packet.qos === 0) return "new";
    if (this.#open.has(packet.id))
      return this.#fault(`packet identifier ${packet.id} sent again on one connection, or in use already`, Reason.protocolError);
    this.#open.add(packet.id);
    if (this.version === 5 && this.#open.size > this.limits.receiveMaximum) {
      return this.#fault(
        `${this.#open.size} messages where ${this.limits.receiveMaximum} may be unfinished`,
        Reason.receiveMaximumExceeded,
      );
    }
    if (packet.qos === 1) return "new";
    if (this.session.received.has(packet.id)) {
      // Without DUP it is a new message under an identifier that was not free yet.
      return packet.dup
        ? "duplicate"
        : this.#fault(`packet identifier ${packet.id} for a new message before its PUBREL`, Reason.protocolError);
    }
    this.session.received.set(packet.id, message);
    return "new";
  }

  /** The message was answered with a reason that ends its exchange. */
  refused(packet: Publish): void {
    if (this.version === 5) this.session.received.delete(packet.id);
    else if (packet.qos === 2) this.session.received.set(packet.id, undefined);
  }

  /** PUBACK or PUBREC went out. */
  answered(packet: Publish): void {
    if (packet.qos === 1 || !this.session.received.has(packet.id)) this.#open.delete(packet.id);
  }

  /** PUBREL came; false when its identifier is not known. @param passOn gets the message, unless it was refused */
  release(id: number, passOn: (message: Message) => void): boolean {
    this.#open.delete(id);
    const message = this.session.received.get(id);
    const isKnown = this.session.received.delete(id);
    if (message) passOn(message);
    return isKnown;
  }

  #fault(what: string, reasonCode: number): "misbehaved" {
    this.misbehaved(what, reasonCode);
    return "misbehaved";
  }
}
