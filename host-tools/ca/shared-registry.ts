/** What only a CA has whose registry machines share: snapshots, by which a machine joins, and joining. */
import { HawserError } from "../../sdk/errors.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { backupBytes, openBackup, readBackupHeader } from "../ca-directory/backup-file.js";
import { isAway } from "../ca-directory/change-log.js";
import { writeDatabaseFile } from "../ca-directory/database-file.js";
import { databaseAddress } from "../ca-directory/database-source.js";
import { logNames, PostgresLog } from "../ca-directory/postgres-log.js";
import { readProvedCa } from "../ca-directory/proved-reading.js";
import { checkNothingLost, rememberRevision } from "../ca-directory/revision-witness.js";
import { parseState } from "../ca-directory/sealed-state.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { readSnapshot } from "../ca-directory/snapshot.js";
import type { CaContext } from "./context.js";
import { layOut } from "./laid-out-backup.js";
import { makeInPlace } from "./new-directory.js";

export interface AddedSnapshot {
  readonly revision: number;
  readonly sizeBytes: number;
}

/**
 * Puts a snapshot into the log: by it machines join, and changes that are older than the snapshot before it are removed.
 *
 * @throws HawserError `REGISTRY_NOT_FOUND` (the registry is not shared), `REGISTRY_AWAY`, and those of every change
 */
export async function addSnapshot({ store, record, keys }: CaContext): Promise<AddedSnapshot> {
  const { log } = store;
  if (log === undefined) throw notShared(store.directory);
  const { revision, bytes } = await store.change((draft) => {
    const { files } = store;
    return {
      revision: files.state.revision,
      bytes: backupBytes(record, files.state, readSnapshot(files), keys.sealing, draft.nowMs),
    };
  });
  try {
    await log.addSnapshot({ revision, bytes });
  } catch (error) {
    if (!isAway(error)) throw error;
    throw new HawserError(
      error.code,
      `the database has no new snapshot, so that no machine can join from one; everything else was done (${error.message})`,
      "When the database answers again, run: hawser registry snapshot",
    );
  }
  return { revision, sizeBytes: bytes.length };
}

export function notShared(directory: CaDirectory): HawserError {
  return new HawserError(
    "REGISTRY_NOT_FOUND",
    `the registry of ${directory} is in no database`,
    "Move it there first: hawser registry move --to postgres",
  );
}

export interface JoinOptions {
  readonly passphrase: string;
  /** Holds the URL of the database; left out where the environment has it. */
  readonly urlFile?: string;
  /** Name of the CA, where the database holds several. */
  readonly name?: string;
}

export interface Joined {
  readonly directory: string;
  readonly name: string;
  readonly instance: string;
  /** Of the last change: the same as on every other machine when nobody changes anything. */
  readonly revision: number;
  readonly names: number;
}

/**
 * Makes a CA directory for this machine from the newest snapshot of a shared registry and the changes since, all proved. What the database
 * does not show, a machine that joins cannot miss: compare the change's number with another machine's.
 *
 * @param path must not exist or be empty
 * @throws HawserError `REGISTRY_NOT_FOUND`, `WRONG_PASSPHRASE`, `BACKUP_DAMAGED`, `CA_EXISTS`, `OUT_EXISTS`,
 *   `REGISTRY_ROLLED_BACK` (this user has seen a newer state of this CA), and those of reading a CA
 */
export async function joinRegistry(path: string, { passphrase, urlFile, name }: JoinOptions): Promise<Joined> {
  const directory = new CaDirectory(path);
  const address = databaseAddress(directory, urlFile);
  const { log, bytes } = await newestSnapshot(address, name);
  const { header, snapshot, sealing } = openBackup(bytes, passphrase, "the database's snapshot");
  const said = parseState(snapshot.get(FILES.state)?.toString("utf8") ?? "");
  if (said?.log !== log) throw notFound("its snapshot is of another CA");
  const { made: loaded, place } = await makeInPlace(path, async (staging, lock) => {
    layOut(staging, snapshot);
    writeDatabaseFile(staging, urlFile);
    lock.release();
    const database = new PostgresLog(address, log);
    const openLog = (): PostgresLog => database;
    const joined = await readProvedCa({ directory: staging, sealing }, "all", {
      openLog,
      onAway: (error) => {
        throw error;
      },
    });
    checkNothingLost(directory, joined.files.state, database.place);
    return joined;
  });
  const { state } = loaded.files;
  rememberRevision(place, state);
  const { instance, revision } = state;
  return { directory: path, name: header.name, instance, revision, names: loaded.registry.entries.size };
}

async function newestSnapshot(
  address: ReturnType<typeof databaseAddress>,
  name: string | undefined,
): Promise<{ readonly log: string; readonly bytes: Buffer }> {
  const found: { readonly log: string; readonly bytes: Buffer; readonly name: string }[] = [];
  for (const log of await logNames(address)) {
    const snapshot = await new PostgresLog(address, log).snapshot();
    if (snapshot === undefined) continue;
    const header = readBackupHeader(snapshot.bytes, "the database's snapshot");
    if (name === undefined || header.name === name) found.push({ log, bytes: snapshot.bytes, name: header.name });
  }
  const [one, ...others] = found;
  if (one === undefined) throw notFound(name === undefined ? "it holds no CA" : `it holds no CA of the name ${JSON.stringify(name)}`);
  if (others.length === 0) return one;
  const names = [...new Set(found.map(({ name: other }) => other))];
  throw new HawserError(
    "REGISTRY_NOT_FOUND",
    `the database holds several registries (${names.map((other) => JSON.stringify(other)).join(", ")})`,
    "Name the CA: --name NAME. Where two have the same, use a database for each.",
  );
}

function notFound(problem: string): HawserError {
  return new HawserError(
    "REGISTRY_NOT_FOUND",
    `no machine can join from this database: ${problem}`,
    "Check the URL. On a machine of the CA, run: hawser registry snapshot",
  );
}
