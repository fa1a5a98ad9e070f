/** Begins what a command on a CA has to wait for, on another thread, before its code is loaded. */
import { join } from "node:path";
import { readFileOnly } from "../../sim/node/files/safe-path.js";
import { foreseenPassphrase, passphraseSources } from "../../sim/node/vault/passphrase.js";
import { deriveKeyAhead, readKeyDerivation } from "../../sim/node/vault/sealed.js";
import { FILES } from "../ca-directory/directory-layout.js";
import type { PassphraseOptions } from "./passphrases.js";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Has the CA's passphrase become a key, where options or environment give one. What is wrong with the CA or the passphrase, the command
 * finds out and tells.
 */
export function deriveCaKeyAhead({ dir, passphraseFile, caPassphraseFile }: PassphraseOptions & { dir: string }, env: Environment): void {
  const passphrase = foreseenPassphrase(passphraseSources("ca", { general: passphraseFile, specific: caPassphraseFile }), env);
  if (passphrase === undefined) return;
  const derivation = derivationOf(dir);
  if (derivation !== undefined) deriveKeyAhead(passphrase, derivation);
}

function derivationOf(dir: string): ReturnType<typeof readKeyDerivation> {
  try {
    const record: unknown = JSON.parse(readFileOnly(join(dir, FILES.record)).toString("utf8"));
    return readKeyDerivation((record as { derivation?: unknown }).derivation);
  } catch {
    return undefined;
  }
}
