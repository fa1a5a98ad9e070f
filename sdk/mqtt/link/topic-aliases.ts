/** Topic aliases (MQTT 5.0, section 3.3.2.3.4): two bytes for a topic that both sides know already. They live as long as a connection. */
import { PacketError, protocolError } from "../codec/packet-error.js";
import type { PublishPacket } from "../codec/packet-types.js";

/** The aliases the broker gives. */
export class IncomingAliases {
  #topics: string[] | undefined;

  /** @param maximum what was told to the broker; 0: none may come */
  constructor(private readonly maximum: number) {}

  /**
   * Puts in the topic that an alias stands for, and remembers a new one.
   * @throws PacketError `TOPIC_ALIAS_INVALID`, `PROTOCOL_ERROR`
   */
  resolve(packet: PublishPacket): void {
    const alias = packet.properties?.topicAlias;
    if (alias === undefined) return;
    if (alias === 0 || alias > this.maximum) {
      throw new PacketError("TOPIC_ALIAS_INVALID", 0x94, `the broker used topic alias ${alias}; the maximum is ${this.maximum}`);
    }
    if (packet.topic !== "") {
      (this.#topics ??= [])[alias] = packet.topic;
      return;
    }
    const topic = this.#topics?.[alias];
    if (topic === undefined) throw protocolError(`topic alias ${alias} stands for nothing yet`);
    packet.topic = topic;
  }
}

/**
 * The aliases this client gives: to the first topics of a connection, as many as the broker takes. A table that changed its mind would cost
 * more than it saves.
 */
export class OutgoingAliases {
  readonly #aliases = new Map<string, number>();

  constructor(private readonly maximum: number) {}

  /** The alias of a topic, 0 where it has none; `isNew` when the broker has to be told the topic along with it. */
  of(topic: string): { alias: number; isNew: boolean } {
    const known = this.#aliases.get(topic);
    if (known !== undefined) return { alias: known, isNew: false };
    if (this.#aliases.size >= this.maximum) return NO_ALIAS;
    const alias = this.#aliases.size + 1;
    this.#aliases.set(topic, alias);
    return { alias, isNew: true };
  }
}

export const NO_ALIAS = Object.freeze({ alias: 0, isNew: false });
