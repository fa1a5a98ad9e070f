/** Ends a service when another process changed the CA's passphrase: it would only refuse from then on. */
import { HawserError } from "../../sdk/errors.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { watchCa } from "../ca-directory/ca-watch.js";
import { FILES } from "../ca-directory/directory-layout.js";

/**
 * @param onLost called with `PASSPHRASE_CHANGED`, also when it was changed before this is called
 * @returns what ends it
 */
export function watchPassphrase(ca: CertificateAuthority, onLost: (error: HawserError) => void): () => void {
  const look = (): void => {
    try {
      const problem = ca.passphraseProblem();
      if (problem !== undefined) onLost(problem);
    } catch (error) {
      // A record that cannot be read says nothing of the passphrase; whatever needs the CA next reports it.
      if (!(error instanceof HawserError)) throw error;
    }
  };
  // The record names the passphrase's key. A change of the passphrase that was cut off counts too: the next command finishes it.
  const stop = watchCa(ca.directory, look, { file: FILES.record });
  look();
  return stop;
}
