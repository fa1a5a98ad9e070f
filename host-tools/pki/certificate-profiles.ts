/**
 * The certificates of Hawser: their profiles (RFC 5280), and nothing about where they are kept. Keys are P-256, those of CAs P-384 if
 * asked; signatures are ECDSA with the hash that goes with the curve.
 */
import { randomBytes } from "node:crypto";
import { isIP } from "node:net";
import type * as X509 from "@peculiar/x509";
import { crlPath } from "./crl-distribution-points.js";
import { nodeCrypto } from "./signer.js";
import type { Signer } from "./signer.js";
import { signingProvider } from "./signing-provider.js";
import { loadX509 } from "./x509-library.js";
import type { X509Library } from "./x509-library.js";

/** What a certificate is for. `client`: devices and other clients alike. */
export type Profile =
  { kind: "root" } | { kind: "issuing" } | { kind: "client" } | { kind: "broker"; hosts: readonly string[] } | { kind: "ocsp" };

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

const OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
const OCSP_NO_CHECK = "1.3.6.1.5.5.7.48.1.5";
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
  return make(request, issuer.signer, issuer.certificate);
}

async function make(request: CertificateRequest, signer: Signer, issuerDer: Uint8Array | undefined): Promise<Issued> {
  const x509 = await loadX509();
  const issuer = issuerDer === undefined ? undefined : new x509.X509Certificate(new Uint8Array(issuerDer));
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
        ...profileExtensions(x509, request.profile),
        await x509.SubjectKeyIdentifierExtension.create(publicKey, false, nodeCrypto),
        await authorityKeyIdentifier(x509, issuer, publicKey),
        ...(request.crlBase === undefined || issuerDer === undefined
          ? []
          : [new x509.CRLDistributionPointsExtension([`${request.crlBase}${crlPath(issuerDer)}`])]),
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
async function authorityKeyIdentifier(
  x509: X509Library,
  issuer: X509.X509Certificate | undefined,
  ownKey: X509.PublicKey,
): Promise<X509.Extension> {
  const keyId = issuer?.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  if (keyId !== undefined) return new x509.AuthorityKeyIdentifierExtension(keyId, false);
  return x509.AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? ownKey, false, nodeCrypto);
}

function profileExtensions(x509: X509Library, profile: Profile): X509.Extension[] {
  const { digitalSignature, keyCertSign, cRLSign } = x509.KeyUsageFlags;
  switch (profile.kind) {
    case "root":
      return [new x509.BasicConstraintsExtension(true, 1, true), new x509.KeyUsagesExtension(keyCertSign | cRLSign, true)];
    case "issuing":
      return [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(keyCertSign | cRLSign, true)];
    case "client":
      return [...leafExtensions(x509, digitalSignature), new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])];
    case "ocsp":
      // Nobody asks whether it was revoked: it lives for a day (RFC 6960 section 4.2.2.2.1).
      return [
        ...leafExtensions(x509, digitalSignature),
        new x509.ExtendedKeyUsageExtension([OCSP_SIGNING]),
        new x509.Extension(OCSP_NO_CHECK, false, Uint8Array.of(0x05, 0)),
      ];
    case "broker":
      return [
        ...leafExtensions(x509, digitalSignature),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          profile.hosts.map((host) => ({ type: isIP(host) === 0 ? ("dns" as const) : ("ip" as const), value: host })),
        ),
      ];
  }
}

function leafExtensions(x509: X509Library, usage: X509.KeyUsageFlags): X509.Extension[] {
  return [new x509.BasicConstraintsExtension(false, undefined, true), new x509.KeyUsagesExtension(usage, true)];
}

/** 128 bits, positive, without leading zeros: lower-case hex that is the same text in every tool (RFC 5280 section 4.1.2.2). */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}
