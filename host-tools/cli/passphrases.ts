/** The two passphrases a command may need, found where its flags and the environment say. */
import { passphraseSources, readPassphrase } from "../../sim/node/passphrase.js";

export interface PassphraseOptions {
  passphraseFile?: string;
  caPassphraseFile?: string;
  vaultPassphraseFile?: string;
}

/** @throws HawserError as `readPassphrase` */
export function caPassphrase(options: PassphraseOptions & { dir: string }, isNew = false): Promise<string> {
  const sources = passphraseSources("ca", { general: options.passphraseFile, specific: options.caPassphraseFile });
  return readPassphrase({ sources, purpose: `the CA directory ${options.dir}`, isNew });
}

/** @throws HawserError as `readPassphrase` */
export function vaultPassphrase(options: PassphraseOptions & { vault: string }, isNew = false): Promise<string> {
  const sources = passphraseSources("vault", { general: options.passphraseFile, specific: options.vaultPassphraseFile });
  return readPassphrase({ sources, purpose: `the vault ${options.vault}`, isNew });
}
