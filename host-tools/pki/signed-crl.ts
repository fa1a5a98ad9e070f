/**
 * Revocation lists (RFC 5280 section 5) of a CA. The entries are written by hand: @peculiar/x509 compares each with all others, and cannot
 * read back more than 1,400.
 */
import { createHash, X509Certificate } from "node:crypto";
import { derKeyBits, derSubject } from "../../sim/node/der-reader.js";
import { derOf, derTimeOf, derUnsigned } from "../../sim/node/der-writer.js";
import { RevocationList, type RevokedEntry } from "../../sim/node/revocation-list.js";
import type { Issuer } from "./certificate-profiles.js";
import { derExtension, issuingDistributionPoint, publicKeyOf, subjectKeyId } from "./crl-distribution-points.js";
import { toPem } from "./pem.js";
import { REASON_CODES, REVOCATION_REASONS } from "./revocation-reasons.js";
import type { RevocationReason } from "./revocation-reasons.js";
import { keyTypeOf } from "./signer.js";
import { provenSignature } from "./signing-provider.js";

export interface RevokedSerial {
  readonly serial: string;
  readonly revokedAtMs: number;
  readonly reason: RevocationReason;
}

export interface CrlRequest {
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** A serial that comes twice counts once. */
  readonly revoked: readonly RevokedSerial[];
  /** Bases of all addresses in certificates that the list is for. Without them, it counts for certificates that name no place, too. */
  readonly crlBases?: readonly string[];
}

const [INTEGER, BIT_STRING, OCTET_STRING, ENUMERATED, SEQUENCE, EXTENSIONS] = [0x02, 0x03, 0x04, 0x0a, 0x30, 0xa0];
/** 2.5.29.21 with its tag */
const REASON_CODE = Buffer.from("0603551d15", "hex");
/** With their tags: 2.5.29.20, 2.5.29.35 */
const [CRL_NUMBER, AUTHORITY_KEY_IDENTIFIER] = ["0603551d14", "0603551d23"];
const KEY_IDENTIFIER = 0x80;
const VERSION_2 = derOf(INTEGER, Buffer.of(1));
/** Algorithm identifiers of ECDSA with the hash that goes with the curve (RFC 5758 section 3.2). */
const ALGORITHMS = { "P-256": "300a06082a8648ce3d040302", "P-384": "300a06082a8648ce3d040303" } as const;

/** A revocation list of `issuer`, as PEM. Throws what its signer throws. */
export async function makeCrl(issuer: Issuer, request: CrlRequest): Promise<string> {
  const spki = publicKeyOf(issuer.certificate);
  const algorithm = Buffer.from(ALGORITHMS[keyTypeOf(spki)], "hex");
  const extensions = [
    authorityKeyIdentifier(issuer.certificate, spki),
    derExtension(CRL_NUMBER, false, derUnsigned(bytesOf(request.number))),
    ...(request.crlBases === undefined ? [] : [issuingDistributionPoint(request.crlBases, issuer.certificate)]),
  ];
  const entries = [...new Map(request.revoked.map((one) => [one.serial, one])).values()].map(entryOf);
  const list = derOf(
    SEQUENCE,
    VERSION_2,
    algorithm,
    derSubject(issuer.certificate),
    derTimeOf(request.thisUpdateMs),
    derTimeOf(request.nextUpdateMs),
    // An empty list of entries is left out (section 5.1.2.6).
    ...(entries.length === 0 ? [] : [derOf(SEQUENCE, Buffer.concat(entries))]),
    derOf(EXTENSIONS, derOf(SEQUENCE, ...extensions)),
  );
  const signature = new Uint8Array(await provenSignature(issuer.signer, spki, new Uint8Array(list)));
  return toPem("X509 CRL", new Uint8Array(derOf(SEQUENCE, list, algorithm, derOf(BIT_STRING, Buffer.of(0), ecdsaValue(signature)))));
}

/** As the issuer's certificate names its key; else the hash of the key's bits (RFC 5280 section 4.2.1.2). */
function authorityKeyIdentifier(certificate: Uint8Array, spki: Uint8Array): Buffer {
  const keyId = subjectKeyId(certificate) ?? createHash("sha1").update(derKeyBits(spki)).digest();
  return derExtension(AUTHORITY_KEY_IDENTIFIER, false, derOf(SEQUENCE, derOf(KEY_IDENTIFIER, keyId)));
}

function entryOf({ serial, revokedAtMs, reason }: RevokedSerial): Buffer {
  const number = derUnsigned(Buffer.from(serial.padStart(serial.length + (serial.length % 2), "0"), "hex"));
  // The code "unspecified" should be left out (section 5.3.1).
  if (reason === "unspecified") return derOf(SEQUENCE, number, derTimeOf(revokedAtMs));
  const extension = derOf(SEQUENCE, REASON_CODE, derOf(OCTET_STRING, derOf(ENUMERATED, Buffer.of(REASON_CODES[reason]))));
  return derOf(SEQUENCE, number, derTimeOf(revokedAtMs), derOf(SEQUENCE, extension));
}

/** Ecdsa-Sig-Value (RFC 3279 section 2.2.3) of r and s side by side. */
function ecdsaValue(signature: Uint8Array): Buffer {
  const half = signature.length / 2;
  return derOf(SEQUENCE, derUnsigned(signature.subarray(0, half)), derUnsigned(signature.subarray(half)));
}

/** Big-endian bytes of a number below 2^53. */
function bytesOf(value: number): Uint8Array {
  const text = value.toString(16);
  return Buffer.from(text.padStart(text.length + (text.length % 2), "0"), "hex");
}

/** A revocation list with its number (section 5.2.3; 0 where it has none) and what it revokes. */
export interface ReadCrl {
  readonly number: number;
  readonly revoked: readonly RevokedSerial[];
}

/**
 * The list when one of `issuers` signed it (certificates, DER); undefined when none did.
 * @throws HawserError `BAD_CERTIFICATE`
 */
export function openCrl(der: Uint8Array, issuers: readonly Uint8Array[]): ReadCrl | undefined {
  const list = new RevocationList(der);
  if (!issuers.some((issuer) => list.isSignedBy(new X509Certificate(issuer).publicKey))) return undefined;
  return { number: list.number, revoked: list.entries().map(revokedSerial) };
}

function revokedSerial({ serial, revokedAtMs, reasonCode }: RevokedEntry): RevokedSerial {
  return { serial, revokedAtMs, reason: REVOCATION_REASONS.find((name) => REASON_CODES[name] === reasonCode) ?? "unspecified" };
}
