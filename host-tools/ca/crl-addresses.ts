/** Where revocation lists are found: what certificates say of it, and what a server of the lists answers. */
import { createHash, X509Certificate } from "node:crypto";
import type { CaDirectory } from "../ca-directory/ca-directory.js";
import { unprovedFiles } from "../ca-directory/ca-files.js";
import { recordText, withCrlBase } from "../ca-directory/ca-record.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { checkCrlBase } from "../pki/crl-base-url.js";
import { crlPath, keyIdOf } from "../pki/crl-distribution-points.js";
import { fromPem } from "../pki/pem.js";
import { readCertificates } from "./context.js";
import type { CaContext } from "./context.js";
import { crlsFor } from "./revocation.js";

/**
 * Has new certificates name the place of their issuer's revocation list. A change of place keeps the old ones in the lists; an issuing CA
 * that issued without any place names none in its list, ever: the list would not count for those certificates.
 *
 * @throws HawserError `BAD_URL`, and as every change
 */
export async function setCrlBase(ca: CaContext, url: string): Promise<void> {
  const base = checkCrlBase(url);
  await ca.store.change(async (draft) => {
    const { issuing, previous } = ca.keys;
    const issuers = [issuing, ...(previous === undefined ? [] : [previous])].map(({ certificate }) => keyIdOf(certificate));
    const record = withCrlBase(ca.record, base, issuers);
    draft.write(FILES.record, recordText(record));
    // In the same change: the lists must name the new place before a certificate does.
    draft.write(FILES.crl, await crlsFor(record, ca.keys, draft));
    draft.record({ event: "crl-place-set", url: base });
  });
}

/** A revocation list as it is served. */
export interface ServedCrl {
  /** DER. */
  readonly der: Uint8Array;
  readonly etag: string;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/**
 * The lists of a CA by their path, as its files say: needs no passphrase. Each was signed by a CA whose certificate is here; a list that
 * was not is left out.
 *
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`
 */
export async function servedCrls(directory: CaDirectory): Promise<ReadonlyMap<string, ServedCrl>> {
  const files = unprovedFiles(directory);
  const names = [FILES.issuing, FILES.previous, FILES.root, FILES.previousRoot, FILES.upper].filter((file) => files.has(file));
  const issuers = names.flatMap((file) => readCertificates(files, file));
  const served = new Map<string, ServedCrl>();
  for (const der of fromPem("X509 CRL", files.read(FILES.crl).toString("utf8"))) {
    const list = new RevocationList(der);
    const { thisUpdateMs, nextUpdateMs } = list;
    const etag = `"${createHash("sha256").update(der).digest("hex").slice(0, 32)}"`;
    for (const issuer of issuers)
      if (list.isSignedBy(new X509Certificate(issuer).publicKey)) served.set(crlPath(issuer), { der, etag, thisUpdateMs, nextUpdateMs });
  }
  return served;
}
