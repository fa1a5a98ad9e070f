/**
 * Where the PIN of a token comes from: a file, the environment, or a person at a terminal; never an argument, which every user of the
 * machine can read.
 */
import { errorCode, HawserError } from "../../sdk/errors.js";
import { readPassphrase } from "../../sim/node/vault/passphrase.js";
import type { PassphraseSurroundings } from "../../sim/node/vault/passphrase.js";
import type { PinSource } from "./token-signer.js";

/**
 * Looks in this order: the file named on the command line, the URI's `pin-source`, `HAWSER_PIN`, the file named by `HAWSER_PIN_FILE`, a
 * prompt. Each token is asked for once.
 *
 * @param beforePrompt clears the line that a person is to type on
 */
export function pinSource(surroundings?: PassphraseSurroundings, pinFile?: string, beforePrompt?: () => void): PinSource {
  const known = new Map<string, Promise<string>>();
  return (key) => {
    const token = `${key.token} ${key.serial ?? ""}`;
    const found = known.get(token) ?? find(key.token, [pinFile, key.pinFile], surroundings, beforePrompt);
    known.set(token, found);
    return found;
  };
}

async function find(
  token: string,
  files: readonly (string | undefined)[],
  surroundings?: PassphraseSurroundings,
  beforePrompt?: () => void,
): Promise<string> {
  const named = files.flatMap((file) => (file === undefined ? [] : [{ file }]));
  const sources = [...named, { environment: "HAWSER_PIN" }, { fileOf: "HAWSER_PIN_FILE" }];
  beforePrompt?.();
  try {
    return await readPassphrase({ sources, purpose: `the token ${token}`, label: "PIN", isNew: false }, surroundings);
  } catch (error) {
    if (errorCode(error) !== "PASSPHRASE_REQUIRED") throw error;
    throw new HawserError(
      "PIN_REQUIRED",
      `no PIN for the token ${token}`,
      "Give --pin-file FILE, set HAWSER_PIN_FILE or HAWSER_PIN, or run this on a terminal.",
    );
  }
}
