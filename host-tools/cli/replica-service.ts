/** Has a CA directory follow what other machines change of a shared registry, for as long as a service runs on it. */
import { errorCode, errorMessage } from "../../sdk/errors.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { isAway } from "../ca-directory/change-log.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { readUnprovedState } from "../ca-directory/ca-files.js";
import type { Terminal } from "./terminal.js";

/** @returns what ends it */
export function keepReplica(ca: CertificateAuthority, terminal: Terminal): () => void {
  let isAtWork = false;
  let isAgain = false;
  let told = "";
  const directory = new CaDirectory(ca.directory);
  let { revision } = readUnprovedState(directory);
  const take = async (): Promise<void> => {
    isAgain = isAtWork;
    if (isAtWork) return;
    isAtWork = true;
    do {
      isAgain = false;
      await ca.takeIn().then(
        () => (told = ""),
        (error: unknown) => {
          const text = `${errorCode(error)}: ${errorMessage(error)}`;
          if (text !== told) terminal.event("registry-failed", { code: errorCode(error), message: errorMessage(error) }, text, "red");
          told = text;
        },
      );
      const now = readUnprovedState(directory).revision;
      if (now !== revision) terminal.event("taken-in", { revision: now }, `change ${now}`, "dim");
      revision = now;
    } while (isAgain);
    isAtWork = false;
  };
  try {
    return ca.watchRegistry(() => void take()) ?? ((): void => undefined);
  } catch (error) {
    if (!isAway(error)) throw error;
    // Every change takes in what there is, as soon as it can.
    terminal.warning(error);
    return (): void => undefined;
  }
}
