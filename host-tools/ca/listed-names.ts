/** The names of a CA and nothing else of it: read without what judges certificates, which takes longer to load than most registries. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { readUnprovedState, unprovedFiles } from "../ca-directory/ca-files.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import { readRecord } from "../ca-directory/ca-record.js";
import type { RegistryNames } from "../ca-directory/ca-registry.js";
import { readProvedCa, unlockAndReadAhead } from "../ca-directory/proved-reading.js";
import type { ReadingOptions } from "../ca-directory/proved-reading.js";
import { isJournalThere } from "../ca-directory/change-journal.js";
import { FILES, isSealedFile } from "../ca-directory/directory-layout.js";
import { readConsistently } from "../ca-directory/proved-ca.js";
import type { Reading } from "../ca-directory/proved-ca.js";
import { checkNotOlder, olderCopy } from "../ca-directory/revision-witness.js";
import type { CaState } from "../ca-directory/sealed-state.js";

export interface ReadNames {
  readonly files: CaFiles;
  readonly state: CaState;
  readonly names: RegistryNames;
  /** Whether the passphrase proved all of it. Without it, whoever may write the files decides what this says. */
  readonly isProved: boolean;
}

/**
 * What can be seen to be wrong with a CA directory before anything is read of its registry.
 *
 * @returns that this user has seen a newer state of this CA in another directory
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`, `CA_ROLLED_BACK`, `CA_VERSION`, `STORAGE_FAILED`
 */
export function checkCaState(directory: CaDirectory): { readonly state: CaState; readonly olderCopy: HawserError | undefined } {
  readRecord(directory);
  const state = readUnprovedState(directory);
  checkNotOlder(directory, state);
  checkNothingAdded(directory, state);
  // A directory of a shared registry is a copy by intention.
  return { state, olderCopy: state.log === undefined ? olderCopy(directory, state) : undefined };
}

/**
 * Reads a registry as it is now; later changes are not seen. Nothing is proved.
 *
 * @param reading how much of it
 * @throws HawserError as {@link checkCaState}
 */
export function readNames(directory: CaDirectory, reading: Reading): ReadNames {
  readRecord(directory);
  const files = unprovedFiles(directory);
  const { names } = readConsistently(directory, isRollover(files) ? "all" : reading);
  return { files, state: checkCaState(directory).state, names, isProved: false };
}

/**
 * The same, proved. A change that was cut off is not finished by this.
 *
 * @throws HawserError as `openCa`; `CA_BUSY` when a change was cut off
 */
export async function proveNames(
  directory: CaDirectory,
  passphrase: string,
  reading: Reading,
  options?: ReadingOptions,
): Promise<ReadNames> {
  const absolute = new CaDirectory(resolve(directory.path));
  const isAsked = isRollover(unprovedFiles(absolute)) ? "all" : reading;
  const { files, registry } = await readProvedCa(await unlockAndReadAhead(absolute, passphrase), isAsked, options);
  return { files, state: files.state, names: registry, isProved: true };
}

/** Who hangs on the issuing CA before is told by the certificates alone. */
function isRollover(files: CaFiles): boolean {
  return files.has(FILES.previous);
}

/**
 * A file that the state does not name would be taken for the CA's: a root that was retired, for example. While a change is under way, files
 * may be ahead of the state.
 */
function checkNothingAdded(directory: CaDirectory, { files, revision }: CaState): void {
  const added = Object.values(FILES).find((file) => isSealedFile(file) && files[file] === undefined && existsSync(directory.pathOf(file)));
  if (added === undefined || isJournalThere(directory) || readUnprovedState(directory).revision !== revision) return;
  const path = directory.pathOf(added);
  throw new HawserError(
    "CA_CORRUPT",
    `${path} is not part of the CA: the CA did not write it, or has removed it since`,
    `Find out who put it there, and remove ${path}.`,
  );
}
