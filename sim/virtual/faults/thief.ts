/**
 * A thief of one device's key. He comes in under client ids of his own beside the device, reads its commands, publishes as it, and enrols
 * keys of his own. Until somebody notices he is the device, as far as anybody can tell. From then on he must get nothing any more: that is
 * what he finds out, and tells.
 */
import { enrolRequest, activeReport, readAnswer } from "../../../sdk/identity/enrolment.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { FrameReader } from "../../../sdk/mqtt/codec/frame-reader.js";
import { encode } from "../../../sdk/mqtt/codec/packet-encoder.js";
import type { InboundPacket, OutboundPacket } from "../../../sdk/mqtt/codec/packet-types.js";
import { utf8Encode } from "../../../sdk/encoding/text.js";
import type { Message } from "../broker/message.js";
import type { ServerHandlers, ServerSocket } from "../network/network.js";
import { sameBytes } from "../network/virtual-tls.js";
import { buildRequest, publicKeyOf } from "../pki/world-certificates.js";
import type { FaultSite } from "./fault-kind.js";

const TRIES_EVERY_MS = 60_000;
/** So long after he was noticed he still tries, milliseconds. */
const TRIES_ON_MS = 3_600_000;
/** What the broker had already sent him arrives, milliseconds. */
const ON_THE_WAY_MS = 1_000;

interface Loot {
  readonly secret: string;
  readonly chain: readonly Uint8Array[];
}

/** One connection under a client id that nobody knows. He is next to the broker: no path of the world is in his way. */
class Session implements ServerSocket {
  isOpen = true;
  /** The broker has accepted it. */
  isIn = false;
  readonly #reader: FrameReader;
  readonly #handlers: ServerHandlers;

  constructor(
    { broker, device }: FaultSite,
    { chain }: Loot,
    readonly clientId: string,
    onMessage: (topic: string, payload: Uint8Array) => void,
  ) {
    const packet = (packet: InboundPacket): void => {
      if (packet.cmd === "publish") onMessage(packet.topic, packet.payload);
      if (packet.cmd === "connack" && packet.reasonCode === 0) this.#accepted(device.id);
    };
    this.#reader = new FrameReader(4, 1_000_000, { packet });
    this.#handlers = broker.mtls.accept(this, { kind: "certificate", chain });
    this.send({ cmd: "connect", protocolVersion: 4, clientId, clean: true, keepalive: 0 });
  }

  #accepted(id: string): void {
    this.isIn = true;
    const subscriptions = ["down/#", "identity/response"].map((topic) => ({ topic: `devices/${id}/${topic}`, qos: 0 as const }));
    this.send({ cmd: "subscribe", messageId: 1, subscriptions });
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

export class Thief {
  readonly #loot: Loot[];
  readonly #sessions: Session[] = [];
  readonly #own: string;
  #noticedAtMs = Infinity;

  /** @param loot what he copied off the device: a key that serves, with its certificate */
  constructor(
    private readonly site: FaultSite,
    loot: Loot,
    private readonly retiresOthers: boolean,
  ) {
    this.#loot = [loot];
    this.#own = `own key of the thief of ${site.device.id} at ${site.broker.time.nowMs}`;
  }

  start(): void {
    this.#try();
  }

  /** The operator shuts him out. What he has left behind at the broker is handed to the authority afterwards. */
  noticed(): void {
    const { authority, broker, device } = this.site;
    const payload = enrolRequest("0f", buildRequest(device.id, `${this.#own}, second`));
    const leftBehind: Message = {
      topic: `devices/${device.id}/identity/request`,
      payload,
      qos: 1,
      retain: true,
      properties: {},
      atMs: broker.time.nowMs - 1,
    };
    authority.shutOut(device.id);
    this.#noticedAtMs = broker.time.nowMs;
    broker.time.after(TRIES_EVERY_MS, () => broker.route("thief", leftBehind));
  }

  get #isNoticed(): boolean {
    return this.#noticedAtMs < Infinity;
  }

  #try(): void {
    const { broker } = this.site;
    const { time } = broker;
    if (time.nowMs > this.#noticedAtMs + TRIES_ON_MS) return;
    if (this.#isNoticed) this.#checkShut();
    if (broker.mtls.up) for (const loot of this.#loot) this.#comeIn(loot);
    for (const session of this.#sessions) this.#use(session);
    time.after(TRIES_EVERY_MS, () => this.#try());
  }

  #checkShut(): void {
    const { authority, device } = this.site;
    const own = [this.#own, `${this.#own}, second`].map(publicKeyOf);
    const isServed = authority.current(device.id).some(({ der }) => own.some((key) => sameBytes(readCertificate(der).publicKey, key)));
    if (isServed) device.accuse("revoked-key-serves", "a thief got a certificate after he was shut out");
  }

  #comeIn(loot: Loot): void {
    const { broker, device } = this.site;
    const clientId = `thief-${device.id}-${publicKeyOf(loot.secret)[40]}`;
    if (this.#sessions.some((session) => session.isOpen && session.clientId === clientId)) return;
    if (broker.mtls.judge({ kind: "certificate", chain: loot.chain }) !== undefined) return;
    if (this.#isNoticed) device.accuse("revoked-key-serves", "a thief came in again after he was shut out");
    this.#sessions.push(new Session(this.site, loot, clientId, (topic, payload) => this.#heard(topic, payload)));
  }

  #use(session: Session): void {
    const { device } = this.site;
    if (!session.isOpen || !session.isIn) return;
    if (this.#isNoticed) device.accuse("revoked-key-serves", "a thief is still connected after he was shut out");
    session.send({ cmd: "pingreq" });
    session.publish(`devices/${device.id}/up/stolen`, utf8Encode("of the thief"));
    if (this.#loot.length === 1)
      session.publish(`devices/${device.id}/identity/request`, enrolRequest("0e", buildRequest(device.id, this.#own)));
  }

  #heard(topic: string, payload: Uint8Array): void {
    const { broker, device } = this.site;
    if (broker.time.nowMs > this.#noticedAtMs + ON_THE_WAY_MS)
      device.accuse("revoked-key-serves", `a thief read ${topic} after he was shut out`);
    if (!topic.endsWith("identity/response") || this.#loot.length > 1) return;
    const answer = ownAnswer(payload);
    const leaf = answer?.[0];
    if (!answer || !leaf || !sameBytes(readCertificate(leaf).publicKey, publicKeyOf(this.#own))) return;
    this.#loot.push({ secret: this.#own, chain: answer });
    if (this.retiresOthers)
      broker.time.after(1, () =>
        this.#sessions[0]?.publish(`devices/${device.id}/identity/request`, activeReport(readCertificate(leaf).serial)),
      );
  }
}

/** Answers to the device pass by as well, some of them broken. */
function ownAnswer(payload: Uint8Array): readonly Uint8Array[] | undefined {
  try {
    const answer = readAnswer(payload);
    return "chain" in answer ? answer.chain : undefined;
  } catch {
    return undefined;
  }
}
