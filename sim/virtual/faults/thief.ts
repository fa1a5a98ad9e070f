/**
 * A thief of one device's key. He comes in under client ids of his own beside the device, reads its commands, publishes as it, and enrols
 * keys of his own. Until somebody notices he is the device, as far as anybody can tell. From then on he must get nothing any more: that is
 * what he finds out, and tells.
 */
import { readAnswer } from "../../../sdk/identity/enrolment.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { base64Encode, utf8Encode } from "../../../sdk/encoding/text.js";
import type { Message } from "../broker/message.js";
import { sameBytes } from "../network/virtual-tls.js";
import { buildRequest, publicKeyOf } from "../pki/world-certificates.js";
import type { FaultSite } from "./fault-kind.js";
import { said } from "./said.js";
import { ThiefSession } from "./thief-session.js";

const TRIES_EVERY_MS = 60_000;
/** So long after he was noticed he still tries, milliseconds. */
const TRIES_ON_MS = 3_600_000;
/** What the broker had already sent him arrives, milliseconds. */
const ON_THE_WAY_MS = 1_000;

interface Loot {
  readonly secret: string;
  readonly chain: readonly Uint8Array[];
}

export class Thief {
  readonly #loot: Loot[];
  readonly #sessions: ThiefSession[] = [];
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
    const payload = this.#request("0f", `${this.#own}, second`);
    const leftBehind: Message = {
      topic: `${this.#place}/request`,
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

  get #place(): string {
    const { authority, device } = this.site;
    return authority.places.served(device.id).at(-1) ?? "";
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

  /** Of the device, as far as anybody can tell: its key signs. */
  #request(requestId: string, ownSecret: string): Uint8Array {
    const csr = base64Encode(buildRequest(this.site.device.id, ownSecret));
    return said({ type: "enrol", requestId, csr }, this.#loot[0]?.secret);
  }

  #checkShut(): void {
    const { authority, device } = this.site;
    const own = [this.#own, `${this.#own}, second`].map(publicKeyOf);
    const isServed = authority.current(device.id).some(({ der }) => own.some((key) => sameBytes(readCertificate(der).publicKey, key)));
    if (isServed) device.accuse("revoked-key-serves", "a thief got a certificate after he was shut out");
  }

  #comeIn(loot: Loot): void {
    const { access, broker, device } = this.site;
    const clientId = `thief-${device.id}-${publicKeyOf(loot.secret)[40]}`;
    if (this.#sessions.some((session) => session.isOpen && session.clientId === clientId)) return;
    if (broker.mtls.judge({ kind: "certificate", chain: loot.chain }) !== undefined) return;
    // Where CONNACK is to refuse him, the handshake says nothing: `#use` tells whether he is in.
    if (this.#isNoticed && !access.refusesByConnack(device.id))
      device.accuse("revoked-key-serves", "a thief came in again after he was shut out");
    const filters = [`devices/${device.id}/down/#`, `${this.#place}/response`];
    const onMessage = (topic: string, payload: Uint8Array): void => this.#heard(topic, payload);
    this.#sessions.push(new ThiefSession(broker.mtls, { kind: "certificate", chain: loot.chain }, { clientId, filters, onMessage }));
  }

  #use(session: ThiefSession): void {
    const { device } = this.site;
    if (!session.isOpen || !session.isIn) return;
    if (this.#isNoticed) device.accuse("revoked-key-serves", "a thief is still connected after he was shut out");
    session.send({ cmd: "pingreq" });
    session.publish(`devices/${device.id}/up/stolen`, utf8Encode("of the thief"));
    if (this.#loot.length === 1) session.publish(`${this.#place}/request`, this.#request("0e", this.#own));
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
        this.#sessions[0]?.publish(`${this.#place}/request`, said({ type: "active", serial: readCertificate(leaf).serial }, this.#own)),
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
