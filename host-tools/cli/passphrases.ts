/** The two passphrases a command may need, found where its flags and the environment say. */
import { passphraseSources, readPassphrase } from "../../sim/node/vault/passphrase.js";
import type { PassphraseSurroundings } from "../../sim/node/vault/passphrase.js";
import { processStop } from "./stop-signal.js";

export interface PassphraseOptions {
  passphraseFile?: string;
  caPassphraseFile?: string;
  vaultPassphraseFile?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws HawserError as `readPassphrase` */
export function caPassphrase(options: PassphraseOptions & { dir: string }, env: Environment, isNew = false): Promise<string> {
  const sources = passphraseSources("ca", { general: options.passphraseFile, specific: options.caPassphraseFile });
  return readPassphrase({ sources, purpose: `the CA directory ${options.dir}`, isNew }, surroundings(env));
}

/** Whether there is a passphrase for the CA without asking a person. */
export function hasCaPassphrase(options: PassphraseOptions, env: Environment): boolean {
  const sources = passphraseSources("ca", { general: options.passphraseFile, specific: options.caPassphraseFile });
  return sources.some((source) => "file" in source || env[source.environment] !== undefined);
}

/** @throws HawserError as `readPassphrase` */
export function vaultPassphrase(options: PassphraseOptions & { vault: string }, env: Environment, isNew = false): Promise<string> {
  const sources = passphraseSources("vault", { general: options.passphraseFile, specific: options.vaultPassphraseFile });
  return readPassphrase({ sources, purpose: `the vault ${options.vault}`, isNew }, surroundings(env));
}

function surroundings(environment: Environment): PassphraseSurroundings {
  return { environment, input: process.stdin, output: process.stderr, stop: processStop() };
}
