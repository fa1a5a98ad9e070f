/**
 * Where a CA's revocation list is found by those who have only a certificate (RFC 5280 sections 4.2.1.13 and 5.2.5): one address for each
 * CA's key, below a base that the operator chooses. The path differs for each key because some caches go by the path alone (EMQX).
 */
import { createHash } from "node:crypto";
import { certificateParts, derElement } from "../../sdk/identity/certificate.js";
import { derCertificateExtension } from "../../sim/node/der-reader.js";
import { derOf } from "../../sim/node/der-writer.js";

const [BOOLEAN, OCTET_STRING, SEQUENCE] = [0x01, 0x04, 0x30];
/** 2.5.29.14, to be looked for; 2.5.29.28 with its tag, to be written */
const [SUBJECT_KEY_IDENTIFIER, ISSUING_DISTRIBUTION_POINT] = ["551d0e", "0603551d1c"];

/** How a CA names its key: the subject key identifier of its certificate (DER), or what would be one, lower-case hex. */
export function keyIdOf(certificate: Uint8Array): string {
  const own = subjectKeyId(certificate);
  return own === undefined ? createHash("sha1").update(publicKeyOf(certificate)).digest("hex") : Buffer.from(own).toString("hex");
}

/** DER SubjectPublicKeyInfo. Throws `BAD_CERTIFICATE`. */
export function publicKeyOf(certificate: Uint8Array): Uint8Array {
  const { publicKeyStart, publicKey } = certificateParts(certificate);
  return certificate.subarray(publicKeyStart, publicKey.end);
}

/** The subject key identifier of a certificate (RFC 5280 section 4.2.1.2), where it has one. Throws `BAD_CERTIFICATE`. */
export function subjectKeyId(certificate: Uint8Array): Uint8Array | undefined {
  const value = derCertificateExtension(certificate, SUBJECT_KEY_IDENTIFIER);
  const keyId = value && derElement(certificate, value.start, value.end, OCTET_STRING);
  return keyId && certificate.subarray(keyId.start, keyId.end);
}

/** @param type with its tag, hex */
export function derExtension(type: string, isCritical: boolean, value: Uint8Array): Buffer {
  const critical = isCritical ? [derOf(BOOLEAN, Buffer.of(0xff))] : [];
  return derOf(SEQUENCE, Buffer.from(type, "hex"), ...critical, derOf(OCTET_STRING, value));
}

/** Path of the list of the CA with this certificate (DER), below the base. */
export function crlPath(certificate: Uint8Array): string {
  return `/${keyIdOf(certificate)}.crl`;
}

/**
 * An extension that names all places a list has ever been found at: a list counts for a certificate whose own place is among them.
 * Critical, as RFC 5280 wants it.
 */
export function issuingDistributionPoint(bases: readonly string[], issuer: Uint8Array): Buffer {
  const uris = bases.map((base) => derOf(0x86, Buffer.from(`${base}${crlPath(issuer)}`, "latin1")));
  const fullName = derOf(0xa0, Buffer.concat(uris));
  return derExtension(ISSUING_DISTRIBUTION_POINT, true, derOf(SEQUENCE, derOf(0xa0, fullName)));
}
