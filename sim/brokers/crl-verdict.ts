/**
 * Who is on the certificate revocation lists (RFC 5280 section 5): asked for every client that signs in, and again for live ones, where
 * OpenSSL has finished its checks.
 *
 * OpenSSL keeps a copy of its lists with every connection that came by them, some 400 bytes for each entry. So it gets none where the
 * broker knows the CA of each list: then all that OpenSSL would ask of them is asked here, for the certificate and for each CA above it.
 */
import type { X509Certificate } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { RevocationList } from "../node/revocation-list.js";
import type { KnownCas, ListedCertificate } from "./known-cas.js";

const CRL_PEM = /-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g;

interface ReadList {
  readonly serials: ReadonlySet<string>;
  readonly nextUpdateMs: number;
  readonly places: ReadonlySet<string> | undefined;
  /** The CA that signed it, where it is known and the list is one that can be judged by here. */
  readonly signer: string | undefined;
}

export type RevocationVerdict = "good" | "CERTIFICATE_REVOKED" | "CRL_EXPIRED" | "CRL_MISSING";

export class RevocationLists {
  /** The lists one by one: Node reads only the first of several in one text. */
  readonly pems: string[];
  /** Whether OpenSSL needs no lists. */
  readonly judgeAlone: boolean;
  readonly #byIssuer = new Map<string, ReadList[]>();
  readonly #paths = new Map<string, readonly ListedCertificate[]>();

  /**
   * @param nowMs wall time, milliseconds since the epoch
   * @throws HawserError `BROKER_MATERIAL_INVALID`
   */
  constructor(
    crlPem: string,
    private readonly cas: KnownCas,
    nowMs: number,
  ) {
    this.pems = crlPem.match(CRL_PEM) ?? [];
    if (this.pems.length === 0) throw invalidCrl("no certificate revocation list in it");
    for (const pem of this.pems) this.#read(pem, nowMs);
    const lists = [...this.#byIssuer.values()].flat();
    this.judgeAlone = lists.every(({ signer }) => signer !== undefined);
    for (const { signer } of lists) {
      const path = signer === undefined ? undefined : cas.pathOf(signer);
      if (signer !== undefined && path !== undefined) this.#paths.set(signer, path);
    }
  }

  /** Whether there is a list of this issuer at all. */
  knowsIssuer(issuer: string): boolean {
    return this.#byIssuer.has(issuer);
  }

  /** The certificate in the form that it is judged by, now and by later lists. */
  listed(certificate: X509Certificate): ListedCertificate {
    return this.cas.listed(certificate);
  }

  /** @param nowMs wall time, milliseconds since the epoch */
  judge(certificate: ListedCertificate, nowMs: number): RevocationVerdict {
    const { issuer, signer } = certificate;
    const lists = this.#byIssuer.get(issuer) ?? [];
    if (!this.judgeAlone) return verdictBy(lists, certificate, nowMs);
    const path = signer === undefined ? undefined : this.#paths.get(signer);
    if (path === undefined) return "CRL_MISSING";
    for (const one of [...path, certificate]) {
      const own = (this.#byIssuer.get(one.issuer) ?? []).filter((list) => list.signer === one.signer && isFor(list, one));
      const verdict = verdictBy(own, one, nowMs);
      if (verdict !== "good") return verdict;
    }
    return "good";
  }

  #read(pem: string, nowMs: number): void {
    try {
      const list = new RevocationList(Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64"));
      const { issuer, nextUpdateMs, places } = list;
      const isPlain = list.isOrdinary && list.thisUpdateMs <= nowMs;
      const signer = isPlain ? this.cas.signerOf(issuer, (key) => list.isSignedBy(key)) : undefined;
      const others = this.#byIssuer.get(issuer) ?? [];
      this.#byIssuer.set(issuer, [...others, { serials: list.serials(), nextUpdateMs, places, signer }]);
    } catch {
      throw invalidCrl("a certificate revocation list in it cannot be read");
    }
  }
}

/** A list that names places is for certificates that name one of them. */
function isFor({ places }: ReadList, certificate: ListedCertificate): boolean {
  return places === undefined || certificate.places.some((place) => places.has(place));
}

/** A list that has ended still tells who was revoked by then. */
function verdictBy(lists: readonly ReadList[], { serial }: ListedCertificate, nowMs: number): RevocationVerdict {
  if (lists.length === 0) return "CRL_MISSING";
  if (lists.some(({ serials }) => serials.has(serial))) return "CERTIFICATE_REVOKED";
  return lists.every(({ nextUpdateMs }) => nowMs > nextUpdateMs) ? "CRL_EXPIRED" : "good";
}

function invalidCrl(what: string): HawserError {
  return new HawserError(
    "BROKER_MATERIAL_INVALID",
    `the broker's CRLs are unusable: ${what}`,
    "Write the CA's CRLs again and reload the broker.",
  );
}
