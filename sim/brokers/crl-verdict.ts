/**
 * Who is on the certificate revocation lists (RFC 5280 section 5): asked again for live connections, where OpenSSL has finished its checks.
 */
import { HawserError } from "../../sdk/errors.js";
import { RevocationList } from "../node/revocation-list.js";

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

  /** Whether there is a list of this issuer at all. */
  knowsIssuer(issuer: string): boolean {
    return this.#byIssuer.has(issuer);
  }

  /**
   * @param issuer of the certificate, by `derNameKey`
   * @param serial lower-case hex without leading zeros
   * @param nowMs wall time, milliseconds since the epoch
   */
  judge(issuer: string, serial: string, nowMs: number): RevocationVerdict {
    const list = this.#byIssuer.get(issuer);
    if (list === undefined) return "CRL_MISSING";
    if (nowMs > list.nextUpdateMs) return "CRL_EXPIRED";
    return list.revokedSerials.has(serial) ? "CERTIFICATE_REVOKED" : "good";
  }

  #read(pem: string): void {
    try {
      const list = new RevocationList(Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64"));
      this.#byIssuer.set(list.issuer, { revokedSerials: list.serials(), nextUpdateMs: list.nextUpdateMs });
    } catch {
      throw invalidCrl("a certificate revocation list in it cannot be read");
    }
  }
}

function invalidCrl(what: string): HawserError {
  return new HawserError(
    "BROKER_MATERIAL_INVALID",
    `the broker's CRLs are unusable: ${what}`,
    "Write the CA's CRLs again and reload the broker.",
  );
}
