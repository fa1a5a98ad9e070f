/** Answers questions of OCSP (RFC 6960) by a CA's revocation lists. */
import type { RevocationList, RevokedEntry } from "../../sim/node/revocation-list.js";
import { isAbout, makeOcspResponse, ocspError, readOcspRequest, type CertificateStatus, type OcspSigner } from "../pki/ocsp-messages.js";

/** An issuing CA that is answered for: its certificate (DER), and who signs. */
export interface OcspIssuer {
  readonly issuer: Uint8Array;
  readonly signer: OcspSigner;
}

/** What a responder looks at for each question. */
export interface OcspSources {
  /** The CA's issuers as they are now. */
  issuers(): Promise<readonly OcspIssuer[]>;
  /** The current list of an issuer; undefined if it has no list. */
  listOf(issuer: Uint8Array): RevocationList | undefined;
}

/** For how long an answer counts: clients that staple it (RFC 6066 section 8) fetch the next one within some minutes. */
const VALIDITY_MS = 60 * 60_000;

/**
 * A certificate that is on no list is good: as RFC 6960 section 2.2 has it, that does not say that the CA ever issued it. Who asks has seen
 * the CA's signature on it.
 */
export class OcspResponder {
  readonly #entries = new WeakMap<RevocationList, ReadonlyMap<string, RevokedEntry>>();

  constructor(private readonly sources: OcspSources) {}

  /** A signed response, or an unsigned one that says why it refuses; DER. Never throws. */
  async answer(question: Uint8Array): Promise<Uint8Array> {
    let request;
    try {
      request = readOcspRequest(question);
    } catch {
      return ocspError("malformedRequest");
    }
    try {
      const issuers = await this.sources.issuers();
      // One answer has one signer: of the first certificate's issuer.
      const [first] = request.ids;
      const asked = first && issuers.find(({ issuer }) => isAbout(first, issuer));
      if (asked === undefined) return ocspError("unauthorized");
      const list = this.sources.listOf(asked.issuer);
      const nowMs = Date.now();
      if (list === undefined || nowMs > list.nextUpdateMs) return ocspError("tryLater");
      const statuses = request.ids.map((id) => ({
        id,
        status: isAbout(id, asked.issuer) ? this.#statusOf(id.serial, list) : ({ kind: "unknown" } as const),
      }));
      const nextUpdateMs = Math.min(nowMs + VALIDITY_MS, list.nextUpdateMs);
      return makeOcspResponse({ statuses, thisUpdateMs: nowMs, nextUpdateMs, ...nonceOf(request) }, asked.signer);
    } catch {
      return ocspError("internalError");
    }
  }

  #statusOf(serial: string, list: RevocationList): CertificateStatus {
    let entries = this.#entries.get(list);
    if (entries === undefined) this.#entries.set(list, (entries = new Map(list.entries().map((entry) => [entry.serial, entry]))));
    const entry = entries.get(serial);
    if (entry === undefined) return { kind: "good" };
    return { kind: "revoked", revokedAtMs: entry.revokedAtMs, reasonCode: entry.reasonCode };
  }
}

function nonceOf({ nonce }: { readonly nonce?: Uint8Array }): { readonly nonce?: Uint8Array } {
  return nonce === undefined ? {} : { nonce };
}
