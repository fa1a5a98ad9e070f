/** A connection of somebody who has stolen a credential. He is next to the broker: no path of the world is in his way. */
import { FrameReader } from "../../../sdk/mqtt/codec/frame-reader.js";
import { encode } from "../../../sdk/mqtt/codec/packet-encoder.js";
import type { InboundPacket, OutboundPacket } from "../../../sdk/mqtt/codec/packet-types.js";
import type { Listener, ServerHandlers, ServerSocket } from "../network/network.js";
import type { ShownCredential } from "../network/virtual-tls.js";

export interface ThiefSessionOptions {
  /** Nobody else's. */
  readonly clientId: string;
  readonly filters: readonly string[];
  readonly onMessage: (topic: string, payload: Uint8Array) => void;
}

export class ThiefSession implements ServerSocket {
  isOpen = true;
  /** The broker has accepted it. */
  isIn = false;
  readonly #reader: FrameReader;
  readonly #handlers: ServerHandlers;

  constructor(
    listener: Listener,
    shown: ShownCredential,
    private readonly options: ThiefSessionOptions,
  ) {
    const packet = (packet: InboundPacket): void => {
      if (packet.cmd === "publish") options.onMessage(packet.topic, packet.payload);
      if (packet.cmd === "connack" && packet.reasonCode === 0) this.#accepted();
    };
    this.#reader = new FrameReader(4, 1_000_000, { packet });
    this.#handlers = listener.accept(this, shown);
    this.send({ cmd: "connect", protocolVersion: 4, clientId: options.clientId, clean: true, keepalive: 0 });
  }

  get clientId(): string {
    return this.options.clientId;
  }

  #accepted(): void {
    this.isIn = true;
    this.send({ cmd: "subscribe", messageId: 1, subscriptions: this.options.filters.map((topic) => ({ topic, qos: 0 as const })) });
  }

  send(packet: OutboundPacket): void {
    if (this.isOpen) this.#handlers.data(encode(packet, 4));
  }

  publish(topic: string, payload: Uint8Array): void {
    this.send({ cmd: "publish", topic, payload, qos: 0, retain: false, dup: false, messageId: 0 });
  }

  write(bytes: Uint8Array): void {
    this.#reader.feed(bytes);
  }

  close(): void {
    this.isOpen = false;
  }

  reset(): void {
    this.isOpen = false;
  }
}
