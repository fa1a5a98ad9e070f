/** Messages to one client on one connection: its window, retransmission after a reconnect, and what its acknowledgements do. */
import type { Ack, Connect, ToClient } from "../wire/wire-packets.js";
import type { Properties } from "../wire/wire-properties.js";
import { expired } from "./message.js";
import type { Outgoing, ServerSession } from "./server-session.js";
import type { VirtualBroker } from "./virtual-broker.js";

/** Unfinished messages to a 3.1.1 client, which cannot name a limit. */
const WINDOW_311 = 20;

export class Deliveries {
  readonly #window: number;
  readonly #maximumPacketBytes: number;
  readonly #aliasMaximum: number;
  readonly #aliases = new Map<string, number>();
  /** Identifiers sent, or sent again, on this connection. */
  readonly #sent = new Set<number>();

  constructor(
    private readonly broker: VirtualBroker,
    private readonly session: ServerSession,
    private readonly connect: Connect,
    private readonly send: (packet: ToClient) => void,
    private readonly misbehaved: (what: string) => void,
  ) {
    const { receiveMaximum, maximumPacketSize, topicAliasMaximum } = connect.properties;
    this.#window = connect.version === 5 ? (receiveMaximum ?? 65_535) : WINDOW_311;
    this.#maximumPacketBytes = maximumPacketSize ?? Infinity;
    this.#aliasMaximum = topicAliasMaximum ?? 0;
  }

  /** Sends again what the last connection left unfinished (section 4.4), then what is new. */
  resume(): void {
    for (const [id, outgoing] of this.session.inFlight) {
      if (this.#sent.has(id)) continue;
      if (this.#sent.size >= this.#window) return;
      this.#sent.add(id);
      if (outgoing.phase === "publish") this.#publish(id, outgoing, true);
      else this.send({ type: "pubrel", id, reasonCode: 0, properties: {} });
    }
    this.pump();
  }

  pump(): void {
    const { session, broker } = this;
    while (session.queue.length > 0) {
      const next = session.queue[0];
      if (!next || (next.message.qos > 0 && session.inFlight.size >= this.#window)) return;
      session.queue.shift();
      if (expired(next.message, broker.time.nowMs) || this.#tooLarge(next)) {
        broker.observer.gaveUp(session.clientId, next.message);
      } else if (next.message.qos === 0) {
        this.#publish(0, next, false);
      } else {
        const id = session.nextId();
        session.inFlight.set(id, next);
        this.#sent.add(id);
        this.#publish(id, next, false);
      }
    }
  }

  acknowledged(packet: Ack): void {
    const outgoing = this.session.inFlight.get(packet.id);
    const wanted = outgoing?.phase === "pubrel" ? "pubcomp" : outgoing?.message.qos === 1 ? "puback" : "pubrec";
    if (!outgoing || !this.#sent.has(packet.id) || packet.type !== wanted) {
      return this.misbehaved(`${packet.type} for packet identifier ${packet.id}, which waits for ${outgoing ? wanted : "nothing"}`);
    }
    if (packet.type !== "pubcomp") this.broker.observer.taken(this.session.clientId, outgoing.message);
    if (packet.type === "pubrec" && packet.reasonCode < 0x80) {
      outgoing.phase = "pubrel";
      this.send({ type: "pubrel", id: packet.id, reasonCode: 0, properties: {} });
      return;
    }
    this.session.inFlight.delete(packet.id);
    this.#sent.delete(packet.id);
    // What did not fit the window at the resume follows as room comes.
    this.resume();
  }

  #publish(id: number, outgoing: Outgoing, dup: boolean): void {
    const { message, subscriptionIdentifiers } = outgoing;
    const { topic, properties } = this.#aliased(message.topic);
    if (this.connect.version === 5) {
      Object.assign(properties, message.properties);
      if (subscriptionIdentifiers.length > 0) properties.subscriptionIdentifiers = subscriptionIdentifiers;
      const expirySeconds = message.properties.messageExpiryInterval;
      if (expirySeconds !== undefined)
        properties.messageExpiryInterval = Math.max(1, expirySeconds - Math.floor((this.broker.time.nowMs - message.atMs) / 1_000));
    }
    this.send({ type: "publish", topic, payload: message.payload, qos: message.qos, retain: false, dup, id, properties });
  }

  /** Uses a topic alias wherever the client allows them: the first use names the topic, later ones leave it out. */
  #aliased(topic: string): { topic: string; properties: Properties } {
    if (this.#aliasMaximum === 0) return { topic, properties: {} };
    const known = this.#aliases.get(topic);
    if (known !== undefined) return { topic: "", properties: { topicAlias: known } };
    if (this.#aliases.size >= this.#aliasMaximum) return { topic, properties: {} };
    const topicAlias = this.#aliases.size + 1;
    this.#aliases.set(topic, topicAlias);
    return { topic, properties: { topicAlias } };
  }

  #tooLarge(outgoing: Outgoing): boolean {
    const { topic, payload } = outgoing.message;
    return topic.length + payload.length + 64 > this.#maximumPacketBytes;
  }
}
