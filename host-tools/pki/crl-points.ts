/**
 * Where a CA's revocation list is found by those who have only a certificate (RFC 5280 sections 4.2.1.13 and 5.2.5): one address for each
 * CA's key, below a base that the operator chooses. The path differs for each key because some caches go by the path alone (EMQX).
 */
import "reflect-metadata";
import { createHash } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { derOf } from "../../sim/node/der-writer.js";

const ISSUING_DISTRIBUTION_POINT = "2.5.29.28";

/** How a CA names its key: the subject key identifier of its certificate (DER), or what would be one, lower-case hex. */
export function keyIdOf(certificate: Uint8Array): string {
  const parsed = new x509.X509Certificate(new Uint8Array(certificate));
  const own = parsed.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  return own?.toLowerCase() ?? createHash("sha1").update(new Uint8Array(parsed.publicKey.rawData)).digest("hex");
}

/** Path of the list of the CA with this certificate (DER), below the base. */
export function crlPath(certificate: Uint8Array): string {
  return `/${keyIdOf(certificate)}.crl`;
}

export function distributionPoint(base: string, issuer: Uint8Array): x509.Extension {
  return new x509.CRLDistributionPointsExtension([`${base}${crlPath(issuer)}`]);
}

/**
 * Names all places a list has ever been found at: a list counts for a certificate whose own place is among them. Critical, as RFC 5280
 * wants it.
 */
export function issuingDistributionPoint(bases: readonly string[], issuer: Uint8Array): x509.Extension {
  const uris = bases.map((base) => derOf(0x86, Buffer.from(`${base}${crlPath(issuer)}`, "latin1")));
  const fullName = derOf(0xa0, Buffer.concat(uris));
  return new x509.Extension(ISSUING_DISTRIBUTION_POINT, true, derOf(0x30, derOf(0xa0, fullName)));
}
