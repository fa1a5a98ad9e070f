/** An opened CA from the inside: what every operation on it needs. */
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { unseal } from "../../sim/node/vault/sealed.js";
import type { CertificateRecord } from "../ca-directory/registry-entry.js";
import { makeCertificate, validityFrom } from "../pki/certificate-profiles.js";
import type { Issuer, Profile } from "../pki/certificate-profiles.js";
import { hashOfPublicKey } from "../pki/certificate-request.js";
import type { CaDirectory } from "../ca-directory/ca-directory.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import { FILES, SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import { fromPem, toPem } from "../pki/pem.js";
import type { CaRecord } from "../ca-directory/ca-record.js";
import { AbsentRoot, OFFLINE, PARENT } from "./absent-root.js";
import { signerFromPkcs8 } from "../pki/signer.js";
import type { Signer, SignerFor } from "../pki/signer.js";
import type { CaStore } from "../ca-directory/ca-store.js";

export interface CaKeys {
  readonly root: Issuer;
  readonly issuing: Issuer;
  /** Certificates between issuing CA and root, from below, where another PKI is the parent. */
  readonly uppers?: readonly Uint8Array[];
  /** The issuing CA before, during a rollover. */
  readonly previous?: Issuer;
  /** The root before, during a rollover of the root. */
  readonly previousRoot?: Issuer;
  /**
   * Certificates of this root's key, and of those before it, each signed by the root before: newest first. Who trusts only an earlier root
   * believes this one by them.
   */
  readonly rootLinks?: readonly Uint8Array[];
  /** Base of the address of revocation lists, for new certificates. */
  readonly crlBase?: string;
  /** Opens and seals PSKs and key files. */
  readonly sealing: Buffer;
}

export interface CaContext {
  readonly directory: CaDirectory;
  readonly record: CaRecord;
  readonly keys: CaKeys;
  readonly store: CaStore;
  /** Finds keys that are kept elsewhere. */
  readonly signerFor: SignerFor;
}

/**
 * Reads the CA's certificates and unseals its keys; each pair is proved to belong together. Of a key that is kept elsewhere, the sealed
 * file holds the reference: it is proved by each of its signatures.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export async function readKeys(files: CaFiles, record: CaRecord, sealing: Buffer, signerFor: SignerFor): Promise<CaKeys> {
  return {
    ...crlBaseOf(record),
    root: await readIssuer(files, FILES.root, FILES.rootKey, sealing, signerFor),
    issuing: await readIssuer(files, FILES.issuing, FILES.issuingKey, sealing, signerFor),
    ...(files.has(FILES.upper) ? { uppers: readCertificates(files, FILES.upper) } : {}),
    ...(files.has(FILES.previous) ? { previous: await readIssuer(files, FILES.previous, FILES.previousKey, sealing, signerFor) } : {}),
    ...(files.has(FILES.previousRoot)
      ? { previousRoot: await readIssuer(files, FILES.previousRoot, FILES.previousRootKey, sealing, signerFor) }
      : {}),
    ...(files.has(FILES.rootLinks) ? { rootLinks: readCertificates(files, FILES.rootLinks) } : {}),
    sealing,
  };
}

/** Of new certificates, as a part of {@link CaKeys} or of a certificate's request. */
export function crlBaseOf({ crlPlaces }: Pick<CaRecord, "crlPlaces">): { readonly crlBase?: string } {
  const crlBase = crlPlaces?.bases[0];
  return crlBase === undefined ? {} : { crlBase };
}

async function readIssuer(
  files: CaFiles,
  certificateFile: string,
  keyFile: string,
  sealing: Buffer,
  signerFor: SignerFor,
): Promise<Issuer> {
  const certificate = readCertificates(files, certificateFile)[0];
  if (certificate === undefined) throw files.directory.corrupt(certificateFile, "it is empty");
  const key = readSealedKey(files, keyFile, sealing);
  try {
    if (!isReference(key) && !keyMatches(new X509Certificate(certificate).publicKey, key))
      throw files.directory.corrupt(certificateFile, `it does not belong to ${keyFile}`);
    return { certificate, signer: await signerOf(certificate, key, signerFor) };
  } finally {
    key.fill(0);
  }
}

/** @param key PKCS#8, or a reference */
export async function signerOf(certificate: Uint8Array, key: Buffer, signerFor: SignerFor): Promise<Signer> {
  return signerOfKey(new Uint8Array(new X509Certificate(certificate).publicKey.export({ format: "der", type: "spki" })), key, signerFor);
}

/** @param spki the public key that belongs to it, DER */
export async function signerOfKey(spki: Uint8Array, key: Buffer, signerFor: SignerFor): Promise<Signer> {
  if (!isReference(key)) return signerFromPkcs8(key, spki);
  const reference = key.toString("utf8");
  return reference === OFFLINE || reference === PARENT ? new AbsentRoot(spki, reference) : signerFor(reference);
}

function keyMatches(publicKey: KeyObject, pkcs8: Buffer): boolean {
  return publicKey.equals(createPublicKey(createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })));
}

/** PKCS#8 is a SEQUENCE; a reference is the text of a URI. */
function isReference(key: Buffer): boolean {
  return key[0] !== 0x30;
}

/** Whether the key in this file is kept elsewhere. Throws `CA_CORRUPT`. */
export function isKeptElsewhere(files: CaFiles, file: string, sealing: Buffer): boolean {
  const key = readSealedKey(files, file, sealing);
  const answer = isReference(key);
  key.fill(0);
  return answer;
}

/** PKCS#8, or the reference of a key that is kept elsewhere; the caller wipes it. Throws `CA_CORRUPT`. */
export function readSealedKey(files: CaFiles, file: string, sealing: Buffer): Buffer {
  try {
    return unseal(sealing, files.read(file), SEAL_PURPOSE.key(file));
  } catch (error) {
    if (error instanceof HawserError && error.code === "SEAL_BROKEN") throw files.directory.corrupt(file, "its seal is broken");
    throw error;
  }
}

/** The certificates of a PEM file, DER, at least one. Throws `CA_CORRUPT`. */
export function readCertificates(files: CaFiles, file: string): Uint8Array[] {
  const text = files.read(file).toString("utf8");
  try {
    const certificates = fromPem("CERTIFICATE", text);
    for (const der of certificates) new X509Certificate(der);
    if (certificates.length > 0 && text.endsWith("-----END CERTIFICATE-----\n")) return certificates;
  } catch {
    // Falls through: whatever is wrong in there, the file is not what it was.
  }
  throw files.directory.corrupt(file, "it holds no complete certificate");
}

/** X.509 counts in seconds. */
const MIN_LIFETIME_MS = 1000;

export interface IssuedCertificate {
  readonly record: CertificateRecord;
  readonly der: Uint8Array;
}

/**
 * A certificate from the issuing CA, not recorded anywhere yet.
 *
 * @param lifetimeMs from now; cut short where the issuing CA itself ends
 * @throws HawserError `ISSUER_EXPIRED`, `BAD_DURATION`
 */
export async function issueLeaf(
  keys: CaKeys,
  commonName: string,
  publicKey: Uint8Array,
  profile: Profile,
  nowMs: number,
  lifetimeMs: number,
): Promise<IssuedCertificate> {
  if (!(lifetimeMs >= MIN_LIFETIME_MS))
    throw new HawserError("BAD_DURATION", `a certificate cannot live for ${lifetimeMs} ms`, "Give at least one second.");
  const limitMs = Date.parse(new X509Certificate(keys.issuing.certificate).validTo);
  if (limitMs <= nowMs) throw new HawserError("ISSUER_EXPIRED", "the issuing CA has expired", "Run: hawser ca rollover");
  const validity = validityFrom(nowMs, lifetimeMs, limitMs);
  const { der, serial } = await makeCertificate(
    { commonName, publicKey, profile, validity, ...(keys.crlBase === undefined ? {} : { crlBase: keys.crlBase }) },
    keys.issuing,
  );
  const record = {
    serial,
    ...wholeSeconds(validity),
    status: "active" as const,
    publicKeyHash: hashOfPublicKey(publicKey),
    der: Buffer.from(der).toString("base64"),
  };
  return { record, der };
}

/** X.509 knows seconds only: what is recorded has to be what the certificate says. */
function wholeSeconds({ notBeforeMs, notAfterMs }: { notBeforeMs: number; notAfterMs: number }): {
  notBeforeMs: number;
  notAfterMs: number;
} {
  return { notBeforeMs: Math.floor(notBeforeMs / 1000) * 1000, notAfterMs: Math.floor(notAfterMs / 1000) * 1000 };
}

export function isIssuedBy(leaf: Uint8Array, issuer: Uint8Array): boolean {
  return new X509Certificate(leaf).checkIssued(new X509Certificate(issuer));
}

/** Leaf and issuing CA, and what is between that and a parent's root: what a device or client shows. */
export function chainOf(keys: CaKeys, leaf: Uint8Array): Uint8Array[] {
  const isOfPrevious = keys.previous !== undefined && isIssuedBy(leaf, keys.previous.certificate);
  return [leaf, (isOfPrevious && keys.previous !== undefined ? keys.previous : keys.issuing).certificate, ...(keys.uppers ?? [])];
}

/** The roots to trust, DER, newest first: two during a rollover of the root. */
export function anchorsOf({ root, previousRoot }: Pick<CaKeys, "root" | "previousRoot">): Uint8Array[] {
  return [root.certificate, ...(previousRoot === undefined ? [] : [previousRoot.certificate])];
}

/** Roots further back are not carried along: with leaf and issuing CA, four certificates are what a device takes in one answer. */
const LINKS_SHOWN = 2;

/** What goes behind a chain of this root, for who trusts only an earlier one. */
export function linksOf({ rootLinks = [] }: CaKeys, nowMs: number): Uint8Array[] {
  return rootLinks.filter((der) => Date.parse(new X509Certificate(der).validTo) > nowMs).slice(0, LINKS_SHOWN);
}

export function pemChain(certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => toPem("CERTIFICATE", der)).join("");
}
