/** All of a CA directory at one moment, proved: what a backup holds. */
import type { ProvedFiles } from "./ca-files.js";
import { entryFile, FILES, isRegistryPart, isSealedFile } from "./directory-layout.js";
import { readProvedEntries } from "./proved-ca.js";
import { sha256 } from "./sealed-state.js";

/** Content by path below the directory. */
export type Snapshot = ReadonlyMap<string, Buffer>;

/**
 * To be called while nobody changes the directory.
 *
 * @throws HawserError `CA_CORRUPT` naming what is not what the CA wrote
 */
export function readSnapshot(files: ProvedFiles): Snapshot {
  const { directory, state } = files;
  const registry = readProvedEntries(files);
  const audit = directory.readUnproved(FILES.audit);
  if (sha256(audit) !== state.audit.sha256) throw directory.corrupt(FILES.audit, "its content differs from what the CA wrote");
  return new Map([
    ...Object.keys(state.files).map((file) => [file, files.read(file)] as const),
    ...[...registry].map(([name, { text }]) => [entryFile(name), text] as const),
    [FILES.audit, audit],
    [FILES.revision, directory.readUnproved(FILES.revision)],
    // Last, as in every change: what has it has all else.
    [FILES.state, Buffer.from(files.text, "utf8")],
  ]);
}

/** Whether a path may be in a snapshot: nothing else is ever written when one is restored. */
export function isInSnapshot(path: string): boolean {
  return isSealedFile(path) || isRegistryPart(path) || path === FILES.audit || path === FILES.revision || path === FILES.state;
}
