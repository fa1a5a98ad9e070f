/** What a command that changes nothing shows of a CA: proved when a passphrase is at hand, else as the files say, with a warning. */
import { errorCode, errorMessage, HawserError } from "../../sdk/errors.js";
import type { Context } from "./command-runner.js";
import { caPassphrase, hasCaPassphrase } from "./passphrases.js";
import type { PassphraseOptions } from "./passphrases.js";

/** Two ways to read the same. */
export interface ReadingWays<T> {
  /** May throw `STORAGE_FAILED` and `CA_BUSY` where this user may not lock the CA: it is read without being proved then. */
  proved(passphrase: string): Promise<T>;
  asItIs(): T;
}

/**
 * Nobody is asked for a passphrase.
 *
 * @throws HawserError `WRONG_PASSPHRASE` when the command line named the passphrase, and what reading throws
 */
export async function readProvedOrNot<T>(
  options: PassphraseOptions & { dir: string },
  { terminal, env }: Context,
  { proved, asItIs }: ReadingWays<T>,
): Promise<T> {
  terminal.startProgress("reading the registry");
  const isNamed = (options.passphraseFile ?? options.caPassphraseFile) !== undefined;
  try {
    if (hasCaPassphrase(options, env)) return await proved(await caPassphrase(options, env));
    terminal.warning(notVerified(options.dir, "no passphrase was given", "Give --passphrase-file FILE to have it proved."));
  } catch (error) {
    const isForOthers = errorCode(error) === "WRONG_PASSPHRASE" && !isNamed;
    if (!isForOthers && !["STORAGE_FAILED", "CA_BUSY"].includes(errorCode(error))) throw error;
    terminal.warning(
      notVerified(
        options.dir,
        errorMessage(error),
        isForOthers ? "Give the CA's own with --passphrase-file FILE." : "Run it as the user whose CA it is.",
      ),
    );
  }
  return asItIs();
}

function notVerified(directory: string, why: string, next: string): HawserError {
  return new HawserError(
    "NOT_VERIFIED",
    `not verified: anyone who can write to ${directory} may have changed these entries (${why})`,
    next,
  );
}
