/** For tests: a broker that does what the test says and remembers what it was told, read and written with mqtt-packet. */
import type { Link, LinkHandlers } from "../../../sdk/platform.js";
import { settle, type ManualTime } from "./manual-time.js";
import { Wire } from "./wire.js";

/** mqtt-packet, as far as it is used here; tests import it and hand it in. */
export interface PacketLibrary {
  generate(packet: object, options?: object): Uint8Array;
  parser(options?: object): { on(event: string, listener: (value: never) => void): unknown; parse(bytes: Uint8Array): number };
}

export type LibraryPacket = Record<string, unknown> & { cmd: string; messageId?: number };

export class ScriptedBroker {
  /** What came on the wire at hand, and on all wires. */
  received: LibraryPacket[] = [];
  wire: Wire | undefined;
  readonly wires: Wire[] = [];
  /** The next handshake resumes a session. */
  resumes = false;
  #parser: ReturnType<PacketLibrary["parser"]>;

  constructor(
    private readonly library: PacketLibrary,
    readonly time: ManualTime,
    readonly version: 4 | 5,
  ) {
    this.#parser = library.parser({ protocolVersion: version });
  }

  readonly dial = (handlers: LinkHandlers): Link => {
    this.received = [];
    this.#parser = this.library.parser({ protocolVersion: this.version });
    this.#parser.on("packet", (packet: never) => this.received.push(packet));
    this.#parser.on("error", (error: never) => {
      throw error;
    });
    this.wire = new Wire(
      this.time,
      handlers,
      { resumes: this.resumes, opened: () => undefined, data: (_, bytes) => void this.#parser.parse(bytes), closed: () => undefined },
      0,
    );
    this.wires.push(this.wire);
    return this.wire;
  };

  /** Sends packets in one piece, and lets the client handle them. */
  async send(...packets: (LibraryPacket | Uint8Array)[]): Promise<void> {
    const pieces = packets.map((packet) =>
      packet instanceof Uint8Array ? packet : this.library.generate(packet, { protocolVersion: this.version }),
    );
    const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.wire?.toClient(whole);
    await this.time.pass(0);
  }

  async connack(fields: Record<string, unknown> = {}): Promise<void> {
    await this.time.pass(0);
    await this.send({ cmd: "connack", sessionPresent: false, [this.version === 5 ? "reasonCode" : "returnCode"]: 0, ...fields });
    await settle();
  }

  /** What came of one kind. */
  of(cmd: string): LibraryPacket[] {
    return this.received.filter((packet) => packet.cmd === cmd);
  }
}
