/** For tests: a broker with sessions that keeps strictly to the flows of QoS 0, 1 and 2, and remembers every message it took over. */
import type { Link, LinkHandlers } from "../../../sdk/platform.js";
import type { ManualTime } from "./manual-time.js";
import type { LibraryPacket, PacketLibrary } from "./scripted-broker.js";
import { Wire } from "./wire.js";

interface Outgoing {
  readonly packet: LibraryPacket;
  phase: "publish" | "release";
}

export class ModelBroker {
  /** Payloads in the order of their delivery onward. */
  readonly delivered: string[] = [];
  /** What a client did that MQTT forbids. */
  readonly violations: string[] = [];
  receiveMaximum = 10;
  #hasSession = false;
  readonly #incoming = new Set<number>();
  readonly #outgoing = new Map<number, Outgoing>();
  readonly #waiting: LibraryPacket[] = [];
  readonly #filters = new Map<string, number>();
  #lastId = 0;
  #wire: Wire | undefined;
  #isConnected = false;

  constructor(
    private readonly library: PacketLibrary,
    private readonly time: ManualTime,
    private readonly version: 4 | 5,
  ) {}

  readonly dial = (handlers: LinkHandlers): Link => {
    const parser = this.library.parser({ protocolVersion: this.version });
    let isCurrent = true;
    const wire = new Wire(
      this.time,
      handlers,
      {
        opened: () => undefined,
        data: (_, bytes) => void (isCurrent && parser.parse(bytes)),
        closed: () => {
          isCurrent = false;
          if (this.#wire === wire) this.#isConnected = false;
        },
      },
      1,
    );
    parser.on("packet", (packet: never) => this.#handle(wire, packet));
    parser.on("error", (error: never) => this.violations.push(String(error)));
    this.#wire = wire;
    this.#isConnected = false;
    return wire;
  };

  /** The link breaks with all that is under way. */
  cut(): void {
    this.#wire?.cut();
  }

  /** The device's power fails: nothing comes through any more, and the broker notices. */
  powerOff(): void {
    if (this.#wire === undefined) return;
    this.#wire.isDead = true;
    this.#wire = undefined;
    this.#isConnected = false;
  }

  /** The broker loses all sessions. */
  forget(): void {
    this.cut();
    this.#hasSession = false;
  }

  /** Another client publishes. */
  publish(topic: string, payload: string, qos: 0 | 1 | 2): void {
    if (![...this.#filters.keys()].some((filter) => filter === topic)) return;
    const packet = { cmd: "publish", topic, payload, qos, retain: false, dup: false };
    if (qos > 0) this.#waiting.push(packet);
    else if (this.#isConnected) this.#send(packet);
    this.#pump();
  }

  get undelivered(): number {
    return this.#waiting.length + this.#outgoing.size;
  }

  #handle(wire: Wire, packet: LibraryPacket): void {
    if (wire !== this.#wire) return;
    const id = packet.messageId ?? 0;
    if (packet.cmd === "connect") return this.#connect(packet);
    if (!this.#isConnected) return void this.violations.push(`${packet.cmd} before CONNECT`);
    switch (packet.cmd) {
      case "publish":
        return this.#publish(packet, id);
      case "pubrel":
        this.#incoming.delete(id);
        return this.#send({ cmd: "pubcomp", messageId: id, reasonCode: 0 });
      case "subscribe":
        for (const { topic, qos } of packet.subscriptions as { topic: string; qos: number }[]) this.#filters.set(topic, qos);
        return this.#send({ cmd: "suback", messageId: id, granted: (packet.subscriptions as { qos: number }[]).map(({ qos }) => qos) });
      case "unsubscribe":
        for (const topic of packet.unsubscriptions as string[]) this.#filters.delete(topic);
        return this.#send({ cmd: "unsuback", messageId: id, granted: [0] });
      case "pingreq":
        return this.#send({ cmd: "pingresp" });
      case "disconnect":
        return this.#wire?.cut();
      default:
        return this.#acknowledged(packet, id);
    }
  }

  #connect(packet: LibraryPacket): void {
    this.#isConnected = true;
    const sessionPresent = this.#hasSession && packet.clean !== true;
    if (!sessionPresent) {
      this.#incoming.clear();
      this.#outgoing.clear();
      this.#waiting.length = 0;
      this.#filters.clear();
    }
    this.#hasSession = true;
    const properties = this.version === 5 ? { properties: { receiveMaximum: this.receiveMaximum } } : {};
    this.#send({ cmd: "connack", sessionPresent, returnCode: 0, reasonCode: 0, ...properties });
    for (const [messageId, { packet: message, phase }] of this.#outgoing) {
      this.#send(phase === "publish" ? { ...message, messageId, dup: true } : { cmd: "pubrel", messageId, reasonCode: 0 });
    }
    this.#pump();
  }

  #publish(packet: LibraryPacket, id: number): void {
    const payload = String(packet.payload);
    if (packet.qos === 0) return void this.delivered.push(payload);
    if (packet.qos === 1) {
      this.delivered.push(payload);
      return this.#send({ cmd: "puback", messageId: id, reasonCode: 0 });
    }
    if (!this.#incoming.has(id)) this.delivered.push(payload);
    else if (packet.dup !== true) this.violations.push(`QoS 2 identifier ${id} used again before PUBREL`);
    this.#incoming.add(id);
    if (this.#incoming.size > this.receiveMaximum) this.violations.push("receive maximum exceeded");
    this.#send({ cmd: "pubrec", messageId: id, reasonCode: 0 });
  }

  #acknowledged(packet: LibraryPacket, id: number): void {
    const outgoing = this.#outgoing.get(id);
    const { cmd } = packet;
    if (cmd === "pubrec" && outgoing?.packet.qos === 2) {
      outgoing.phase = "release";
      this.#send({ cmd: "pubrel", messageId: id, reasonCode: 0 });
    } else if ((cmd === "puback" && outgoing?.packet.qos === 1) || (cmd === "pubcomp" && outgoing?.phase === "release")) {
      this.#outgoing.delete(id);
      this.#pump();
    } else this.violations.push(`${cmd} for ${id}, which is not due`);
  }

  #pump(): void {
    while (this.#isConnected && this.#outgoing.size < 5) {
      const packet = this.#waiting.shift();
      if (packet === undefined) return;
      do this.#lastId = (this.#lastId % 65_535) + 1;
      while (this.#outgoing.has(this.#lastId));
      this.#outgoing.set(this.#lastId, { packet, phase: "publish" });
      this.#send({ ...packet, messageId: this.#lastId });
    }
  }

  #send(packet: LibraryPacket): void {
    this.#wire?.toClient(this.library.generate(packet, { protocolVersion: this.version }));
  }
}
