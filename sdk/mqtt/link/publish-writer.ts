/**
 * Writes a waiting message as the connection at hand wants it: with an alias, with what is left of its expiry, within the broker's limits.
 */
import type { RefusalCode } from "../../error-codes.js";
import { HawserError } from "../../errors.js";
import type { Clock } from "../../platform.js";
import type { ByteWriter } from "../codec/byte-writer.js";
import type { OutgoingMessage } from "../session/outgoing-message.js";
import type { Properties, ProtocolVersion } from "../codec/packet-types.js";
import { publishSize, writePublish, type PublishFields } from "../codec/publish-codec.js";
import { NO_ALIAS, OutgoingAliases } from "./topic-aliases.js";

const NO_LIMIT = 0;

export class PublishWriter {
  readonly #aliases: OutgoingAliases | undefined;
  readonly #maximumPacketSizeBytes: number;
  readonly #maximumQoS: number;
  readonly #retainAvailable: boolean;

  constructor(
    private readonly version: ProtocolVersion,
    server: Properties,
    outgoingTopicAliases: number,
    private readonly clock: Clock,
  ) {
    const aliases = version === 5 ? Math.min(server.topicAliasMaximum ?? 0, outgoingTopicAliases) : 0;
    if (aliases > 0) this.#aliases = new OutgoingAliases(aliases);
    this.#maximumPacketSizeBytes = server.maximumPacketSize ?? NO_LIMIT;
    this.#maximumQoS = server.maximumQoS ?? 2;
    this.#retainAvailable = server.retainAvailable ?? true;
  }

  /**
   * Writes PUBLISH.
   * @throws HawserError where the broker does not take such a message: nothing is written then
   */
  write(writer: ByteWriter, message: OutgoingMessage): void {
    if (message.qos > this.#maximumQoS) throw unsupported("QOS_NOT_SUPPORTED", `QoS ${message.qos}`, message);
    if (message.retain && !this.#retainAvailable) throw unsupported("RETAIN_NOT_SUPPORTED", "retained messages", message);
    if (this.#maximumPacketSizeBytes !== NO_LIMIT) this.#checkSize(writer, message);
    const isPlain = this.version === 4 || (this.#aliases === undefined && message.expiresAtMs === undefined);
    writePublish(writer, isPlain ? message : this.#fields(message), this.version);
  }

  #checkSize(writer: ByteWriter, message: OutgoingMessage): void {
    // An alias would make it smaller, but it has to be introduced with the topic, and five bytes more.
    const size = publishSize(message, writer.textSize(message.topic), this.version) + (this.#aliases === undefined ? 0 : 5);
    if (size <= this.#maximumPacketSizeBytes) return;
    throw unsupported("PACKET_TOO_LARGE", `packets of ${size} bytes (at most ${this.#maximumPacketSizeBytes})`, message);
  }

  #fields(message: OutgoingMessage): PublishFields {
    const { topic, payload, qos, retain, dup, messageId, expiresAtMs } = message;
    // What may have come before has to say the same again (section 3.3.1.1), and with the connection its aliases are gone.
    const { alias, isNew } = (dup ? undefined : this.#aliases?.of(topic)) ?? NO_ALIAS;
    const properties = {
      ...message.properties,
      // What waited here is not to be waited for again at the broker; at least a second, since it is sent now.
      ...(expiresAtMs !== undefined && { messageExpiryInterval: Math.max(1, Math.ceil((expiresAtMs - this.clock.monotonicMs()) / 1000)) }),
      ...(alias > 0 && { topicAlias: alias }),
    };
    return { topic: alias > 0 && !isNew ? "" : topic, payload, qos, retain, dup, messageId, properties };
  }
}

function unsupported(code: RefusalCode | "PACKET_TOO_LARGE", what: string, message: OutgoingMessage): HawserError {
  return new HawserError(
    code,
    `the broker does not accept ${what}: cannot send a message to ${message.topic}`,
    "Publish with other options, or change the broker's limits.",
  );
}
