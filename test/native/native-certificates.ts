/** Certificates of every kind the native tests show or are shown; P-256 unless a wish says otherwise. */
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

x509.cryptoProvider.set(webcrypto);

export interface Certificate {
  der: Uint8Array;
  pem: string;
  serial: string;
}

export interface Identity extends Certificate {
  keys: webcrypto.CryptoKeyPair;
  keyPem: string;
}

export interface Wish {
  /** Common name; for servers also the one DNS name unless `dnsNames` says otherwise. */
  name: string;
  /** None: self-signed. */
  issuer?: Identity;
  authority?: boolean;
  server?: boolean;
  /** May identify clients only. */
  client?: boolean;
  dnsNames?: readonly string[];
  addresses?: readonly string[];
  notBefore?: number;
  notAfter?: number;
  /** Default P-256. */
  key?: KeyKind;
  /** Of the signature by a P-256 or P-384 key; default SHA-256. */
  hash?: Hash;
  /** What an RSA key signs with; default SHA-256. */
  keyHash?: Hash;
  /** Instead of those that follow from the rest of the wish. */
  extensions?: readonly x509.Extension[];
  /** Beside those. */
  moreExtensions?: readonly x509.Extension[];
}

/** RSA keys take seconds to make: one of each kind serves all that wish for it. */
const rsaKeys = new Map<string, Promise<webcrypto.CryptoKeyPair>>();

function makeKeys({ key = "P-256", keyHash = "SHA-256" }: Wish): Promise<webcrypto.CryptoKeyPair> {
  const make = (): Promise<webcrypto.CryptoKeyPair> =>
    webcrypto.subtle.generateKey(keyAlgorithm(key, keyHash), true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
  if (key.startsWith("P-")) return make();
  const id = `${key} ${keyHash}`;
  const kept = rsaKeys.get(id) ?? make();
  rsaKeys.set(id, kept);
  return kept;
}

export type Hash = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";
export type KeyKind = "P-256" | "P-384" | "P-521" | "RSA-1024" | "RSA-2048" | "RSA-3072" | "RSA-4096" | "PSS-2048";

/** What WebCrypto makes such a key with. */
function keyAlgorithm(kind: KeyKind, hash: string): webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams {
  if (kind.startsWith("P-")) return { name: "ECDSA", namedCurve: kind };
  const [name, bits] = kind.split("-");
  return {
    name: name === "PSS" ? "RSA-PSS" : "RSASSA-PKCS1-v1_5",
    hash,
    modulusLength: Number(bits),
    publicExponent: Uint8Array.of(1, 0, 1),
  };
}

function toPem(label: string, der: ArrayBuffer): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

function extensions(wish: Wish): x509.Extension[] {
  return [...(wish.extensions ?? usualExtensions(wish)), ...(wish.moreExtensions ?? [])];
}

function usualExtensions(wish: Wish): x509.Extension[] {
  const names = [
    ...(wish.dnsNames ?? [wish.name]).map((value) => ({ type: "dns" as const, value })),
    ...(wish.addresses ?? []).map((value) => ({ type: "ip" as const, value })),
  ];
  return [
    new x509.BasicConstraintsExtension(wish.authority ?? false, undefined, true),
    wish.authority
      ? new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true)
      : new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    ...(wish.client || wish.server ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ...(wish.client ? [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])] : []),
    ...(wish.server ? [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth])] : []),
  ];
}

async function sign(wish: Wish, publicKey: webcrypto.CryptoKey, signingKey: webcrypto.CryptoKey): Promise<Certificate> {
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `01${randomBytes(8).toString("hex")}`,
    subject: `CN=${wish.name}`,
    issuer: wish.issuer ? new x509.X509Certificate(wish.issuer.der as Uint8Array<ArrayBuffer>).subject : `CN=${wish.name}`,
    notBefore: new Date(wish.notBefore ?? Date.now() - DAY_MS),
    notAfter: new Date(wish.notAfter ?? Date.now() + 30 * DAY_MS),
    signingAlgorithm: {
      saltLength: 32,
      ...signingKey.algorithm,
      ...(signingKey.algorithm.name === "ECDSA" && { hash: wish.hash ?? "SHA-256" }),
    } as webcrypto.EcdsaParams & { saltLength: number },
    publicKey,
    signingKey,
    extensions: extensions(wish),
  });
  return { der: new Uint8Array(certificate.rawData), pem: toPem("CERTIFICATE", certificate.rawData), serial: certificate.serialNumber };
}

/** A certificate with a fresh key, or with the keys of another. */
export async function makeIdentity(wish: Wish, ownKeys?: webcrypto.CryptoKeyPair): Promise<Identity> {
  const keys = ownKeys ?? (await makeKeys(wish));
  const certificate = await sign(wish, keys.publicKey, (wish.issuer?.keys ?? keys).privateKey);
  return { ...certificate, keys, keyPem: toPem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)) };
}

/** A certificate for a key that lives elsewhere, given as SubjectPublicKeyInfo. */
export async function certify(spki: Uint8Array, wish: Wish & { issuer: Identity }): Promise<Certificate> {
  const key = await webcrypto.subtle.importKey("spki", spki, ALGORITHM, true, ["verify"]);
  return sign(wish, key, wish.issuer.keys.privateKey);
}

/** A certificate revocation list (PEM) of the issuer. */
export async function revoke(issuer: Identity, serials: readonly string[]): Promise<string> {
  const list = await x509.X509CrlGenerator.create({
    issuer: new x509.X509Certificate(issuer.der as Uint8Array<ArrayBuffer>).subject,
    thisUpdate: new Date(Date.now() - DAY_MS),
    nextUpdate: new Date(Date.now() + DAY_MS),
    entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: new Date() })),
    signingAlgorithm: ALGORITHM,
    signingKey: issuer.keys.privateKey,
  });
  return toPem("X509 CRL", list.rawData);
}
