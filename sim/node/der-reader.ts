/** Walks through DER (X.690), on top of the SDK's reader of one element. All throw `BAD_CERTIFICATE` where it is not DER. */
import { certificateParts, derElement, type DerElement } from "../../sdk/identity/certificate.js";

const [BOOLEAN, BIT_STRING, OCTET_STRING, OBJECT_ID, SEQUENCE, EXTENSIONS] = [0x01, 0x03, 0x04, 0x06, 0x30, 0xa3];

/** One element after the other, inside another one. */
export class DerWalk {
  #at: number;

  constructor(
    private readonly der: Uint8Array,
    private readonly within: Omit<DerElement, "tag">,
  ) {
    this.#at = within.start;
  }

  /** The next one's tag; undefined at the end. */
  get next(): number | undefined {
    return this.#at < this.within.end ? this.der[this.#at] : undefined;
  }

  take(tag?: number): DerElement {
    const found = derElement(this.der, this.#at, this.within.end, tag);
    this.#at = found.end;
    return found;
  }
}

/** One extension (RFC 5280 section 4.2). */
export interface DerExtension {
  /** Content of the object identifier, hex. */
  readonly type: string;
  readonly isCritical: boolean;
  /** The OCTET STRING. */
  readonly value: DerElement;
}

export function derExtensions(der: Uint8Array, extensions: DerElement): DerExtension[] {
  const found: DerExtension[] = [];
  const walk = new DerWalk(der, extensions);
  while (walk.next !== undefined) {
    const parts = new DerWalk(der, walk.take(SEQUENCE));
    const type = derHex(der, parts.take(OBJECT_ID));
    const isCritical = parts.next === BOOLEAN && der[parts.take().start] !== 0;
    found.push({ type, isCritical, value: parts.take(OCTET_STRING) });
  }
  return found;
}

/**
 * What is in the OCTET STRING of the extension of this type; undefined if there is no such extension.
 * @param type content of the object identifier, hex
 */
export function derExtensionIn(der: Uint8Array, extensions: DerElement, type: string): DerElement | undefined {
  return derExtensions(der, extensions).find((extension) => extension.type === type)?.value;
}

/** The same, of a certificate. */
export function derCertificateExtension(certificate: Uint8Array, type: string): DerElement | undefined {
  const walk = new DerWalk(certificate, certificateParts(certificate).rest);
  // The issuer's and the subject's unique identifiers may come first.
  while (walk.next !== undefined && walk.next !== EXTENSIONS) walk.take();
  if (walk.next === undefined) return undefined;
  const { start, end } = walk.take();
  return derExtensionIn(certificate, derElement(certificate, start, end, SEQUENCE), type);
}

/** The content of an element, hex. */
export function derHex(der: Uint8Array, { start, end }: DerElement): string {
  return Buffer.from(der.buffer, der.byteOffset + start, end - start).toString("hex");
}

/** A certificate's subject, DER, byte for byte: what a list or an answer of that CA names as its issuer. */
export function derSubject(certificate: Uint8Array): Uint8Array {
  const { validity, subject } = certificateParts(certificate);
  return certificate.subarray(validity.end, subject.end);
}

/** The bits of a SubjectPublicKeyInfo, of which key identifiers are hashes (RFC 5280 section 4.2.1.2, RFC 6960 section 4.1.1). */
export function derKeyBits(spki: Uint8Array): Uint8Array {
  const { start, end } = derElement(spki, 0, spki.length, SEQUENCE);
  const bits = derElement(spki, derElement(spki, start, end, SEQUENCE).end, end, BIT_STRING);
  // The first byte counts bits that are not used.
  return spki.subarray(bits.start + 1, bits.end);
}
