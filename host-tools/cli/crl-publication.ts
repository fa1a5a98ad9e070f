/** The revocation lists of a CA directory over HTTP, and OCSP where somebody can sign: as the directory is at each moment. */
import { errorCode, errorMessage } from "../../sdk/errors.js";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { startCrlServer } from "../authority/crl-server.js";
import type { CrlServer } from "../authority/crl-server.js";
import { OcspResponder, type OcspIssuer } from "../authority/ocsp-responder.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { watchCa } from "../ca-directory/ca-watch.js";
import { servedCrls, type ServedCrl } from "../ca/crl-addresses.js";
import { crlPath } from "../pki/crl-distribution-points.js";
import type { Terminal } from "./terminal.js";

/** For who signs answers of OCSP: new ones at half of it, and whenever the CA's own keys may have changed. */
const SIGNER_LIFETIME_MS = 24 * 60 * 60_000;

/**
 * @param ca answers OCSP too, in its name
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`, `PORT_IN_USE`, `LISTEN_FAILED`
 */
export async function serveCrls(
  directory: string,
  port: number,
  host: string,
  terminal: Terminal,
  ca?: CertificateAuthority,
): Promise<CrlServer> {
  const served = new CaDirectory(directory);
  let lists = await servedCrls(served);
  const ocsp = ca && new OcspAtCa(ca, () => lists);
  const server = await startCrlServer(port, host, () => lists, ocsp && ((question) => ocsp.responder.answer(question)));
  const unwatch = watchCa(directory, () => {
    servedCrls(served).then(
      (now) => (lists = now),
      (error: unknown) =>
        terminal.event(
          "crl-failed",
          { code: errorCode(error), message: errorMessage(error) },
          `${errorCode(error)}: ${errorMessage(error)}; the lists read before are served`,
          "red",
        ),
    );
  });
  const address = `${host.includes(":") ? `[${host}]` : host}:${server.port}`;
  const paths = [...lists.keys(), ...(ocsp === undefined ? [] : ["/ocsp"])];
  const what = ocsp === undefined ? "revocation lists" : "revocation lists and OCSP (/ocsp)";
  terminal.event("crl-ready", { host, port: server.port, paths }, `${what} on http://${address}`, "green");
  return {
    port: server.port,
    close: async () => {
      unwatch();
      await server.close();
    },
  };
}

/** Keeps signers and parsed lists for as long as they hold. */
class OcspAtCa {
  readonly responder = new OcspResponder({
    issuers: () => this.#issuers(),
    listOf: (issuer) => this.#listOf(issuer),
  });
  #signers: { readonly madeMs: number; readonly issuers: Promise<readonly OcspIssuer[]>; readonly paths: string } | undefined;
  readonly #parsed = new WeakMap<ServedCrl, RevocationList>();

  constructor(
    private readonly ca: CertificateAuthority,
    private readonly lists: () => ReadonlyMap<string, ServedCrl>,
  ) {}

  #issuers(): Promise<readonly OcspIssuer[]> {
    // Another set of lists: the issuing CA was renewed, or the one before is gone.
    const paths = [...this.lists().keys()].join();
    if (this.#signers?.paths !== paths || Date.now() - this.#signers.madeMs > SIGNER_LIFETIME_MS / 2) {
      const made = { madeMs: Date.now(), paths, issuers: this.ca.ocspSigners(SIGNER_LIFETIME_MS) };
      this.#signers = made;
      made.issuers.catch(() => {
        if (this.#signers === made) this.#signers = undefined;
      });
    }
    return this.#signers.issuers;
  }

  #listOf(issuer: Uint8Array): RevocationList | undefined {
    const served = this.lists().get(crlPath(issuer));
    if (served === undefined) return undefined;
    const list = this.#parsed.get(served) ?? new RevocationList(served.der);
    this.#parsed.set(served, list);
    return list;
  }
}
