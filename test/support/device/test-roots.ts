/** Roots of one name that vouch for one another, for tests of what a device takes as a trust anchor. Not part of the product. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const CRYPTO = webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0];

export interface TestRoot {
  readonly name: string;
  readonly keys: webcrypto.CryptoKeyPair;
  /** Self-signed, DER. */
  readonly der: Uint8Array;
}

export async function testRoot(name = "CN=Plant Root CA"): Promise<TestRoot> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  return { name, keys, der: await certify(keys, name, name, keys) };
}

/** A CA certificate of `keys`, by whoever holds `by`. */
export async function certify(
  keys: webcrypto.CryptoKeyPair,
  subject: string,
  issuer: string,
  by: webcrypto.CryptoKeyPair,
): Promise<Uint8Array> {
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject,
      issuer,
      notBefore: new Date("2026-01-01"),
      notAfter: new Date("2046-01-01"),
      publicKey: keys.publicKey,
      signingKey: by.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, CRYPTO),
        await x509.AuthorityKeyIdentifierExtension.create(by.publicKey, false, CRYPTO),
      ],
    },
    CRYPTO,
  );
  return new Uint8Array(certificate.rawData);
}

/** What leads from `newer` to `older` (RFC 4210, NewWithOld). */
export function linkOf(newer: TestRoot, older: TestRoot): Promise<Uint8Array> {
  return certify(newer.keys, newer.name, older.name, older.keys);
}
