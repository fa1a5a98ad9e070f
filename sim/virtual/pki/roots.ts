/**
 * The roots of this world's CA and how they follow each other (docs/protocol.md): a new one is offered beside the one before, with the link
 * that vouches for it. Once every device has said that it has it, the broker's certificate comes from it, and the old one is named no more.
 */
import { base64Encode, hexEncode } from "../../../sdk/encoding/text.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { buildCertificate, publicKeyOf } from "./world-certificates.js";

const ROOT_NAME = "virtual root";

interface Root {
  readonly der: Uint8Array;
  readonly serial: string;
  /** Its key, signed by the root before it. */
  readonly link?: Uint8Array;
}

/** What an answer says to a device whose anchors are not those of now. */
export interface Offer {
  anchors?: string[];
  links?: string[];
}

type Validity = { notBeforeMs: number; notAfterMs: number };

export class Roots {
  /** From the oldest to the newest. */
  readonly #roots: Root[] = [];
  /** By certificate, the public key that signed it; hexadecimal. */
  readonly #signers = new Map<string, string>();
  /** By device, the serials of the anchors that it has. */
  readonly #heard = new Map<string, readonly string[]>();
  /** Whoever has to have a new root before a broker is judged by it. */
  readonly devices = new Set<string>();
  /** Told of the root that the broker's certificate comes from now. */
  onServing: (root: Uint8Array) => void = () => undefined;
  #isChanging = false;

  constructor(
    private readonly validity: Validity,
    private readonly newSerial: () => Uint8Array,
  ) {
    this.#add();
  }

  get #newest(): Root {
    return this.#roots.at(-1) as Root;
  }

  get #before(): Root | undefined {
    return this.#roots.at(-2);
  }

  /** That of the broker's certificate, and of the issuing CA. */
  get serving(): Uint8Array {
    return (this.#isChanging ? (this.#before as Root) : this.#newest).der;
  }

  get isChanging(): boolean {
    return this.#isChanging;
  }

  /** A new root is there. */
  begin(): void {
    this.#add();
    this.#isChanging = true;
  }

  /** The root before this one; undefined for the first, and for what is none. */
  predecessor(root: Uint8Array): Uint8Array | undefined {
    const at = this.#roots.findIndex(({ der }) => hexEncode(der) === hexEncode(root));
    return this.#roots[at - 1]?.der;
  }

  /** A device has proved who it is and said which anchors it has. */
  heard(id: string, serials: readonly string[]): void {
    this.#heard.set(id, serials);
    const { serial, der } = this.#newest;
    if (!this.#isChanging || ![...this.devices].every((device) => this.#heard.get(device)?.includes(serial))) return;
    this.#isChanging = false;
    this.onServing(der);
  }

  /** @param serials of the anchors that the device has */
  offerTo(serials: readonly string[]): Offer {
    const offered = this.#isChanging ? [this.#newest, this.#before as Root] : [this.#newest];
    if (serials.length === offered.length && offered.every(({ serial }) => serials.includes(serial))) return {};
    const links = this.#roots.flatMap(({ link }) => (link ? [link] : []));
    return { anchors: offered.map(({ der }) => base64Encode(der)), links: links.map(base64Encode) };
  }

  /** @param signer DER SubjectPublicKeyInfo */
  signed(der: Uint8Array, signer: Uint8Array): void {
    this.#signers.set(hexEncode(der), hexEncode(signer));
  }

  /** Whether each certificate was signed by the next, and one of them by an anchor. */
  leadsTo(chain: readonly Uint8Array[], anchors: readonly Uint8Array[]): boolean {
    const trusted = anchors.map(keyOf);
    for (const [at, der] of chain.entries()) {
      const signer = this.#signers.get(hexEncode(der));
      if (signer === undefined) return false;
      if (trusted.includes(signer)) return true;
      const next = chain[at + 1];
      if (next === undefined || keyOf(next) !== signer) return false;
    }
    return false;
  }

  #add(): void {
    const publicKey = publicKeyOf(`${ROOT_NAME} ${this.#roots.length}`);
    const make = (): Uint8Array =>
      buildCertificate({ commonName: ROOT_NAME, issuer: ROOT_NAME, serial: this.newSerial(), ...this.validity, publicKey });
    const der = make();
    this.signed(der, publicKey);
    const before = this.#roots.at(-1);
    const link = before && make();
    if (link) this.signed(link, readCertificate(before.der).publicKey);
    this.#roots.push({ der, serial: readCertificate(der).serial, ...(link && { link }) });
  }
}

function keyOf(der: Uint8Array): string {
  return hexEncode(readCertificate(der).publicKey);
}
