/** A certificate authority for this folder's tests: a root, an issuing CA, certificates good and bad. Not part of the product. */
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR_MS = 3_600_000;

x509.cryptoProvider.set(webcrypto as never);

export interface Validity {
  notBefore?: Date;
  notAfter?: Date;
}

export const EXPIRED: Validity = { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: new Date(Date.now() - HOUR_MS) };
export const NOT_YET_VALID: Validity = { notBefore: new Date(Date.now() + HOUR_MS), notAfter: new Date(Date.now() + 2 * HOUR_MS) };

interface Authority {
  keys: webcrypto.CryptoKeyPair;
  certificate: x509.X509Certificate;
}

export class TestCa {
  private constructor(
    readonly root: Authority,
    readonly issuing: Authority,
  ) {}

  /** @param validity of both CA certificates */
  static async create(name: string, validity: Validity = {}): Promise<TestCa> {
    const root = await makeAuthority(`CN=${name} root`, undefined, validity);
    return new TestCa(root, await makeAuthority(`CN=${name} issuing`, root, validity));
  }

  get trustAnchors(): Uint8Array[] {
    return [der(this.root.certificate)];
  }

  /** Both CA certificates: a broker's cafile. */
  get caPem(): string {
    return pemOf(this.issuing.certificate) + pemOf(this.root.certificate);
  }

  /** A device's chain, leaf first, for the public key (DER SubjectPublicKeyInfo). */
  async clientChain(publicKey: Uint8Array, commonName: string, validity: Validity = {}): Promise<Uint8Array[]> {
    const key = await webcrypto.subtle.importKey("spki", publicKey, ALGORITHM, true, ["verify"]);
    const leaf = await this.#issue(key, commonName, validity, [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])]);
    return [der(leaf), der(this.issuing.certificate)];
  }

  async server(hosts: readonly string[], validity: Validity = {}): Promise<{ chainPem: string; leafPem: string; keyPem: string }> {
    const keys = await makeKeys();
    const names = hosts.map((value) => ({ type: /^[\d.]+$/.test(value) ? ("ip" as const) : ("dns" as const), value }));
    const leaf = await this.#issue(keys.publicKey, hosts[0] ?? "server", validity, [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names),
    ]);
    const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
    const keyPem = x509.PemConverter.encode(pkcs8, "PRIVATE KEY");
    return { leafPem: pemOf(leaf), chainPem: pemOf(leaf) + pemOf(this.issuing.certificate), keyPem };
  }

  /** Revocation lists of both CAs; `revoked` are leaf certificates (DER). */
  async crlPem(revoked: readonly Uint8Array[]): Promise<string> {
    const serials = revoked.map((certificate) => new x509.X509Certificate(certificate).serialNumber);
    return (await crlOf(this.issuing, serials)) + (await crlOf(this.root, []));
  }

  #issue(
    publicKey: webcrypto.CryptoKey,
    commonName: string,
    validity: Validity,
    extensions: x509.Extension[],
  ): Promise<x509.X509Certificate> {
    return x509.X509CertificateGenerator.create({
      serialNumber: newSerial(),
      subject: `CN=${commonName}`,
      issuer: this.issuing.certificate.subject,
      ...datesOf(validity),
      signingAlgorithm: ALGORITHM,
      publicKey,
      signingKey: this.issuing.keys.privateKey,
      extensions: [new x509.BasicConstraintsExtension(false, undefined, true), ...extensions],
    });
  }
}

async function makeAuthority(subject: string, issuer: Authority | undefined, validity: Validity): Promise<Authority> {
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject,
    issuer: issuer?.certificate.subject ?? subject,
    ...datesOf(validity),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return { keys, certificate };
}

async function crlOf(authority: Authority, serials: readonly string[]): Promise<string> {
  const crl = await x509.X509CrlGenerator.create({
    issuer: authority.certificate.subject,
    thisUpdate: new Date(Date.now() - HOUR_MS),
    nextUpdate: new Date(Date.now() + HOUR_MS),
    signingAlgorithm: ALGORITHM,
    signingKey: authority.keys.privateKey,
    entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: new Date(Date.now() - HOUR_MS) })),
  });
  return `${x509.PemConverter.encode(crl.rawData, "X509 CRL")}\n`;
}

function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
}

function newSerial(): string {
  return `01${randomBytes(11).toString("hex")}`;
}

function datesOf(validity: Validity): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: validity.notBefore ?? new Date(Date.now() - 2 * HOUR_MS),
    notAfter: validity.notAfter ?? new Date(Date.now() + 2 * HOUR_MS),
  };
}

function der(certificate: x509.X509Certificate): Uint8Array {
  return new Uint8Array(certificate.rawData);
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}
