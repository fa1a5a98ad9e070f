/** Certificates, keys and revocation lists in PEM files: what the checks need to know of them. */
// @peculiar/x509 builds on tsyringe, which fails to load without this.
import "reflect-metadata";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import * as x509 from "@peculiar/x509";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { readText } from "./mosquitto/conf-reader.js";

export interface CertificateFacts {
  /** In RFC 2253 form, comparable with `RevocationFacts.issuer`. */
  readonly subject: string;
  readonly issuer: string;
  readonly commonName: string;
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly isCa: boolean;
  readonly isSelfIssued: boolean;
  /** DNS and IP names of subjectAltName. */
  readonly names: readonly string[];
  /** What is weak about its key or signature. */
  readonly weakness?: string;
  readonly fingerprint: string;
  readonly certificate: X509Certificate;
}

export interface RevocationFacts {
  readonly issuer: string;
  readonly nextUpdateMs: number | undefined;
  /** Hex, lower case, without leading zeros. */
  readonly serials: ReadonlySet<string>;
}

export function certificateFacts(pemOrDer: string | Buffer): CertificateFacts {
  const certificate = new X509Certificate(pemOrDer);
  const parsed = new x509.X509Certificate(new Uint8Array(certificate.raw));
  const weakness = weaknessOf(certificate, parsed);
  return {
    subject: parsed.subject,
    issuer: parsed.issuer,
    commonName: parsed.subjectName.getField("CN")[0] ?? parsed.subject,
    serial: bareSerial(parsed.serialNumber),
    notBeforeMs: parsed.notBefore.getTime(),
    notAfterMs: parsed.notAfter.getTime(),
    isCa: certificate.ca,
    isSelfIssued: parsed.subject === parsed.issuer,
    names: [...(certificate.subjectAltName ?? "").matchAll(/(?:DNS|IP Address):([^,\s]+)/g)].map((match) =>
      (match[1] ?? "").replaceAll('"', ""),
    ),
    ...(weakness === undefined ? {} : { weakness }),
    fingerprint: certificate.fingerprint256,
    certificate,
  };
}

/** All certificates of a PEM file; undefined when the file holds none or a broken one. */
export function certificatesOf(pem: string): CertificateFacts[] | undefined {
  const blocks = pem.match(/-----BEGIN (TRUSTED )?CERTIFICATE-----[^-]+-----END (TRUSTED )?CERTIFICATE-----/g) ?? [];
  try {
    return blocks.length === 0 ? undefined : blocks.map((block) => certificateFacts(block));
  } catch {
    return undefined;
  }
}

/** The authorities of a directory in `openssl rehash` form: OpenSSL looks at `<hash>.<n>` names alone. */
export function certificatesOfDirectory(directory: string): CertificateFacts[] | undefined {
  try {
    const found = new Map<string, CertificateFacts>();
    for (const name of readdirSync(directory).filter((entry) => /^[0-9a-f]{8}\.\d+$/.test(entry))) {
      for (const facts of certificatesOf(readText(join(directory, name)) ?? "") ?? []) found.set(facts.fingerprint, facts);
    }
    return [...found.values()];
  } catch {
    return undefined;
  }
}

/** Bits of the prime of a Diffie-Hellman group in PEM (PKCS #3 or X9.42); undefined when the file holds none. */
export function groupBitsOf(pem: string): number | undefined {
  const body = /-----BEGIN (?:X9\.42 )?DH PARAMETERS-----([^-]+)-----END/.exec(pem)?.[1];
  const der = Buffer.from(body ?? "", "base64");
  // SEQUENCE { INTEGER prime, ... }
  const prime = der[0] === 0x30 ? valueAt(der, valueAt(der, 0)?.start ?? der.length) : undefined;
  if (prime === undefined || der[prime.at] !== 0x02) return undefined;
  const digits = der
    .subarray(prime.start, prime.start + prime.length)
    .toString("hex")
    .replace(/^0+/, "");
  return digits === "" ? undefined : digits.length * 4 - (Math.clz32(Number.parseInt(digits.slice(0, 1), 16)) - 28);
}

/** Where a DER value begins, and how long it is. */
function valueAt(der: Buffer, at: number): { at: number; start: number; length: number } | undefined {
  const first = der[at + 1];
  if (first === undefined) return undefined;
  if (first < 0x80) return { at, start: at + 2, length: first };
  const lengthBytes = first & 0x7f;
  if (lengthBytes === 0 || lengthBytes > 4 || at + 2 + lengthBytes > der.length) return undefined;
  return { at, start: at + 2 + lengthBytes, length: der.readUIntBE(at + 2, lengthBytes) };
}

export function revocationListsOf(pem: string): RevocationFacts[] | undefined {
  const blocks = pem.match(/-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/g) ?? [];
  try {
    return blocks.length === 0 ? undefined : blocks.map(revocationFacts);
  } catch {
    return undefined;
  }
}

function revocationFacts(block: string): RevocationFacts {
  const list = new RevocationList(Buffer.from(block.replace(/-----[^-]+-----/g, ""), "base64"));
  return {
    issuer: new x509.Name(new Uint8Array(list.issuerDer)).toString(),
    nextUpdateMs: Number.isFinite(list.nextUpdateMs) ? list.nextUpdateMs : undefined,
    serials: list.serials(),
  };
}

/** @returns why a broker cannot use the key with this certificate; undefined when it can */
export function keyProblem(certificate: X509Certificate, keyPem: string): "another" | "encrypted" | "no key" | undefined {
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(keyPem)) return "encrypted";
  try {
    return certificate.checkPrivateKey(createPrivateKey(keyPem)) ? undefined : "another";
  } catch {
    return "no key";
  }
}

function weaknessOf(certificate: X509Certificate, parsed: x509.X509Certificate): string | undefined {
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
  const bits = asymmetricKeyDetails?.modulusLength;
  if ((asymmetricKeyType === "rsa" || asymmetricKeyType === "dsa") && bits !== undefined && bits < 2048)
    return `its ${asymmetricKeyType.toUpperCase()} key has only ${bits} bits`;
  const { hash } = parsed.signatureAlgorithm as { hash?: { name?: string } };
  const isRoot = parsed.subject === parsed.issuer && certificate.ca;
  if (!isRoot && /^(SHA-?1|MD5)$/i.test(hash?.name ?? "")) return `it is signed with ${hash?.name ?? ""}`;
  const curve = asymmetricKeyDetails?.namedCurve ?? "";
  return /^(secp|prime)(1[0-9]{2}|160|192|224)/.test(curve) ? `its curve ${curve} is too small` : undefined;
}

function bareSerial(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, "");
}

let publicRoots: ReadonlySet<string> | undefined;

/** An authority that issues to the public: one of the roots every browser trusts, or one that says so. */
export function isPublicAuthority({ fingerprint, subject }: CertificateFacts): boolean {
  publicRoots ??= new Set(rootCertificates.map((pem) => new X509Certificate(pem).fingerprint256));
  return (
    publicRoots.has(fingerprint) ||
    /\bpublic\b|let's encrypt|\bISRG\b|digicert|globalsign|sectigo|comodo|godaddy|entrust|amazon root|google trust/i.test(subject)
  );
}

/** The mode bits others have on a file; undefined when it cannot be looked at, or on a system without modes. */
export function othersMayRead(path: string): boolean | undefined {
  if (process.platform === "win32") return undefined;
  try {
    return (statSync(path).mode & 0o004) !== 0;
  } catch {
    return undefined;
  }
}
