/**
 * The certificates and revocation lists of Hawser: their profiles (RFC 5280), and nothing about where they are kept. Keys are P-256, those
 * of CAs
 * P-384 if asked; signatures are ECDSA with the hash that goes with the curve.
 */
// @peculiar/x509 builds on tsyringe, which fails to load without this.
import "reflect-metadata";
import { randomBytes } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { distributionPoint, issuingDistributionPoint } from "./crl-points.js";
import { toPem } from "./pem.js";
import { REVOCATION_REASONS } from "./revocation-reasons.js";
import type { RevocationReason } from "./revocation-reasons.js";
import { nodeCrypto } from "./signer.js";
import type { Signer } from "./signer.js";
import { signingProvider } from "./signing-provider.js";

/** What a certificate is for. `client`: devices and other clients alike. */
export type Profile = { kind: "root" } | { kind: "issuing" } | { kind: "client" } | { kind: "broker"; hosts: readonly string[] };

export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** The issuer's certificate (DER) and its key. */
export interface Issuer {
  readonly certificate: Uint8Array;
  readonly signer: Signer;
}

export interface Issued {
  readonly der: Uint8Array;
  readonly serial: string;
}

export interface CertificateRequest {
  readonly commonName: string;
  /** DER SubjectPublicKeyInfo */
  readonly publicKey: Uint8Array;
  readonly profile: Profile;
  readonly validity: Validity;
  /** Base of the address of the issuer's revocation list; without it, the certificate names none. */
  readonly crlBase?: string;
}

/** A certificate begins this long before it is made, for devices whose clock is behind. */
const MAX_BACKDATE_MS = 5 * 60_000;

/**
 * The lifetime of a certificate made now. Backdated by five minutes, but never by more than a tenth of its life: otherwise a certificate of
 * some seconds, as tests use them, would be old on its first day. Never outlives `limitMs`, the end of its issuer.
 */
export function validityFrom(nowMs: number, lifetimeMs: number, limitMs = Number.POSITIVE_INFINITY): Validity {
  const notAfterMs = Math.min(nowMs + lifetimeMs, limitMs);
  return { notBeforeMs: nowMs - Math.min(MAX_BACKDATE_MS, Math.floor(lifetimeMs / 10)), notAfterMs };
}

/** A self-signed root. */
export async function makeRoot(commonName: string, publicKey: Uint8Array, signer: Signer, validity: Validity): Promise<Issued> {
  return make({ commonName, publicKey, profile: { kind: "root" }, validity }, signer, undefined);
}

export async function makeCertificate(request: CertificateRequest, issuer: Issuer): Promise<Issued> {
  return make(request, issuer.signer, new x509.X509Certificate(new Uint8Array(issuer.certificate)));
}

async function make(request: CertificateRequest, signer: Signer, issuer: x509.X509Certificate | undefined): Promise<Issued> {
  const subject = new x509.Name([{ CN: [request.commonName] }]);
  const publicKey = new x509.PublicKey(new Uint8Array(request.publicKey));
  const serial = randomSerial();
  const { crypto, signingKey, signingAlgorithm } = signingProvider(signer, new Uint8Array((issuer?.publicKey ?? publicKey).rawData));
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serial,
      subject,
      issuer: issuer?.subjectName ?? subject,
      notBefore: new Date(request.validity.notBeforeMs),
      notAfter: new Date(request.validity.notAfterMs),
      publicKey,
      signingKey,
      signingAlgorithm,
      extensions: [
        ...profileExtensions(request.profile),
        await x509.SubjectKeyIdentifierExtension.create(publicKey, false, nodeCrypto),
        await authorityKeyIdentifier(issuer, publicKey),
        ...(request.crlBase === undefined || issuer === undefined
          ? []
          : [distributionPoint(request.crlBase, new Uint8Array(issuer.rawData))]),
      ],
    },
    crypto,
  );
  return { der: new Uint8Array(certificate.rawData), serial };
}

/**
 * As the issuer's certificate names its key: another CA may have made that certificate, by another rule than ours (RFC 5280 section
 * 4.2.1.2, RFC 7093).
 */
async function authorityKeyIdentifier(issuer: x509.X509Certificate | undefined, ownKey: x509.PublicKey): Promise<x509.Extension> {
  const keyId = issuer?.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  if (keyId !== undefined) return new x509.AuthorityKeyIdentifierExtension(keyId, false);
  return x509.AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? ownKey, false, nodeCrypto);
}

function profileExtensions(profile: Profile): x509.Extension[] {
  const { digitalSignature, keyCertSign, cRLSign } = x509.KeyUsageFlags;
  switch (profile.kind) {
    case "root":
      return [new x509.BasicConstraintsExtension(true, 1, true), new x509.KeyUsagesExtension(keyCertSign | cRLSign, true)];
    case "issuing":
      return [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(keyCertSign | cRLSign, true)];
    case "client":
      return [...leafExtensions(digitalSignature), new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])];
    case "broker":
      return [
        ...leafExtensions(digitalSignature),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          profile.hosts.map((host) => ({ type: isIP(host) === 0 ? ("dns" as const) : ("ip" as const), value: host })),
        ),
      ];
  }
}

function leafExtensions(usage: x509.KeyUsageFlags): x509.Extension[] {
  return [new x509.BasicConstraintsExtension(false, undefined, true), new x509.KeyUsagesExtension(usage, true)];
}

/** 128 bits, positive, without leading zeros: lower-case hex that is the same text in every tool (RFC 5280 section 4.1.2.2). */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

export interface RevokedSerial {
  readonly serial: string;
  readonly revokedAtMs: number;
  readonly reason: RevocationReason;
}

export interface CrlRequest {
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly revoked: readonly RevokedSerial[];
  /** Bases of all addresses in certificates that the list is for. Without them, it counts for certificates that name no place, too. */
  readonly crlBases?: readonly string[];
}

/** A revocation list (RFC 5280 section 5) of `issuer`, as PEM. */
export async function makeCrl(issuer: Issuer, request: CrlRequest): Promise<string> {
  const certificate = new x509.X509Certificate(new Uint8Array(issuer.certificate));
  const { crypto, signingKey, signingAlgorithm } = signingProvider(issuer.signer, new Uint8Array(certificate.publicKey.rawData));
  const crl = await x509.X509CrlGenerator.create(
    {
      issuer: certificate.subjectName,
      thisUpdate: new Date(request.thisUpdateMs),
      nextUpdate: new Date(request.nextUpdateMs),
      signingAlgorithm,
      signingKey,
      extensions: [
        await authorityKeyIdentifier(certificate, certificate.publicKey),
        new x509.Extension(CRL_NUMBER, false, derInteger(request.number)),
        ...(request.crlBases === undefined ? [] : [issuingDistributionPoint(request.crlBases, issuer.certificate)]),
      ],
      entries: request.revoked.map(({ serial, revokedAtMs, reason }) => ({
        serialNumber: serial,
        revocationDate: new Date(revokedAtMs),
        ...(reason === "unspecified" ? {} : { reason: x509.X509CrlReason[reason] }),
      })),
    },
    crypto,
  );
  // Not crl.toString("pem"): that writes "BEGIN CRL", which mosquitto, Node and OpenSSL refuse.
  return toPem("X509 CRL", new Uint8Array(crl.rawData));
}

const CRL_NUMBER = "2.5.29.20";

/** DER of a non-negative INTEGER below 2^53. */
function derInteger(value: number): Uint8Array {
  let hex = value.toString(16);
  if (hex.length % 2 === 1) hex = `0${hex}`;
  if (Number.parseInt(hex.slice(0, 2), 16) >= 0x80) hex = `00${hex}`;
  return Uint8Array.from(Buffer.from(`02${(hex.length / 2).toString(16).padStart(2, "0")}${hex}`, "hex"));
}

/** What a PEM revocation list says of itself; used to see whether it is due for renewal. */
export function readCrl(der: Uint8Array): { issuer: string; nextUpdateMs: number; thisUpdateMs: number } {
  const crl = new x509.X509Crl(new Uint8Array(der));
  return { issuer: crl.issuer, thisUpdateMs: crl.thisUpdate.getTime(), nextUpdateMs: crl.nextUpdate?.getTime() ?? 0 };
}

/** A revocation list with its number (RFC 5280 section 5.2.3; 0 where it has none) and what it revokes. */
export interface ReadCrl {
  readonly number: number;
  readonly revoked: readonly RevokedSerial[];
}

/** The list when one of `issuers` signed it (certificates, DER); undefined when none did. */
export async function openCrl(der: Uint8Array, issuers: readonly Uint8Array[]): Promise<ReadCrl | undefined> {
  const crl = new x509.X509Crl(new Uint8Array(der));
  const verdicts = issuers.map((issuer) =>
    crl.verify({ publicKey: new x509.X509Certificate(new Uint8Array(issuer)).publicKey }, nodeCrypto).catch(() => false),
  );
  if (!(await Promise.all(verdicts)).includes(true)) return undefined;
  const number = crl.extensions.find(({ type }) => type === CRL_NUMBER);
  const revoked = crl.entries.map(({ serialNumber, revocationDate, reason }) => ({
    serial: serialNumber.toLowerCase().replace(/^0+/, ""),
    reason: REVOCATION_REASONS.find((name) => x509.X509CrlReason[name] === reason) ?? "unspecified",
    revokedAtMs: revocationDate.getTime(),
  }));
  return { number: number === undefined ? 0 : Number(`0x${Buffer.from(number.value).subarray(2).toString("hex")}`), revoked };
}
