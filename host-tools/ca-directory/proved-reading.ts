/** Reads a CA, proved, without changing it. */
import { HawserError } from "../../sdk/errors.js";
import type { CaDirectory } from "./ca-directory.js";
import { checkDirectories } from "./ca-files.js";
import type { StoreSurroundings } from "./ca-store.js";
import { readJournal } from "./change-journal.js";
import { isAway } from "./change-log.js";
import { logsOf, warnOfAway } from "./database-source.js";
import { readRecord, unlock } from "./ca-record.js";
import type { CaRegistry } from "./ca-registry.js";
import { takeIn } from "./log-replica.js";
import { loadCa, readIndexAhead } from "./proved-ca.js";
import type { LoadedCa, Reading } from "./proved-ca.js";
import { stateKey } from "./sealed-state.js";

/** A CA directory with what its passphrase opens, and what was read meanwhile: who has it reads the CA without the passphrase. */
export interface Unlocked {
  readonly directory: CaDirectory;
  readonly sealing: Buffer;
  /** Proved by no state yet: see {@link readIndexAhead}. */
  readonly ahead?: CaRegistry | undefined;
}

/**
 * Opens the CA's secrets, and reads the index of its registry while that takes its time.
 *
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`, `CA_VERSION`, `WRONG_PASSPHRASE`
 */
export async function unlockAndReadAhead(directory: CaDirectory, passphrase: string): Promise<Unlocked> {
  const unlocking = unlock(directory, readRecord(directory), passphrase);
  const ahead = readIndexAhead(directory);
  return { directory, sealing: await unlocking, ahead };
}

export interface ReadingOptions extends Partial<Pick<StoreSurroundings, "openLog" | "onAway">> {
  /** Take nothing in: what there is, is to be judged. */
  readonly isAlone?: boolean;
}

/**
 * Reads and proves a CA directory, for who changes nothing; of a shared registry, what other machines changed is taken in first.
 *
 * @param reading how much of the registry
 * @throws HawserError as {@link CaStore.open}; `CA_BUSY` also when a change was cut off, which only a command that changes the CA may
 *   finish
 */
export async function readProvedCa(
  { directory, sealing, ahead }: Unlocked,
  reading: Reading = "all",
  { openLog = logsOf(directory), onAway = warnOfAway, isAlone = false }: ReadingOptions = {},
): Promise<LoadedCa> {
  const key = stateKey(sealing);
  checkDirectories(directory);
  return directory.locked(async () => {
    if (readJournal(directory, key) !== undefined)
      throw new HawserError(
        "CA_BUSY",
        `a change of the CA in ${directory} was interrupted and is not finished`,
        `Run: hawser ca crl --dir ${directory}`,
      );
    const loaded = loadCa(directory, key, { reading, ...(ahead && { before: ahead }) });
    const { files, registry: before } = loaded;
    if (files.state.log === undefined || isAlone) return loaded;
    try {
      const log = openLog(files.state.log);
      const count = await log.read((asked) => takeIn(files, key, asked, log.place));
      return count === 0 ? loaded : loadCa(directory, key, { reading, before });
    } catch (error) {
      if (!isAway(error)) throw error;
      onAway(error);
      return loadCa(directory, key, { reading, before });
    }
  });
}
