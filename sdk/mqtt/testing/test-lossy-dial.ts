/** For tests of 3.1.1 against real brokers: links that lose packets of some kinds before they break, as a bad network does, and remember what was sent. */
import mqttPacket from "mqtt-packet";
import type { Link, LinkHandlers } from "../../platform.js";
import type { LibraryPacket, PacketLibrary } from "./scripted-broker.js";
import type { Dial } from "./test-clients.js";

const library = mqttPacket as unknown as PacketLibrary;

export class LossyDial {
  /** Kinds of packets that get lost on their way to the client and to the broker. */
  toClient: readonly string[] = [];
  toBroker: readonly string[] = [];
  /** All that the client has sent, lost or not, over all links. */
  readonly sent: LibraryPacket[] = [];
  #onSent: () => void = () => undefined;

  constructor(private readonly inner: Dial) {}

  readonly dial: Dial = (handlers: LinkHandlers): Link => {
    const incoming = reader((packet, bytes) => !this.toClient.includes(packet.cmd) && handlers.data(bytes));
    const link = this.inner({ ...handlers, data: incoming });
    const outgoing = reader((packet, bytes) => {
      this.sent.push(packet);
      if (!this.toBroker.includes(packet.cmd)) link.write(bytes);
      this.#onSent();
    });
    return { close: () => link.close(), write: (bytes) => (outgoing(bytes), true) };
  };

  /** What the client has sent of one kind; resolves when there are so many. */
  async sentOf(cmd: string, howMany: number): Promise<LibraryPacket[]> {
    for (;;) {
      const found = this.sent.filter((packet) => packet.cmd === cmd);
      if (found.length >= howMany) return found;
      await new Promise<void>((resolve) => (this.#onSent = resolve));
    }
  }
}

/** Takes bytes as they come and hands on packet by packet. */
function reader(onPacket: (packet: LibraryPacket, bytes: Uint8Array) => void): (bytes: Uint8Array) => void {
  const parser = library.parser({ protocolVersion: 4 });
  parser.on("packet", (packet: never) => onPacket(packet, library.generate(packet, { protocolVersion: 4 })));
  parser.on("error", (error: never) => {
    throw error;
  });
  return (bytes) => void parser.parse(Buffer.from(bytes));
}
