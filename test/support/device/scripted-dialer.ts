/** For tests: a dialer whose every connection does what the test says, and remembers what it was asked for. */
import type { Failure } from "../../../sdk/failure.js";
import type { ManualTime } from "../mqtt/manual-time.js";
import type { LibraryPacket, PacketLibrary } from "../mqtt/scripted-broker.js";
import { Wire } from "../mqtt/wire.js";
import type { Credential, Dialer, Endpoint, Link, LinkHandlers } from "../../../sdk/platform.js";

/** Answers one packet of the device; undefined keeps silent. */
export type Answer = (packet: LibraryPacket, peer: Peer) => LibraryPacket | undefined;

/** What the far end of one connection does. */
export interface Behaviour {
  /** Runs while the device dials; what it throws, the dialer throws. */
  dialled?: (peer: Peer) => void;
  /** By the kind of packet; what is not named here is not answered. */
  answers?: Readonly<Record<string, Answer>>;
}

const ACCEPTING: Readonly<Record<string, Answer>> = {
  connect: () => ({ cmd: "connack", sessionPresent: false, reasonCode: 0, returnCode: 0 }),
  subscribe: ({ messageId, subscriptions }) => ({
    cmd: "suback",
    messageId: messageId ?? 0,
    granted: (subscriptions as { qos: number }[]).map(({ qos }) => qos),
  }),
  unsubscribe: ({ messageId }) => ({ cmd: "unsuback", messageId: messageId ?? 0, granted: [0] }),
  publish: ({ messageId, qos }) => (qos === 1 ? { cmd: "puback", messageId: messageId ?? 0, reasonCode: 0 } : undefined),
  pingreq: () => ({ cmd: "pingresp" }),
};

/** A broker that lets the device do all, but for the answers given. */
export function accepting(answers: Readonly<Record<string, Answer>> = {}): Behaviour {
  return { answers: { ...ACCEPTING, ...answers } };
}

/** A broker that refuses the CONNECT. */
export function refusing(reasonCode: number, properties: Record<string, unknown> = {}): Behaviour {
  return accepting({ connect: () => ({ cmd: "connack", sessionPresent: false, reasonCode, returnCode: reasonCode, properties }) });
}

/** A way to the broker that ends before the link is open. */
export function failing(reason: Failure): Behaviour {
  return {
    dialled: (peer) => {
      peer.wire.isDead = true;
      peer.time.after(0, () => peer.wire.cut(reason));
    },
  };
}

/** A link that never opens. */
export const silent: Behaviour = {
  dialled: (peer) => {
    peer.wire.isDead = true;
  },
};

/** The far end of one connection. */
export class Peer {
  readonly received: LibraryPacket[] = [];
  readonly wire: Wire;
  readonly #settings = { protocolVersion: 5 };

  constructor(
    private readonly library: PacketLibrary,
    readonly time: ManualTime,
    readonly endpoint: Endpoint,
    readonly credential: Credential,
    readonly timeoutMs: number,
    readonly handlers: LinkHandlers,
    readonly behaviour: Behaviour,
  ) {
    const parser = library.parser(this.#settings);
    parser.on("packet", (packet: never) => this.#came(packet));
    parser.on("error", (error: never) => {
      throw error;
    });
    this.wire = new Wire(
      time,
      handlers,
      { opened: () => undefined, data: (_, bytes) => void parser.parse(bytes), closed: () => undefined },
      0,
    );
  }

  get version(): number {
    return this.#settings.protocolVersion;
  }

  /** All that came of one kind. */
  of(cmd: string): LibraryPacket[] {
    return this.received.filter((packet) => packet.cmd === cmd);
  }

  /** Sends packets in one piece. */
  send(...packets: LibraryPacket[]): void {
    const pieces = packets.map((packet) => [...this.library.generate(packet, { protocolVersion: this.version })]);
    this.wire.toClient(Uint8Array.from(pieces.flat()));
  }

  #came(packet: LibraryPacket): void {
    if (packet.cmd === "connect") this.#settings.protocolVersion = Number(packet.protocolVersion);
    this.received.push(packet);
    const answer = this.behaviour.answers?.[packet.cmd]?.(packet, this);
    if (answer) this.send(answer);
  }
}

export class ScriptedDialer implements Dialer {
  /** One for each connection asked for, in order. */
  readonly peers: Peer[] = [];
  /** What the next connections do, one each; after them all do `usually`. */
  next: Behaviour[] = [];
  usually: Behaviour = accepting();

  constructor(
    private readonly library: PacketLibrary,
    private readonly time: ManualTime,
  ) {}

  dial(endpoint: Endpoint, credential: Credential, timeoutMs: number, handlers: LinkHandlers): Link {
    const behaviour = this.next.shift() ?? this.usually;
    const peer = new Peer(this.library, this.time, endpoint, credential, timeoutMs, handlers, behaviour);
    this.peers.push(peer);
    behaviour.dialled?.(peer);
    return peer.wire;
  }

  /** The connection at hand. */
  get last(): Peer {
    const peer = this.peers.at(-1);
    if (!peer) throw new Error("nothing was dialled");
    return peer;
  }
}
