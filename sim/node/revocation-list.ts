/**
 * Reads certificate revocation lists (RFC 5280 section 5), as long as they may be. A general reader of ASN.1 does not: asn1js refuses more
 * than 10,000 elements, which is a list of 1,400 certificates, and takes seconds where this takes milliseconds.
 */
import { verify, type KeyObject } from "node:crypto";
import { derElement, derTime, type DerElement } from "../../sdk/identity/certificate.js";
import { derCertificateExtension, derExtensionIn, derExtensions, derHex, DerWalk } from "./der-reader.js";

export interface RevokedEntry {
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  /** Milliseconds since the Unix epoch. */
  readonly revokedAtMs: number;
  /** CRLReason (RFC 5280 section 5.3.1); 0, unspecified, where the list does not say. */
  readonly reasonCode: number;
}

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OBJECT_ID = 0x06;
const ENUMERATED = 0x0a;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const EXTENSIONS = 0xa0;

/** 2.5.29.20, 2.5.29.21, 2.5.29.28 and 2.5.29.31 */
const [CRL_NUMBER, REASON_CODE, ISSUING_POINT, DISTRIBUTION_POINTS] = ["551d14", "551d15", "551d1c", "551d1f"];
/** The names of a distribution point: the point itself, its full name, an address in that. */
const [POINT, FULL_NAME, URI] = [0xa0, 0xa0, 0x86];

/** What signs lists (RFC 4055, 5758, 8410), by the content of its object identifier. SHA-1 is not believed. */
const HASHES: Readonly<Record<string, string | null>> = {
  "2a8648ce3d040302": "sha256",
  "2a8648ce3d040303": "sha384",
  "2a8648ce3d040304": "sha512",
  "2a864886f70d01010b": "sha256",
  "2a864886f70d01010c": "sha384",
  "2a864886f70d01010d": "sha512",
  // Ed25519 and Ed448 have theirs inside.
  "2b6570": null,
  "2b6571": null,
};
const RSA_PSS = "2a864886f70d01010a";
const PSS_HASHES: Readonly<Record<string, string>> = {
  "608648016503040201": "sha256",
  "608648016503040202": "sha384",
  "608648016503040203": "sha512",
};

/** One list. Reading it proves nothing; `isSignedBy` does. */
export class RevocationList {
  /** The issuer's name in a form to compare by: see `derNameKey`. */
  readonly issuer: string;
  /** The issuer's name, DER. */
  readonly issuerDer: Uint8Array;
  /** Milliseconds since the Unix epoch. */
  readonly thisUpdateMs: number;
  /** Infinity where the list does not say. */
  readonly nextUpdateMs: number;
  /** Section 5.2.3; 0 where it has none. */
  readonly number: number;
  /** The addresses it is for (section 5.2.5); undefined where it is for all certificates of its issuer. */
  readonly places: ReadonlySet<string> | undefined;
  /** False where it may leave out what is revoked, or takes more to understand than `places`: a delta, one for some reasons only. */
  readonly isOrdinary: boolean;
  readonly #revoked: DerElement | undefined;
  readonly #signed: Uint8Array;
  readonly #algorithm: DerElement;
  readonly #signature: Uint8Array;

  /**
   * @throws HawserError `BAD_CERTIFICATE` when it is not a whole list; a broken entry is found when entries are read
   */
  constructor(readonly der: Uint8Array) {
    const list = derElement(der, 0, der.length, SEQUENCE);
    const tbs = derElement(der, list.start, list.end, SEQUENCE);
    const walk = new DerWalk(der, tbs);
    if (walk.next === INTEGER) walk.take();
    const algorithm = walk.take(SEQUENCE);
    const issuer = walk.take(SEQUENCE);
    this.issuer = derNameKey(der, issuer);
    this.issuerDer = der.subarray(algorithm.end, issuer.end);
    this.thisUpdateMs = derTime(der, walk.take());
    this.nextUpdateMs = walk.next === UTC_TIME || walk.next === GENERALIZED_TIME ? derTime(der, walk.take()) : Infinity;
    this.#revoked = walk.next === SEQUENCE ? walk.take() : undefined;
    const extensions = walk.next === EXTENSIONS ? walk.take() : undefined;
    const all = extensions === undefined ? [] : derExtensions(der, derElement(der, extensions.start, extensions.end, SEQUENCE));
    const number = all.find(({ type }) => type === CRL_NUMBER)?.value;
    const point = all.find(({ type }) => type === ISSUING_POINT)?.value;
    const places = point && placesOf(der, derElement(der, point.start, point.end, SEQUENCE));
    this.places = places && new Set(places);
    this.isOrdinary = (point === undefined) === (places === undefined) && all.every((one) => !one.isCritical || one.type === ISSUING_POINT);
    this.number = number === undefined ? 0 : Number(`0x${derHex(der, derElement(der, number.start, number.end, INTEGER))}`);
    this.#signed = der.subarray(list.start, tbs.end);
    this.#algorithm = derElement(der, tbs.end, list.end, SEQUENCE);
    const signature = derElement(der, this.#algorithm.end, list.end, BIT_STRING);
    // The first byte counts unused bits, of which a signature has none.
    this.#signature = der.subarray(signature.start + 1, signature.end);
  }

  /** Reads the serial numbers of revoked certificates. Throws `BAD_CERTIFICATE`. */
  serials(): Set<string> {
    const serials = new Set<string>();
    for (const { serial } of this.#entries()) serials.add(serial);
    return serials;
  }

  /** Reads what is revoked, in the order of the list. Throws `BAD_CERTIFICATE`. */
  entries(): RevokedEntry[] {
    return Array.from(this.#entries(), ({ serial, rest }) => ({ serial, ...this.#detailsOf(rest) }));
  }

  /** Whether the owner of this key signed it, with SHA-256 or better. */
  isSignedBy(publicKey: KeyObject): boolean {
    const hash = this.#hash();
    if (hash === undefined) return false;
    try {
      const padding = hash.isPss ? { padding: 6 } : {};
      return verify(hash.name, this.#signed, { key: publicKey, dsaEncoding: "der", ...padding }, this.#signature);
    } catch {
      // A key of another kind than the algorithm's.
      return false;
    }
  }

  *#entries(): Generator<{ readonly serial: string; readonly rest: DerElement }> {
    const { der } = this;
    if (this.#revoked === undefined) return;
    const { start, end } = this.#revoked;
    for (let at = start; at < end;) {
      const entry = derElement(der, at, end, SEQUENCE);
      const serial = derElement(der, entry.start, entry.end, INTEGER);
      yield { serial: plainSerial(derHex(der, serial)), rest: { ...entry, start: serial.end } };
      at = entry.end;
    }
  }

  #detailsOf(rest: DerElement): Omit<RevokedEntry, "serial"> {
    const { der } = this;
    const date = derElement(der, rest.start, rest.end);
    const extensions = date.end < rest.end ? derElement(der, date.end, rest.end, SEQUENCE) : undefined;
    const reason = extensions && derExtensionIn(der, extensions, REASON_CODE);
    const code = reason && derElement(der, reason.start, reason.end, ENUMERATED);
    return { revokedAtMs: derTime(der, date), reasonCode: code === undefined ? 0 : (der[code.start] ?? 0) };
  }

  #hash(): { readonly name: string | null; readonly isPss: boolean } | undefined {
    const { der } = this;
    const walk = new DerWalk(der, this.#algorithm);
    const type = derHex(der, walk.take(OBJECT_ID));
    if (type !== RSA_PSS) return type in HASHES ? { name: HASHES[type] ?? null, isPss: false } : undefined;
    // RSASSA-PSS-params (RFC 4055 section 3.1): the hash stands in [0], and is SHA-1 where it does not.
    if (walk.next !== SEQUENCE) return undefined;
    const parameters = new DerWalk(der, walk.take());
    if (parameters.next !== 0xa0) return undefined;
    const { start, end } = parameters.take();
    const algorithm = derElement(der, start, end, SEQUENCE);
    const name = PSS_HASHES[derHex(der, derElement(der, algorithm.start, algorithm.end, OBJECT_ID))];
    return name === undefined ? undefined : { name, isPss: true };
  }
}

/** Where a certificate (DER) says that the list it is on can be found (RFC 5280 section 4.2.1.13). Throws `BAD_CERTIFICATE`. */
export function crlPlacesOf(certificate: Uint8Array): string[] {
  const value = derCertificateExtension(certificate, DISTRIBUTION_POINTS);
  if (value === undefined) return [];
  const points = new DerWalk(certificate, derElement(certificate, value.start, value.end, SEQUENCE));
  const places: string[] = [];
  while (points.next !== undefined) places.push(...(placesOf(certificate, points.take(SEQUENCE)) ?? []));
  return places;
}

/** The addresses of a distribution point; undefined where it says anything else, too, or nothing. */
function placesOf(der: Uint8Array, point: DerElement): string[] | undefined {
  const parts = new DerWalk(der, point);
  if (parts.next !== POINT) return undefined;
  const name = new DerWalk(der, parts.take());
  if (parts.next !== undefined || name.next !== FULL_NAME) return undefined;
  const names = new DerWalk(der, name.take());
  const places: string[] = [];
  while (names.next !== undefined) {
    const { tag, start, end } = names.take();
    if (tag === URI) places.push(Buffer.from(der.subarray(start, end)).toString("latin1"));
  }
  return places;
}

/**
 * A Name (RFC 5280 section 4.1.2.4) in a form to compare by: its types and values in their order. How a value is encoded does not count,
 * because an issuer may write its name as UTF8String in a certificate and as PrintableString in a list.
 * @throws HawserError `BAD_CERTIFICATE`
 */
export function derNameKey(der: Uint8Array, name: DerElement): string {
  const parts: string[] = [];
  const sets = new DerWalk(der, name);
  while (sets.next !== undefined) {
    const pairs = new DerWalk(der, sets.take(SET));
    while (pairs.next !== undefined) {
      const pair = new DerWalk(der, pairs.take(SEQUENCE));
      parts.push(`${derHex(der, pair.take())}=${derHex(der, pair.take())}`);
    }
    parts.push(";");
  }
  return parts.join("");
}

/** A serial number as the rest of the project writes it: hex, lower case, without leading zeros. */
export function plainSerial(text: string): string {
  return text.toLowerCase().replace(/^0+(?=.)/, "");
}
