/** Backs a CA up into one encrypted file, while services run on it. */
import { lstatSync } from "node:fs";
import { resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { backupBytes } from "../ca-directory/backup-file.js";
import { readSnapshot } from "../ca-directory/snapshot.js";
import type { CaContext } from "./context.js";

export interface Backup {
  readonly file: string;
  /** Number of the last change in it. */
  readonly revision: number;
  readonly names: number;
  readonly sizeBytes: number;
}

/**
 * Everything is read as one change left it, and proved before it is written. The CA itself is not changed.
 *
 * @param file to create, with mode 0600
 * @throws HawserError `OUT_EXISTS`, `STORAGE_FULL`, `STORAGE_FAILED`, and those of every change
 */
export async function backUp(ca: CaContext, file: string): Promise<Backup> {
  const path = resolve(file);
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined)
    throw new HawserError("OUT_EXISTS", `${file} exists`, "Choose another file: a backup never takes another one's place.");
  // No event is drafted: other changes wait, and nothing is changed.
  return ca.store.change((draft) => {
    const { files } = ca.store;
    const snapshot = readSnapshot(files);
    const bytes = backupBytes(ca.record, files.state, snapshot, ca.keys.sealing, draft.nowMs);
    writeFileAtomic(path, bytes);
    return { file, revision: files.state.revision, names: draft.entries.size, sizeBytes: bytes.length };
  });
}
