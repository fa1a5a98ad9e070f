/**
 * The certificate authority of the world: issues, remembers and retires certificates, and answers enrolment requests as docs/protocol.md
 * has it. It is the one place that knows which certificates are genuine.
 */
import { base64Decode, base64Encode, hexEncode, utf8Decode, utf8Encode } from "../../../sdk/encoding/text.js";
import type { SeededRandom } from "../random.js";
import { WORLD_BEGINS_MS } from "../time/world-clock.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { buildCertificate, publicKeyOf, readRequest } from "./world-certificates.js";
import { Holders, signerOf } from "./holders.js";
import { IdentityPlaces } from "./identity-places.js";
import { Roots } from "./roots.js";
import { SaltedKeys } from "./salted-keys.js";

export interface IssuedCertificate {
  id: string;
  serial: string;
  der: Uint8Array;
  notBeforeMs: number;
  notAfterMs: number;
}

export type AuthorityAnswer = { chain: Uint8Array[] } | { error: { code: string; message: string; retryAfterSeconds?: number } };

/** How the authority behaves at the moment. */
export interface AuthorityMood {
  /** Answers nothing. */
  down: boolean;
  /** Answers every request with this error. */
  refusal: { code: string; retryAfterSeconds?: number } | undefined;
  /** What is wrong with the next certificates: another's subject, another's key, one no broker knows, an answer that is no JSON. */
  defect: "subject" | "key" | "unknown" | "garbage" | undefined;
  /** How far its clock is off, milliseconds. */
  clockErrorMs: number;
  /** Answers everything twice. */
  twice: boolean;
  /** Milliseconds an answer takes. */
  delayMs: number;
  /** Answers this device's requests, issues for them, and the answers are lost. */
  losesAnswersTo: string | undefined;
  /** Which certificates devices have committed does not reach it, though the broker has acknowledged it. */
  losesReports: boolean;
}

const TEN_YEARS_MS = 10 * 365 * 86_400_000;

export class VirtualAuthority {
  readonly roots: Roots;
  issuing: Uint8Array;
  readonly mood: AuthorityMood = {
    down: false,
    refusal: undefined,
    defect: undefined,
    clockErrorMs: 0,
    twice: false,
    delayMs: 50,
    losesAnswersTo: undefined,
    losesReports: false,
  };
  readonly #issued = new Map<string, IssuedCertificate>();
  readonly #byRequest = new Map<string, IssuedCertificate>();
  readonly #byDevice = new Map<string, IssuedCertificate[]>();
  /** When names were shut out: what they asked for before is not served any more. */
  readonly #shutOutAtMs = new Map<string, number>();
  readonly #holders: Holders;
  /** Of CAs. */
  readonly #validity: { notBeforeMs: number; notAfterMs: number };
  readonly psks = new SaltedKeys();
  readonly places = new IdentityPlaces();
  /** Told of each report of a certificate that the name's owner asked for. */
  onReported: (id: string, serial: string) => void = () => undefined;
  /** Told of each serial that is retired or revoked. */
  onRevoked: (serial: string) => void = () => undefined;

  constructor(
    private readonly nowMs: () => number,
    private readonly random: SeededRandom,
    /** Lifetime of a device certificate, milliseconds. */
    readonly lifetimeMs: number,
  ) {
    this.#holders = new Holders(nowMs);
    const notBeforeMs = WORLD_BEGINS_MS - 86_400_000;
    this.#validity = { notBeforeMs, notAfterMs: notBeforeMs + TEN_YEARS_MS };
    this.roots = new Roots(this.#validity, () => this.#caSerial());
    this.issuing = this.#issuingCa();
  }

  /** By which devices judge their broker. */
  get root(): Uint8Array {
    return this.roots.serving;
  }

  /** Issues from another CA under the same root from now on; certificates of the one before stay good. */
  rollOver(): void {
    this.issuing = this.#issuingCa();
  }

  /** The genuine certificate with these bytes; undefined when this authority never issued it. */
  find(der: Uint8Array): IssuedCertificate | undefined {
    return this.#issued.get(hexEncode(der));
  }

  /** Whether the chain's signatures would lead to one of the anchors: it was issued here, whatever became of it. */
  vouchesFor(chain: readonly Uint8Array[], anchors: readonly Uint8Array[]): boolean {
    return this.roots.leadsTo(chain, anchors);
  }

  /** Whether it has ever issued for this name. */
  knows(id: string): boolean {
    return this.#byDevice.has(id);
  }

  /** Certificates of a device that have not been retired, oldest first. */
  current(id: string): readonly IssuedCertificate[] {
    return this.#byDevice.get(id) ?? [];
  }

  /** @param signer the key that signed the request; left out where the device is known */
  issue(id: string, publicKey: Uint8Array, isUnproved = false, signer = "known"): IssuedCertificate {
    const certificate = this.#make(id, publicKey);
    this.#holders.issued(id, certificate.serial, publicKey, isUnproved, signer);
    this.roots.signed(certificate.der, readCertificate(this.issuing).publicKey);
    this.#issued.set(hexEncode(certificate.der), certificate);
    this.#byDevice.set(id, [...this.current(id), certificate]);
    return certificate;
  }

  chainOf(certificate: IssuedCertificate): Uint8Array[] {
    return [certificate.der, this.issuing];
  }

  revoke(id: string, serial: string): void {
    this.#byDevice.set(
      id,
      this.current(id).filter((certificate) => certificate.serial !== serial),
    );
    this.onRevoked(serial);
  }

  /** Revokes every certificate of a name; it has to ask anew for others. */
  shutOut(id: string): void {
    this.#shutOutAtMs.set(id, this.nowMs());
    this.#holders.shutOut(id);
    for (const { serial } of this.current(id)) this.revoke(id, serial);
  }

  /**
   * Takes a message from a device's identity topic; what it returns goes to the device.
   * @param sentAtMs when it reached the broker: one that the broker kept may be from before its name was shut out
   * @param base below which it came
   */
  handle(id: string, payload: Uint8Array, sentAtMs = this.nowMs(), base = `devices/${id}/identity`): Uint8Array[] {
    if (sentAtMs < (this.#shutOutAtMs.get(id) ?? -Infinity)) return [];
    const text = utf8Decode(payload);
    const message: unknown = JSON.parse(text);
    if (typeof message !== "object" || message === null) return [];
    const fields = message as Record<string, unknown>;
    const signer = signerOf(text);
    const signedFor = this.#holders.serialOf(id, signer);
    if (fields["type"] === "active") {
      if (signedFor === fields["serial"]) this.#retireOlder(id, String(fields["serial"]));
      if (signedFor === fields["serial"]) this.places.reportedAt(id, base);
      if (signedFor === fields["serial"] && this.#isOwn(id, signer, signedFor)) this.#takeSalt(id, signedFor, fields);
      return [];
    }
    const requestId = String(fields["requestId"]);
    if (fields["type"] === "in-use") {
      if (this.#good(id).includes(signedFor ?? "")) this.#holders.object(id, requestId);
      return [];
    }
    if (this.mood.defect === "garbage") return [utf8Encode("{not json")];
    const answer = utf8Encode(
      JSON.stringify({ v: 1, requestId, ...this.#answer(id, requestId, String(fields["csr"]), signer, serialsIn(fields["anchors"])) }),
    );
    if (this.mood.losesAnswersTo === id) return [];
    return this.mood.twice ? [answer, answer] : [answer];
  }

  /** A good certificate that the name's owner asked for. */
  #isOwn(id: string, signer: string | undefined, serial: string | undefined): serial is string {
    return serial !== undefined && this.#holders.isOwner(id, signer) && this.current(id).some((one) => one.serial === serial);
  }

  #takeSalt(id: string, serial: string, report: Record<string, unknown>): void {
    this.psks.tell(id, report);
    this.onReported(id, serial);
  }

  /** Serials that are neither retired nor past. */
  #good(id: string): string[] {
    return this.current(id).flatMap(({ serial, notAfterMs }) => (notAfterMs > this.nowMs() ? [serial] : []));
  }

  /** The broker moves to the new root as soon as the last device has it, and the CA with it. */
  #hear(id: string, anchors: readonly string[]): void {
    const { isChanging } = this.roots;
    this.roots.heard(id, anchors);
    if (isChanging && !this.roots.isChanging) this.rollOver();
  }

  #answer(
    id: string,
    requestId: string,
    csr: string,
    signer: string | undefined,
    anchors: readonly string[] | undefined,
  ): Record<string, unknown> {
    const { refusal, defect } = this.mood;
    if (refusal) return { error: { message: "not now", ...refusal } };
    const request = readRequest(base64Decode(csr));
    if (!request) return { error: { code: "BAD_REQUEST", message: "the request cannot be read" } };
    if (request.commonName !== id) return { error: { code: "WRONG_SUBJECT", message: "the request is for somebody else" } };
    if (defect === "unknown") return { chain: [this.#make(id, request.publicKey).der, this.issuing].map(base64Encode) };
    if (defect === "subject") return { chain: [this.#make(`${id}-x`, request.publicKey).der, this.issuing].map(base64Encode) };
    if (defect === "key") return { chain: [this.#make(id, publicKeyOf(`not ${id}'s`)).der, this.issuing].map(base64Encode) };
    const known = this.#byRequest.get(csr);
    const isKnown = known !== undefined && known.notAfterMs > this.nowMs();
    if (isKnown && !this.current(id).includes(known))
      return { error: { code: "BAD_REQUEST", message: "the key's certificate was revoked" } };
    const isProved = this.#holders.mayAsk(id, signer, this.#good(id));
    if (isProved && anchors) this.#hear(id, anchors);
    const asked = isKnown || isProved ? undefined : this.#holders.ask(id, requestId);
    if (asked) return { error: { message: "who holds the present certificate?", ...asked } };
    const certificate = isKnown ? known : this.issue(id, request.publicKey, !isProved, signer ?? "");
    this.#byRequest.set(csr, certificate);
    const offer = anchors ? this.roots.offerTo(anchors) : {};
    return { chain: this.chainOf(certificate).map(base64Encode), ...offer, ...this.psks.proof(id), ...this.places.told(id) };
  }

  #retireOlder(id: string, activeSerial: string): void {
    const certificates = this.current(id);
    const at = certificates.findIndex((certificate) => certificate.serial === activeSerial);
    for (const older of certificates.slice(0, Math.max(0, at))) this.revoke(id, older.serial);
  }

  #make(id: string, publicKey: Uint8Array): IssuedCertificate {
    const serial = Uint8Array.of(0x10 | this.random.between(0, 15), ...this.random.bytes(7));
    // Backdated a little, as real authorities do, for clocks that lag.
    const notBeforeMs = toSecond(this.nowMs() + this.mood.clockErrorMs - 60_000);
    const notAfterMs = toSecond(notBeforeMs + this.lifetimeMs);
    const der = buildCertificate({ commonName: id, issuer: "virtual issuing", serial, notBeforeMs, notAfterMs, publicKey });
    return { id, serial: hexEncode(serial), der, notBeforeMs, notAfterMs };
  }

  #issuingCa(): Uint8Array {
    const [commonName, issuer] = ["virtual issuing", "virtual root"];
    const publicKey = publicKeyOf(commonName);
    const der = buildCertificate({ commonName, issuer, serial: this.#caSerial(), ...this.#validity, publicKey });
    this.roots.signed(der, readCertificate(this.root).publicKey);
    return der;
  }

  #caSerial(): Uint8Array {
    return Uint8Array.of(1, ...this.random.bytes(7));
  }
}

function serialsIn(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) ? value.map(String) : undefined;
}

const toSecond = (timeMs: number): number => Math.floor(timeMs / 1_000) * 1_000;
