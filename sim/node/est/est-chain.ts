/** The chain that a device is to show, put together from what an EST server hands out: it issues the certificate alone (section 4.2.3). */
import { X509Certificate } from "node:crypto";
import { HawserError } from "../../../sdk/errors.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { isIssuedBy } from "../node-chain-verifier.js";
import { badAnswer } from "./est-errors.js";

/** Brokers and the engine on a chip take no more. */
const LONGEST_CHAIN = 4;

/**
 * The certificate for the request's key, and the CAs above it. The root is left out, except where it has issued the certificate itself: a
 * device takes a renewed certificate only from a CA of the chain that it has, or from a trust anchor.
 * @param issued what came with the certificate, in any order
 * @param csr PKCS#10, DER
 * @throws HawserError `KEY_MISMATCH`, `EST_ANSWER_INVALID`
 */
export function chainFor(csr: Uint8Array, issued: readonly Uint8Array[], caCertificates: readonly Uint8Array[]): Uint8Array[] {
  const leaf = issued.find((der) => isForKeyOf(csr, der));
  if (leaf === undefined) {
    throw new HawserError(
      "KEY_MISMATCH",
      "the EST server handed out a certificate for another key than the device's",
      "Find out whom the EST server takes this device for.",
    );
  }
  const pool = [...issued.filter((der) => der !== leaf), ...caCertificates].map(parse);
  const chain = [parse(leaf)];
  while (chain.length < LONGEST_CHAIN) {
    const last = chain.at(-1) as X509Certificate;
    const issuer = pool.find((one) => !chain.includes(one) && isIssuedBy(last, one));
    if (issuer === undefined || (isRoot(issuer) && chain.length > 1)) break;
    chain.push(issuer);
    if (isRoot(issuer)) break;
  }
  return chain.map(({ raw }) => new Uint8Array(raw));
}

/** Those that are signed by their own key. */
export function rootsOf(caCertificates: readonly Uint8Array[]): Uint8Array[] {
  return caCertificates.filter((der) => isRoot(parse(der)));
}

/** The request has the complete SubjectPublicKeyInfo, which no other key shares. */
function isForKeyOf(csr: Uint8Array, der: Uint8Array): boolean {
  try {
    return Buffer.from(csr).includes(Buffer.from(readCertificate(der).publicKey));
  } catch {
    return false;
  }
}

function isRoot(certificate: X509Certificate): boolean {
  return isIssuedBy(certificate, certificate);
}

function parse(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (error) {
    throw badAnswer("has a certificate that cannot be read", error);
  }
}
