/**
 * Who is on the certificate revocation lists (RFC 5280 section 5): asked again for live connections, where OpenSSL has finished its checks.
 */
import "reflect-metadata";
import { X509Certificate, X509Crl } from "@peculiar/x509";
import { HawserError } from "../../sdk/errors.js";

const CRL_PEM = /-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g;

interface Issuer {
  revokedSerials: Set<string>;
  nextUpdateMs: number;
}

export type RevocationVerdict = "good" | "CERTIFICATE_REVOKED" | "CRL_EXPIRED" | "CRL_MISSING";

export class RevocationLists {
  /** The lists one by one: Node reads only the first of several in one text. */
  readonly pems: string[];
  readonly #byIssuer = new Map<string, Issuer>();

  /** @throws HawserError `BROKER_MATERIAL_INVALID` */
  constructor(crlPem: string) {
    this.pems = crlPem.match(CRL_PEM) ?? [];
    if (this.pems.length === 0) throw invalidCrl("no certificate revocation list in it");
    for (const pem of this.pems) this.#read(pem);
  }

  /** Whether there is a list of the certificate's issuer at all. */
  knowsIssuer(certificateDer: Uint8Array): boolean {
    return this.#byIssuer.has(new X509Certificate(Uint8Array.from(certificateDer)).issuer);
  }

  /** @param nowMs wall time, milliseconds since the epoch */
  judge(certificateDer: Uint8Array, nowMs: number): RevocationVerdict {
    const certificate = new X509Certificate(Uint8Array.from(certificateDer));
    const issuer = this.#byIssuer.get(certificate.issuer);
    if (issuer === undefined) return "CRL_MISSING";
    if (nowMs > issuer.nextUpdateMs) return "CRL_EXPIRED";
    return issuer.revokedSerials.has(plainSerial(certificate.serialNumber)) ? "CERTIFICATE_REVOKED" : "good";
  }

  #read(pem: string): void {
    let crl: X509Crl;
    try {
      crl = new X509Crl(Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64"));
    } catch {
      throw invalidCrl("a certificate revocation list in it cannot be read");
    }
    const revokedSerials = new Set(crl.entries.map((entry) => plainSerial(entry.serialNumber)));
    this.#byIssuer.set(crl.issuer, { revokedSerials, nextUpdateMs: crl.nextUpdate?.getTime() ?? Infinity });
  }
}

/** A serial number as the rest of the project writes it: hex, lower case, without leading zeros. */
export function plainSerial(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, "");
}

function invalidCrl(what: string): HawserError {
  return new HawserError(
    "BROKER_MATERIAL_INVALID",
    `the broker's CRLs are unusable: ${what}`,
    "Write the CA's CRLs again and reload the broker.",
  );
}
