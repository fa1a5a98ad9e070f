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
    if (anchors.some((anchor) => isIssuedBy(certificate, anchor))) return true;
    link = issuers.find((issuer) => isIssuedBy(certificate, issuer));
  }
  return false;
}

/** Whether `issuer` is a CA's certificate that signed `certificate`. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
