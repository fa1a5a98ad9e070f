/** Keys that a command line wants in a PKCS#11 token. */
import { parseTokenKey } from "../../pkcs11/pkcs11-uri.js";
import { tokenKey } from "../../pkcs11/token-signer.js";
import type { ExternalKey, KeyType } from "../../pki/signer.js";
import type { Context } from "../command-runner.js";
import { tokenPins } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";

/** In place of a URI: the key is made here and sealed in a file. */
export const FILE_SIGNER = "file";

/** Before anything is asked or made. Throws `BAD_SIGNER`. */
export function checkSigner(uri: string | undefined): void {
  if (uri !== undefined && uri !== FILE_SIGNER) parseTokenKey(uri);
}

/** @returns what makes the key of a URI when it is called; undefined for a key in a file */
export function tokenKeyMaker(
  options: PassphraseOptions & { existingKey?: boolean },
  { terminal, env }: Context,
): (uri: string | undefined, type: KeyType) => (() => Promise<ExternalKey>) | undefined {
  const pins = tokenPins(options, env, terminal);
  return (uri, type) =>
    uri === undefined || uri === FILE_SIGNER ? undefined : () => tokenKey(uri, pins, { type, useExisting: options.existingKey === true });
}
