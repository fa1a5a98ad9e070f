/** A small certificate authority for the brokers' tests: root, issuing CA, certificates of every state, CRLs. Not part of the product. */
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR_MS = 3_600_000;

x509.cryptoProvider.set(webcrypto);

interface Authority {
  name: string;
  keys: webcrypto.CryptoKeyPair;
  certificate: x509.X509Certificate;
}

export interface TestIdentity {
  /** Leaf first, then the issuing CA. */
  chainPem: string;
  keyPem: string;
  /** Hex, lower case, without leading zeros. */
  serial: string;
}

export interface Validity {
  notBefore?: Date;
  notAfter?: Date;
}

export class TestAuthority {
  readonly #revoked: string[] = [];
  #isIssuingRevoked = false;

  private constructor(
    readonly root: Authority,
    readonly issuing: Authority,
  ) {}

  /** @param validity of the issuing CA */
  static async create(name = "Test", validity: Validity = {}): Promise<TestAuthority> {
    const root = await makeAuthority(`${name} Root`, undefined);
    return new TestAuthority(root, await makeAuthority(`${name} Issuing`, root, validity));
  }

  get trustAnchorPem(): string {
    return this.root.certificate.toString("pem");
  }

  async issue(commonName: string, use: "client" | "server" = "client", validity: Validity = {}): Promise<TestIdentity> {
    const keys = await makeKeys();
    const serialNumber = `01${randomBytes(11).toString("hex")}`;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber,
      subject: `CN=${commonName}`,
      issuer: this.issuing.certificate.subject,
      notBefore: validity.notBefore ?? new Date(Date.now() - HOUR_MS),
      notAfter: validity.notAfter ?? new Date(Date.now() + HOUR_MS),
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: this.issuing.keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([use === "client" ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth]),
        ...(use === "server"
          ? [
              new x509.SubjectAlternativeNameExtension([
                { type: "dns", value: "localhost" },
                { type: "ip", value: "127.0.0.1" },
              ]),
            ]
          : []),
      ],
    });
    return {
      chainPem: `${certificate.toString("pem")}\n${this.issuing.certificate.toString("pem")}\n`,
      keyPem: pem("PRIVATE KEY", new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey))),
      serial: serialNumber.replace(/^0+/, ""),
    };
  }

  revoke(identity: TestIdentity): void {
    this.#revoked.push(identity.serial);
  }

  /** From now on the root's list has the issuing CA on it. */
  revokeIssuing(): void {
    this.#isIssuingRevoked = true;
  }

  /** The CRLs of the issuing CA and of the root, PEM. Both ends may lie in the past. */
  async crlPem(
    issuingNextUpdate = new Date(Date.now() + HOUR_MS),
    rootNextUpdate = new Date(Math.max(Date.now() + HOUR_MS, issuingNextUpdate.getTime())),
  ): Promise<string> {
    const revokedByRoot = this.#isIssuingRevoked ? [this.issuing.certificate.serialNumber] : [];
    return (await makeCrl(this.issuing, this.#revoked, issuingNextUpdate)) + (await makeCrl(this.root, revokedByRoot, rootNextUpdate));
  }
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

async function makeAuthority(name: string, parent: Authority | undefined, validity: Validity = {}): Promise<Authority> {
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `01${randomBytes(8).toString("hex")}`,
    subject: `CN=${name}`,
    issuer: `CN=${parent?.name ?? name}`,
    notBefore: validity.notBefore ?? new Date(Date.now() - 48 * HOUR_MS),
    notAfter: validity.notAfter ?? new Date(Date.now() + 48 * HOUR_MS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: (parent?.keys ?? keys).privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return { name, keys, certificate };
}

async function makeCrl(authority: Authority, revoked: readonly string[], nextUpdate: Date): Promise<string> {
  const crl = await x509.X509CrlGenerator.create({
    issuer: authority.certificate.subject,
    thisUpdate: new Date(Date.now() - 2 * HOUR_MS),
    nextUpdate,
    entries: revoked.map((serialNumber) => ({
      serialNumber: serialNumber.padStart(24, "0"),
      revocationDate: new Date(Date.now() - HOUR_MS),
    })),
    signingAlgorithm: ALGORITHM,
    signingKey: authority.keys.privateKey,
  });
  // The label is ours: the library writes `BEGIN CRL`, which OpenSSL does not read.
  return pem("X509 CRL", new Uint8Array(crl.rawData));
}

function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
