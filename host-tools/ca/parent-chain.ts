/**
 * An issuing CA under another PKI: its request (PKCS#10), and the chain and revocation lists that come back, all checked before anything is
 * made of them.
 */
import { X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type * as X509 from "@peculiar/x509";
import { HawserError } from "../../sdk/errors.js";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { fromPem, toPem } from "../pki/pem.js";
import { CURVES, keyTypeOf, nodeCrypto } from "../pki/signer.js";
import type { Signer } from "../pki/signer.js";
import { signingProvider } from "../pki/signing-provider.js";
import { loadX509 } from "../pki/x509-library.js";
import type { X509Library } from "../pki/x509-library.js";

/** A device's enrolment takes four certificates: its own, the issuing CA's, and two between that and the root. */
const MOST_UPPERS = 2;

export interface ParentChain {
  /** DER. */
  readonly issuing: Uint8Array;
  /** CAs between the issuing CA and the root, from below. */
  readonly uppers: readonly Uint8Array[];
  readonly root: Uint8Array;
  /** PEM: a list of each CA above the issuing one. */
  readonly lists: string;
}

/** What came from the parent, in whatever files. */
export interface ParentAnswer {
  readonly certificates: readonly Uint8Array[];
  readonly lists: readonly Uint8Array[];
}

/** A PKCS#10 request for an issuing CA, PEM. */
export async function issuingRequest(commonName: string, signer: Signer): Promise<string> {
  const spki = await signer.publicKey();
  const x509 = await loadX509();
  const { crypto, signingKey, signingAlgorithm } = signingProvider(signer, spki);
  const publicKey = await nodeCrypto.subtle.importKey("spki", new Uint8Array(spki), { name: "ECDSA", namedCurve: keyTypeOf(spki) }, true, [
    "verify",
  ]);
  const { keyCertSign, cRLSign } = x509.KeyUsageFlags;
  const extensions = [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(keyCertSign | cRLSign, true)];
  const name = new x509.Name([{ CN: [commonName] }]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    { name, keys: { privateKey: signingKey, publicKey }, signingAlgorithm, extensions },
    crypto,
  );
  return toPem("CERTIFICATE REQUEST", new Uint8Array(request.rawData));
}

/** Certificates and revocation lists of a file, PEM or DER. Throws `PARENT_CHAIN_INVALID`. */
export function readParentFile(bytes: Uint8Array, name: string): ParentAnswer {
  const text = Buffer.from(bytes).toString("latin1");
  if (text.includes("-----BEGIN PKCS7-----")) throw invalid(`${name} is PKCS#7`, `Convert it: openssl pkcs7 -print_certs -in ${name}`);
  try {
    if (text.includes("-----BEGIN ")) return readPemAnswer(text);
  } catch {
    throw invalid(`${name} holds a damaged certificate or revocation list`);
  }
  if (parses(() => new X509Certificate(bytes))) return { certificates: [bytes], lists: [] };
  if (parses(() => new RevocationList(bytes))) return { certificates: [], lists: [bytes] };
  throw invalid(`${name} is neither a certificate nor a revocation list, in PEM or DER`);
}

/** All certificates and revocation lists of a text, in PEM. Throws what the parsers throw where one is damaged. */
export function readPemAnswer(text: string): ParentAnswer {
  const [certificates, lists] = [fromPem("CERTIFICATE", text), fromPem("X509 CRL", text)];
  for (const der of certificates) new X509Certificate(der);
  for (const der of lists) new RevocationList(der);
  return { certificates, lists };
}

function parses(read: () => unknown): boolean {
  try {
    return read() !== undefined;
  } catch {
    return false;
  }
}

/**
 * The chain from the issuing CA's key to a self-signed root, and the lists of the CAs in it.
 *
 * @param publicKey of the issuing CA, DER SubjectPublicKeyInfo
 * @throws HawserError `PARENT_CHAIN_INVALID` saying what is missing or wrong, and at which certificate
 */
export async function checkParentChain({ certificates, lists }: ParentAnswer, publicKey: Uint8Array, nowMs: number): Promise<ParentChain> {
  const all = certificates.map((der) => new X509Certificate(der));
  const issuing = all.find((one) => Buffer.from(publicKey).equals(one.publicKey.export({ format: "der", type: "spki" })));
  if (issuing === undefined)
    throw invalid(
      "none of the certificates has the key of this CA's request",
      "Give the certificate that the parent made from the request.",
    );
  const chain = [issuing];
  for (let last = issuing; !isSelfSigned(last);) {
    const found = all.find((one) => one !== last && last.checkIssued(one) && last.verify(one.publicKey));
    if (found === undefined || chain.includes(found))
      throw invalid(
        `the issuer of ${name(last)} is missing: ${oneLine(last.issuer)}`,
        "Add its certificate: --chain may be repeated. The root belongs to it.",
      );
    chain.push(found);
    last = found;
  }
  if (chain.length < 2) throw invalid(`${name(issuing)} is signed by its own key`, "Have the parent sign the request.");
  if (chain.length > 2 + MOST_UPPERS)
    throw invalid(
      `there are ${chain.length - 2} CAs between the issuing CA and the root; devices take ${MOST_UPPERS}`,
      "Have a CA closer to the root sign the request.",
    );
  const x509 = await loadX509();
  chain.forEach((certificate, below) => checkCa(x509, certificate, below, nowMs));
  const [, ...above] = chain;
  const listsPem = above.map((ca) => newestList(ca, lists, nowMs));
  const ders = chain.map(({ raw }) => new Uint8Array(raw));
  return {
    issuing: ders[0] ?? new Uint8Array(),
    uppers: ders.slice(1, -1),
    root: ders.at(-1) ?? new Uint8Array(),
    lists: listsPem.join(""),
  };
}

/** @param below how many CAs are under it (RFC 5280 section 4.2.1.9) */
function checkCa(x509: X509Library, certificate: X509Certificate, below: number, nowMs: number): void {
  const parsed = new x509.X509Certificate(new Uint8Array(certificate.raw));
  const [constraints, usages, extended] = [
    parsed.getExtension(x509.BasicConstraintsExtension),
    parsed.getExtension(x509.KeyUsagesExtension),
    parsed.getExtension(x509.ExtendedKeyUsageExtension),
  ];
  const { keyCertSign, cRLSign } = x509.KeyUsageFlags;
  const at = name(certificate);
  if (constraints?.ca !== true)
    throw invalid(`${at} is not the certificate of a CA`, "Have the parent use its template for a subordinate CA.");
  if (constraints.pathLength !== undefined && constraints.pathLength < below)
    throw invalid(`${at} allows ${constraints.pathLength} CAs below it, and there are ${below}`);
  const needed = below === 0 ? keyCertSign | cRLSign : keyCertSign;
  if (usages !== null && (usages.usages & needed) !== needed)
    throw invalid(`the key usage of ${at} does not allow to sign certificates${below === 0 ? " and revocation lists" : ""}`);
  const purposes = [x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth];
  if (extended !== null && !purposes.every((purpose) => extended.usages.includes(purpose)) && !extended.usages.includes("2.5.29.37.0"))
    throw invalid(`the extended key usage of ${at} excludes clients or servers`);
  const understood = ["2.5.29.19", "2.5.29.15", "2.5.29.37"];
  const strange = parsed.extensions.find(({ critical, type }) => critical && !understood.includes(type));
  if (strange !== undefined)
    throw invalid(
      `${at} has the critical extension ${strange.type}, which devices do not understand`,
      "Have it issued without, or not critical.",
    );
  if (Date.parse(certificate.validTo) <= nowMs || Date.parse(certificate.validFrom) > nowMs) throw invalid(`${at} is not valid now`);
  checkStrength(certificate.publicKey, at);
  if (below > 0 || !isSelfSigned(certificate)) checkHash(parsed, at);
}

/** What the TLS engine of a device can check. */
function checkStrength({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject, at: string): void {
  const { modulusLength = 0, namedCurve = "" } = asymmetricKeyDetails ?? {};
  const isRsa = asymmetricKeyType === "rsa" && modulusLength >= 2048 && modulusLength <= 4096;
  if (isRsa || Object.values(CURVES).some(({ openssl }) => openssl === namedCurve)) return;
  throw invalid(
    `the key of ${at} is ${asymmetricKeyType ?? "unknown"} ${namedCurve || modulusLength || ""}; devices check RSA of 2048 to 4096 bits, P-256 and P-384`,
  );
}

function checkHash({ signatureAlgorithm }: X509.X509Certificate, at: string): void {
  const hash = (signatureAlgorithm as { hash?: { name?: string } | string }).hash;
  const hashName = typeof hash === "string" ? hash : (hash?.name ?? "");
  if (!/^SHA-(256|384|512)$/.test(hashName))
    throw invalid(`${at} is signed with ${hashName || "an unknown hash"}`, "Have it issued with SHA-256 or better.");
}

/** The newest list of a CA, PEM. */
export function newestList(ca: X509Certificate, lists: readonly Uint8Array[], nowMs: number): string {
  let newest: RevocationList | undefined;
  for (const der of lists) {
    const list = new RevocationList(der);
    if (list.isSignedBy(ca.publicKey) && (newest === undefined || list.thisUpdateMs > newest.thisUpdateMs)) newest = list;
  }
  if (newest === undefined)
    throw invalid(
      `there is no revocation list of ${name(ca)}`,
      "Give it with --crl: brokers that check the whole chain refuse everybody without it.",
    );
  if (newest.nextUpdateMs === Infinity)
    throw invalid(`the revocation list of ${name(ca)} does not say when the next one comes`, "Have it made with a date for that.");
  if (newest.nextUpdateMs <= nowMs) throw invalid(`the revocation list of ${name(ca)} has expired`, "Fetch a fresh one.");
  return toPem("X509 CRL", newest.der);
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey);
}

function name({ subject }: X509Certificate): string {
  return oneLine(subject);
}

function oneLine(dn: string): string {
  return dn.replaceAll("\n", ", ");
}

export function invalid(why: string, next = "Ask whoever runs the parent PKI for another."): HawserError {
  return new HawserError("PARENT_CHAIN_INVALID", `what came from the parent PKI cannot be used: ${why}`, next);
}
