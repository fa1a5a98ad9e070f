/**
 * Somebody with genuine credentials of his own: another device's, or an operator's. He reads what he may, and tries to do with it what he
 * may not: to speak as a device, to answer for the authority, to say again what others said, to take a client id or a name. None of it may
 * get through, and once he is shut out, nothing at all.
 */
import { base64Encode, utf8Encode } from "../../../sdk/encoding/text.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { readAnswer } from "../../../sdk/identity/enrolment.js";
import type { Message } from "../broker/message.js";
import { buildRequest, publicKeyOf } from "../pki/world-certificates.js";
import type { FaultSite } from "./fault-kind.js";
import { said } from "./said.js";
import { ThiefSession } from "./thief-session.js";

const TRIES_EVERY_MS = 60_000;
/** So long after he was shut out he still tries, milliseconds. */
const TRIES_ON_MS = 1_800_000;
/** What the broker had already sent him arrives, milliseconds. */
const ON_THE_WAY_MS = 1_000;
/** Messages of others that he says again, the latest. */
const KEPT = 8;
/** What a PUBLISH has beside topic and payload, at the most. */
const MOST_HEADER_BYTES = 64;

export class Insider {
  readonly #name: string;
  readonly #secret: string;
  readonly #chain: readonly Uint8Array[];
  readonly #clientIds: readonly string[];
  /** What he has read on the identity topics of the device. */
  readonly #read: Uint8Array[] = [];
  readonly #tap = {
    filter: "#",
    take: (from: string, message: Message): void => this.#passed(from, message.topic),
  };
  #sessions: ThiefSession[] = [];
  #shutOutAtMs = Infinity;

  constructor(
    private readonly site: FaultSite,
    private readonly isOperator: boolean,
  ) {
    const { authority, access, device, broker } = site;
    this.#name = `${isOperator ? "operator" : "neighbour"}-of-${device.id}-${broker.time.nowMs}`;
    this.#secret = `key of ${this.#name}`;
    this.#chain = authority.chainOf(authority.issue(this.#name, publicKeyOf(this.#secret)));
    this.#clientIds = [this.#name, device.id];
    if (isOperator) access.operators.add(this.#name);
  }

  start(): void {
    const { broker } = this.site;
    broker.taps.push(this.#tap);
    this.#try();
  }

  /** The operator of the site shuts him out. */
  noticed(): void {
    this.#shutOutAtMs = this.site.broker.time.nowMs;
    this.site.authority.shutOut(this.#name);
  }

  #try(): void {
    const { broker } = this.site;
    const { time } = broker;
    if (time.nowMs > this.#shutOutAtMs + TRIES_ON_MS) return void broker.taps.splice(broker.taps.indexOf(this.#tap), 1);
    this.#sessions = this.#sessions.filter(({ isOpen }) => isOpen);
    if (broker.mtls.up) for (const clientId of this.#clientIds) this.#comeIn(clientId);
    for (const session of this.#sessions) if (session.isIn) this.#use(session);
    time.after(TRIES_EVERY_MS, () => this.#try());
  }

  get #isShutOut(): boolean {
    return this.site.broker.time.nowMs > this.#shutOutAtMs + ON_THE_WAY_MS;
  }

  #comeIn(clientId: string): void {
    const { broker, device } = this.site;
    if (this.#sessions.some((session) => session.clientId === clientId)) return;
    const shown = { kind: "certificate", chain: this.#chain } as const;
    if (broker.mtls.judge(shown) !== undefined) return;
    if (this.#isShutOut) device.accuse("revoked-key-serves", "an insider came in again after he was shut out");
    const filters = ["#", "devices/#", `devices/${device.id}/#`, `devices/${device.id}/down/#`, `${this.#place}/response`];
    const onMessage = (topic: string, payload: Uint8Array): void => this.#heard(topic, payload);
    this.#sessions.push(new ThiefSession(broker.mtls, shown, { clientId, filters, onMessage }));
  }

  /** Where the device asks. */
  get #place(): string {
    const { authority, device } = this.site;
    return authority.places.served(device.id)[0] ?? "";
  }

  #use(session: ThiefSession): void {
    const { device } = this.site;
    if (this.#isShutOut) device.accuse("revoked-key-serves", "an insider is still connected after he was shut out");
    if (session.clientId === device.id) device.accuse("reached-by-another", "an insider connected by the device's client id");
    const request = `${this.#place}/request`;
    const csr = base64Encode(buildRequest(device.id, this.#secret));
    const enrol = said({ type: "enrol", requestId: "0c", csr }, this.#secret);
    session.publish(request, enrol);
    session.publish(`devices/${this.#name}/identity/request`, enrol);
    session.publish(request, said({ type: "active", serial: device.identity.activeSerial ?? "" }, this.#secret));
    for (const topic of [request, `${this.#place}/response`]) for (const old of this.#read) session.publish(topic, old);
    session.publish(`devices/${device.id}/up/stolen`, utf8Encode("of an insider"));
    if (!this.isOperator) session.publish(`devices/${device.id}/down/stolen`, utf8Encode("of an insider"));
  }

  #heard(topic: string, payload: Uint8Array): void {
    const { device } = this.site;
    if (this.#isShutOut) device.accuse("revoked-key-serves", `an insider read ${topic} after he was shut out`);
    if (!this.isOperator && !topic.startsWith(`devices/${this.#name}/`)) device.accuse("reached-by-another", `an insider read ${topic}`);
    if (!topic.includes("/identity/")) return;
    if (leafNames(payload) === device.id && topic.startsWith(`devices/${this.#name}/`))
      device.accuse("reached-by-another", "an insider got a certificate of the device's name");
    // What the broker takes from nobody would end his session before he has tried anything else.
    if (payload.length + topic.length > this.site.broker.limits.maximumPacketBytes - MOST_HEADER_BYTES) return;
    this.#read.push(payload);
    if (this.#read.length > KEPT) this.#read.shift();
  }

  /** The broker passes a message on. */
  #passed(from: string, topic: string): void {
    const { device } = this.site;
    if (from === this.#name && topic.split("/")[1] === device.id) device.accuse("reached-by-another", `an insider published on ${topic}`);
  }
}

/** The name in the certificate that an answer brings. */
function leafNames(payload: Uint8Array): string | undefined {
  try {
    const answer = readAnswer(payload);
    return "chain" in answer && answer.chain[0] ? readCertificate(answer.chain[0]).commonName : undefined;
  } catch {
    return undefined;
  }
}
