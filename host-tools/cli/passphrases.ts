/** The two passphrases a command may need, found where its flags and the environment say. */
import { HawserError } from "../../sdk/errors.js";
import { weaknessOf } from "../../sim/node/vault/passphrase-strength.js";
import { foreseenPassphrase, passphraseSources, readPassphrase } from "../../sim/node/vault/passphrase.js";
import type { PassphraseSource, PassphraseSurroundings } from "../../sim/node/vault/passphrase.js";
import { pinSource } from "../pkcs11/pin.js";
import type { PinSource } from "../pkcs11/token-signer.js";
import type { Terminal } from "./terminal.js";
import { processStop } from "./stop-signal.js";

export interface PassphraseOptions {
  passphraseFile?: string;
  caPassphraseFile?: string;
  vaultPassphraseFile?: string;
  rootPassphraseFile?: string;
  /** Of the PKCS#11 token that holds a key of the CA. */
  pinFile?: string;
  /** Take a new passphrase that is easy to guess. */
  allowWeakPassphrase?: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws HawserError as `readPassphrase`, and `WEAK_PASSPHRASE` */
export async function caPassphrase(options: PassphraseOptions & { dir: string }, env: Environment, isNew = false): Promise<string> {
  const sources = passphraseSources("ca", { general: options.passphraseFile, specific: options.caPassphraseFile });
  const passphrase = await readPassphrase({ sources, purpose: `the CA directory ${options.dir}`, isNew }, surroundings(env));
  return isNew ? strongEnough(passphrase, options) : passphrase;
}

/**
 * The passphrase a CA is to have: from a file that the command line or HAWSER_NEW_PASSPHRASE_FILE names, or asked for twice. Throws as
 * `caPassphrase`.
 */
export async function newCaPassphrase(
  options: PassphraseOptions & { dir: string; newPassphraseFile?: string },
  env: Environment,
): Promise<string> {
  const named = options.newPassphraseFile === undefined ? [] : [{ file: options.newPassphraseFile }];
  const sources = [...named, { environment: "HAWSER_NEW_PASSPHRASE" }, { fileOf: "HAWSER_NEW_PASSPHRASE_FILE" }];
  return strongEnough(
    await readPassphrase({ sources, purpose: `the CA directory ${options.dir}, the new one`, isNew: true }, surroundings(env)),
    options,
  );
}

/**
 * The passphrase of an offline root: `--root-passphrase-file`, `HAWSER_ROOT_PASSPHRASE` or the file `HAWSER_ROOT_PASSPHRASE_FILE`; a prompt
 * where a person can answer.
 *
 * @param fallback for scripts that name none
 * @throws HawserError as `readPassphrase`, and `WEAK_PASSPHRASE`
 */
export async function rootPassphrase(options: PassphraseOptions, env: Environment, what: string, fallback?: string): Promise<string> {
  const named = options.rootPassphraseFile === undefined ? [] : [{ file: options.rootPassphraseFile }];
  const isNew = fallback !== undefined;
  const own = [...named, { environment: "HAWSER_ROOT_PASSPHRASE" }, { fileOf: "HAWSER_ROOT_PASSPHRASE_FILE" }];
  // A root made by a script that named no passphrase for it has the CA's.
  const sources = isNew ? own : [...own, { environment: "HAWSER_PASSPHRASE" }, { fileOf: "HAWSER_PASSPHRASE_FILE" }];
  const isNamed = named.length > 0 || ["HAWSER_ROOT_PASSPHRASE", "HAWSER_ROOT_PASSPHRASE_FILE"].some((name) => env[name] !== undefined);
  if (isNew && !isNamed && process.stdin.isTTY !== true) return fallback;
  const passphrase = await readPassphrase({ sources, purpose: what, isNew }, surroundings(env));
  return isNew ? strongEnough(passphrase, options) : passphrase;
}

/** @throws HawserError `WEAK_PASSPHRASE` */
export function strongEnough(passphrase: string, { allowWeakPassphrase = false }: PassphraseOptions): string {
  const weakness = allowWeakPassphrase ? undefined : weaknessOf(passphrase);
  if (weakness === undefined) return passphrase;
  throw new HawserError(
    "WEAK_PASSPHRASE",
    `the new passphrase is easy to guess: ${weakness}`,
    "Choose another, such as four or five unrelated words, or use --allow-weak-passphrase.",
  );
}

/** Whether options or environment give a passphrase for the CA, without a prompt. */
export function hasCaPassphrase(options: PassphraseOptions, env: Environment): boolean {
  return isGiven(passphraseSources("ca", { general: options.passphraseFile, specific: options.caPassphraseFile }), env);
}

/** Whether options or environment give a passphrase for a vault, without a prompt. */
export function hasVaultPassphrase(options: PassphraseOptions, env: Environment): boolean {
  return isGiven(passphraseSources("vault", { general: options.passphraseFile, specific: options.vaultPassphraseFile }), env);
}

function isGiven(sources: readonly PassphraseSource[], env: Environment): boolean {
  return sources.some((source) => "file" in source || env["environment" in source ? source.environment : source.fileOf] !== undefined);
}

/** @throws HawserError as `readPassphrase`, and `WEAK_PASSPHRASE` */
export async function vaultPassphrase(options: PassphraseOptions & { vault: string }, env: Environment, isNew = false): Promise<string> {
  const sources = passphraseSources("vault", { general: options.passphraseFile, specific: options.vaultPassphraseFile });
  const passphrase = await readPassphrase({ sources, purpose: `the vault ${options.vault}`, isNew }, surroundings(env));
  return isNew ? strongEnough(passphrase, options) : passphrase;
}

/** The same as far as it is known without asking: see {@link foreseenPassphrase}. */
export function foreseenVaultPassphrase(options: PassphraseOptions, env: Environment): string | undefined {
  return foreseenPassphrase(passphraseSources("vault", { general: options.passphraseFile, specific: options.vaultPassphraseFile }), env);
}

/** Where the PIN of a token comes from when a key in it is needed. */
export function tokenPins({ pinFile }: PassphraseOptions, env: Environment, terminal: Terminal): PinSource {
  return pinSource(surroundings(env), pinFile, () => terminal.stopProgress());
}

function surroundings(environment: Environment): PassphraseSurroundings {
  return { environment, input: process.stdin, output: process.stderr, stop: processStop() };
}
