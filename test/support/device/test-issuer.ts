/** A certificate authority of one function for the identity's tests: real certificates from real requests. Not part of the product. */
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

/** The certificate of this authority, DER: a trust anchor for devices that dial nobody real. */
export const TEST_ANCHOR = new Uint8Array(
  (
    await x509.X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: "01",
        name: "CN=Test issuing CA",
        keys,
        signingAlgorithm: ALGORITHM,
        extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
      },
      webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0],
    )
  ).rawData,
);

export interface IssueOptions {
  notBefore?: Date;
  notAfter?: Date;
  /** Instead of the request's, for instance `O=Nobody`. */
  subject?: string;
  serialNumber?: string;
}

/** Issues a certificate (DER) for a PKCS#10 request (DER). */
export async function issueFor(csr: Uint8Array, options: IssueOptions = {}): Promise<Uint8Array> {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const request = new x509.Pkcs10CertificateRequest(new Uint8Array(csr));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: options.serialNumber ?? `01${randomBytes(8).toString("hex")}`,
    subject: options.subject ?? request.subject,
    issuer: "CN=Test issuing CA",
    notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
    notAfter: options.notAfter ?? new Date(Date.now() + 3_600_000),
    signingAlgorithm: ALGORITHM,
    publicKey: request.publicKey,
    signingKey: keys.privateKey,
  });
  return new Uint8Array(certificate.rawData);
}
