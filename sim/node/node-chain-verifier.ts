/** Judges this device's own certificates with Node's crypto, as the SDK's port asks for it. */
import { X509Certificate } from "node:crypto";
import type { ChainVerifier } from "../../sdk/platform.js";

/** No chain of ours is near this; it bounds the work on a bad one. */
const LONGEST_CHAIN = 8;

export const nodeChainVerifier: ChainVerifier = {
  leadsTo(chain, trustAnchors) {
    try {
      return isAnchored(read(chain), read(trustAnchors));
    } catch {
      return false;
    }
  },
};

function read(ders: readonly Uint8Array[]): X509Certificate[] {
  return ders.map((der) => new X509Certificate(der));
}

function isAnchored([leaf, ...issuers]: readonly X509Certificate[], anchors: readonly X509Certificate[]): boolean {
  let link = leaf;
  for (let depth = 0; link && depth < LONGEST_CHAIN; depth++) {
    const certificate = link;
    const mayVouch = (issuer: X509Certificate): boolean => isStrong(certificate, issuer) && isIssuedBy(certificate, issuer);
    if (anchors.some(mayVouch)) return true;
    link = issuers.find(mayVouch);
  }
  return false;
}

/** DER of the object identifiers of ECDSA and RSA signatures with SHA-1. */
const SHA1_SIGNATURES = ["06072a8648ce3d0401", "06092a864886f70d010105"].map((hex) => Buffer.from(hex, "hex"));

/** The keys and hashes that the engine on a chip takes (`firmware/native/tls-configure.c`). */
function isStrong({ raw }: X509Certificate, { publicKey }: X509Certificate): boolean {
  const { namedCurve = "", modulusLength = 0 } = publicKey.asymmetricKeyDetails ?? {};
  return (
    (namedCurve === "prime256v1" || namedCurve === "secp384r1" || modulusLength >= 2048) &&
    !SHA1_SIGNATURES.some((oid) => raw.includes(oid))
  );
}

/** Whether `issuer` is a CA's certificate that signed `certificate`. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
