/**
 * For tests against real brokers: links that lose packets of some kinds before they break, as a bad network does, and remember what was
 * sent.
 */
import mqttPacket from "mqtt-packet";
import type { Link, LinkHandlers } from "../../../sdk/platform.js";
import type { ProtocolVersion } from "../../../sdk/mqtt/codec/packet-types.js";
import type { LibraryPacket, PacketLibrary } from "./scripted-broker.js";
import type { Dial } from "./test-clients.js";

const library = mqttPacket as unknown as PacketLibrary;

export class LossyDial {
  /** Kinds of packets that get lost on their way to the client and to the broker. */
  toClient: readonly string[] = [];
  toBroker: readonly string[] = [];
  /** All that the client has sent, lost or not, over all links. */
  readonly sent: LibraryPacket[] = [];
  readonly #lost: string[] = [];
  #onLost: () => void = () => undefined;
  #link: Link | undefined;

  constructor(
    private readonly inner: Dial,
    private readonly version: ProtocolVersion,
  ) {}

  readonly dial: Dial = (handlers: LinkHandlers): Link => {
    const link = this.inner({
      ...handlers,
      data: this.#reader((packet) => this.#pass(packet, this.toClient, (bytes) => handlers.data(bytes))),
    });
    const outgoing = this.#reader((packet) => {
      this.sent.push(packet);
      this.#pass(packet, this.toBroker, (bytes) => link.write(bytes));
    });
    this.#link = link;
    return { close: () => link.close(), write: (bytes) => (outgoing(bytes), true) };
  };

  /** Sends what the client would not. */
  inject(packet: LibraryPacket): void {
    this.#link?.write(library.generate(packet, { protocolVersion: this.version }));
  }

  /** What the client has sent of one kind. */
  sentOf(cmd: string): LibraryPacket[] {
    return this.sent.filter((packet) => packet.cmd === cmd);
  }

  /** Settles when so many packets of a kind were lost. */
  async lostOf(cmd: string, howMany: number): Promise<void> {
    while (this.#lost.filter((lost) => lost === cmd).length < howMany) await new Promise<void>((resolve) => (this.#onLost = resolve));
  }

  #pass(packet: LibraryPacket, lost: readonly string[], on: (bytes: Uint8Array) => void): void {
    if (!lost.includes(packet.cmd)) return on(library.generate(packet, { protocolVersion: this.version }));
    this.#lost.push(packet.cmd);
    this.#onLost();
  }

  /** Takes bytes as they come and hands on packet by packet. */
  #reader(onPacket: (packet: LibraryPacket) => void): (bytes: Uint8Array) => void {
    const parser = library.parser({ protocolVersion: this.version });
    parser.on("packet", onPacket as (packet: never) => void);
    parser.on("error", (error: never) => {
      throw error;
    });
    return (bytes) => void parser.parse(Buffer.from(bytes));
  }
}
