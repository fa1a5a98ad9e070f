/**
 * A thief of one device's pre-shared key, and of nothing else. He comes in by it under a client id of his own, asks for certificates of the
 * device's name, reports them as in use and with a salt of his own, and objects to what others ask for. As long as the device itself is
 * there, he must get nothing.
 */
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { ASKING_HOLDER, readAnswer, type EnrolmentAnswer } from "../../../sdk/identity/enrolment.js";
import { saltProofInput } from "../../../sdk/identity/psk-salt.js";
import { base64Encode } from "../../../sdk/encoding/text.js";
import { sameBytes } from "../network/virtual-tls.js";
import { buildRequest, macOf, publicKeyOf } from "../pki/world-certificates.js";
import type { FaultSite } from "./fault-kind.js";
import { said } from "./said.js";
import { ThiefSession } from "./thief-session.js";

const TRIES_EVERY_MS = 20_000;
const REQUEST_ID = "0d";
const SALT = "0d".repeat(16);

export class PskThief {
  readonly #own: string;
  readonly #clientId: string;
  /** Nothing else has gone wrong since he came: what the device loses, it loses to him. */
  readonly #faultsBefore: number;
  #session: ThiefSession | undefined;
  #isGone = false;

  constructor(
    private readonly site: FaultSite,
    private readonly psk: Uint8Array,
  ) {
    const { device, broker } = site;
    this.#own = `own key of the thief of ${device.id} by PSK at ${broker.time.nowMs}`;
    this.#clientId = `psk-thief-${device.id}`;
    this.#faultsBefore = device.recovery.begun;
  }

  start(): void {
    const { broker } = this.site;
    if (this.#isGone) return;
    this.#comeIn();
    const csr = base64Encode(buildRequest(this.site.device.id, this.#own));
    this.#say(said({ type: "enrol", requestId: REQUEST_ID, csr }));
    broker.time.after(TRIES_EVERY_MS, () => this.start());
  }

  leave(): void {
    this.#isGone = true;
    this.#session?.close();
  }

  #comeIn(): void {
    const { authority, broker, device } = this.site;
    const shown = { kind: "psk", identity: device.id, key: this.psk } as const;
    if (this.#session?.isOpen === true || !broker.psk.up || broker.psk.judge(shown) !== undefined) return;
    this.#session = new ThiefSession(broker.psk, shown, {
      clientId: this.#clientId,
      filters: authority.places.served(device.id).map((base) => `${base}/response`),
      onMessage: (_topic, payload) => this.#heard(payload),
    });
  }

  #say(payload: Uint8Array): void {
    if (this.#session?.isIn === true) this.#session.publish(`${this.#place}/request`, payload);
  }

  /** The oldest, where the device may be no more. */
  get #place(): string {
    const { authority, device } = this.site;
    return authority.places.served(device.id).at(-1) ?? "";
  }

  #heard(payload: Uint8Array): void {
    const answer = answerIn(payload);
    if (answer === undefined || this.#isGone) return;
    if ("error" in answer) {
      // The device's question, perhaps: it is not his to answer.
      if (answer.error.code === ASKING_HOLDER && answer.requestId !== REQUEST_ID)
        this.#say(said({ type: "in-use", requestId: answer.requestId }, this.#own));
      return;
    }
    const leaf = answer.chain[0];
    if (leaf === undefined) return;
    const { publicKey, serial } = readCertificate(leaf);
    const isOwn = sameBytes(publicKey, publicKeyOf(this.#own));
    const wasGood = this.#isDeviceGood;
    // With a salt of his own the device would have no key left.
    const saltProof = base64Encode(macOf(this.psk, saltProofInput("device", SALT)));
    this.#say(said({ type: "active", serial, salt: SALT, saltProof }, this.#own));
    this.#say(said({ type: "active", serial }));
    if (this.site.device.recovery.begun !== this.#faultsBefore) return;
    if (isOwn) this.site.device.accuse("shut-out-by-psk", "a thief of the pre-shared key got a certificate, though the device was there");
    if (wasGood && !this.#isDeviceGood)
      this.site.device.accuse("shut-out-by-psk", "a thief of the pre-shared key had the certificate in use retired");
  }

  get #isDeviceGood(): boolean {
    const { authority, device } = this.site;
    return authority.current(device.id).some(({ serial }) => serial === device.identity.activeSerial);
  }
}

/** Some answers are broken. */
function answerIn(payload: Uint8Array): EnrolmentAnswer | undefined {
  try {
    return readAnswer(payload);
  } catch {
    return undefined;
  }
}
