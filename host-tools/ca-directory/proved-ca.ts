/** Reads all of a CA directory and proves it against its sealed state; and, without the passphrase, reads what there is and says so. */
import { HawserError } from "../../sdk/errors.js";
import { errnoCode, storageError } from "../../sim/node/files/atomic-file.js";
import { AuditDigest, entriesTold, isEntryAsTold, readAuditHead } from "./audit-trail.js";
import type { CaDirectory } from "./ca-directory.js";
import { readState, readUnprovedState } from "./ca-files.js";
import type { ProvedFiles } from "./ca-files.js";
import { isJournalThere, readRevision } from "./change-journal.js";
import type { Revision } from "./change-journal.js";
import type { CaRegistry, RegistryNames } from "./ca-registry.js";
import { corrupt, DIRECTORIES, FILES } from "./directory-layout.js";
import { IndexedRegistry } from "./indexed-registry.js";
import { entryDigest, RegistryTree } from "./registry-tree.js";
import type { RegistryRoot } from "./registry-tree.js";
import type { RegistryEntry } from "./registry-entry.js";
import { registryParts } from "./registry-parts.js";
import type { RegistryParts } from "./registry-parts.js";
import { readRegistry } from "./registry.js";
import type { ReadEntry } from "./registry.js";
import { checkNotOlder } from "./revision-witness.js";
import { registryKindOf } from "./sealed-state.js";
import { WholeRegistry } from "./whole-registry.js";

/** A CA directory in memory. */
export interface LoadedCa {
  readonly files: ProvedFiles;
  readonly registry: CaRegistry;
  readonly audit: AuditDigest;
}

/**
 * `used`: of a registry with an index, the index, and each entry when it is asked for. `all`: every entry, now. A registry without an index
 * is always read whole. `heads`: as `used`, but of a split index the heads, and the details of a name when they are asked for: only for who
 * holds the CA's lock, or can do it again when another process has changed them meanwhile.
 */
export type Reading = "heads" | "used" | "all";

export interface LoadOptions {
  /** Whether a journal is still to be struck off: watchers are told last. */
  readonly isChanging?: boolean;
  /** The trail as far as this process has read and proved it before. */
  readonly audit?: AuditDigest;
  /** The registry as this process knew it before: what is the same by its hash is not read again. */
  readonly before?: CaRegistry;
  readonly reading?: Reading;
}

/**
 * A CA, proved. The caller holds its lock.
 *
 * @throws HawserError `CA_CORRUPT` naming the file, `CA_ROLLED_BACK`
 */
export function loadCa(
  directory: CaDirectory,
  key: Uint8Array,
  { isChanging = false, audit = new AuditDigest(), before, reading = "heads" }: LoadOptions = {},
): LoadedCa {
  const files = readState(directory, key);
  const { state } = files;
  checkNotOlder(directory, state);
  files.checkAll();
  catchUp(directory, audit);
  if (audit.sealed.sha256 !== state.audit.sha256) throw directory.corrupt(FILES.audit, "its content differs from what the CA wrote");
  const index = state.registry.indexed ? IndexedRegistry.load(files.parts, state, before) : undefined;
  if (reading !== "heads") index?.readDetails();
  if (index !== undefined && reading === "all") index.admit(readProvedEntries(files));
  const registry = index ?? wholeRegistry(files);
  const loaded = { files, registry, audit };
  if (!isChanging) checkRevision(loaded);
  return loaded;
}

/**
 * The index as the disk has it now, for {@link LoadOptions.before}: read without the lock, while there is time. Each part is what the state
 * beside it names by hash; a state that is proved later takes those that it names too.
 *
 * @returns undefined if the registry has no index, or if it cannot be read now
 */
export function readIndexAhead(directory: CaDirectory): CaRegistry | undefined {
  try {
    const state = readUnprovedState(directory);
    return state.registry.indexed ? IndexedRegistry.load(registryParts(directory, registryKindOf(state)), state) : undefined;
  } catch {
    // Whatever it is: who reads it under the lock meets it again, or it was a change that went by.
    return undefined;
  }
}

function wholeRegistry(files: ProvedFiles): CaRegistry {
  return registryOf(files.parts, readProvedEntries(files), files.state.registry);
}

/** A registry of these entries, with an index where `like` has one. */
export function registryOf(parts: RegistryParts, entries: ReadonlyMap<string, ReadEntry>, like: RegistryRoot): CaRegistry {
  const digests = digestsOf(entries);
  if (like.indexed)
    return IndexedRegistry.of(
      parts,
      [...entries].map(([name, { entry }]) => ({ entry, digest: digests.get(name) ?? "" })),
    );
  const tree = new RegistryTree(digests, like.bits);
  return new WholeRegistry(parts, new Map([...entries].map(([name, { entry }]) => [name, entry])), tree);
}

/**
 * Every entry, read and proved.
 *
 * @throws HawserError `CA_CORRUPT` naming what is missing, too much or changed
 */
export function readProvedEntries({ directory, state, parts }: ProvedFiles): Map<string, ReadEntry> {
  const entries = readRegistry(parts);
  const digests = digestsOf(entries);
  const isSound = state.registry.indexed
    ? IndexedRegistry.load(parts, state).isOf(digests)
    : new RegistryTree(digests, state.registry.bits).root.root === state.registry.root;
  if (!isSound) throw corrupt(parts.pathOf(DIRECTORIES.registry), registryProblem(directory, digests));
  return entries;
}

function digestsOf(entries: ReadonlyMap<string, ReadEntry>): Map<string, string> {
  return new Map([...entries].map(([name, { text }]) => [name, entryDigest(name, text)]));
}

/** So many entries are named, of each kind. */
const NAMED = 10;

/** The trail, proved before this, knows what each entry should be. */
function registryProblem(directory: CaDirectory, found: ReadonlyMap<string, string>): string {
  const told = entriesTold(directory.readUnprovedText(FILES.audit));
  const list = (what: string, names: readonly string[]): string[] =>
    names.length === 0
      ? []
      : [
          `${what} ${names
            .slice(0, NAMED)
            .map((name) => `${name}.json`)
            .join(", ")}${names.length > NAMED ? ` and ${names.length - NAMED} more` : ""}`,
        ];
  const problems = [
    ...list(
      "missing:",
      [...told.keys()].filter((name) => !found.has(name)),
    ),
    ...list(
      "not written by this CA:",
      [...found.keys()].filter((name) => !told.has(name)),
    ),
    ...list(
      "not what the CA wrote last:",
      [...found.keys()].filter((name) => told.has(name) && !isEntryAsTold(told.get(name), found.get(name))),
    ),
  ];
  return problems.join("; ") || "its entries are not what the CA wrote last";
}

function catchUp(directory: CaDirectory, audit: AuditDigest): void {
  const path = directory.pathOf(FILES.audit);
  try {
    audit.catchUp(path);
  } catch (error) {
    throw trailError(error, path);
  }
}

function trailError(error: unknown, path: string): HawserError {
  const problem = { ENOENT: "it is missing", ELOOP: "it is a link", EISDIR: "it is not a file" }[errnoCode(error)];
  return problem === undefined ? storageError(error, "read", path) : corrupt(path, problem);
}

export function revisionOf({ state }: ProvedFiles): Revision {
  return { number: state.revision, auditHash: state.audit.head };
}

function checkRevision({ files }: LoadedCa): void {
  const { number, auditHash } = readRevision(files.directory);
  if (number !== files.state.revision || auditHash !== files.state.audit.head)
    throw files.directory.corrupt(FILES.revision, "it does not belong to the last change");
}

/** The cheap look at the trail and the number that stand beside a state already proved: sizes and ends. Throws `CA_CORRUPT`. */
export function checkTrail(loaded: LoadedCa): void {
  const { files } = loaded;
  const path = files.directory.pathOf(FILES.audit);
  let found: { sizeBytes: number; head: string };
  try {
    found = readAuditHead(path);
  } catch (error) {
    throw trailError(error, path);
  }
  if (found.sizeBytes !== files.state.audit.sizeBytes || found.head !== files.state.audit.head)
    throw corrupt(path, "it does not end where the last change ended");
  checkRevision(loaded);
}

const MAX_ATTEMPTS = 20;
/** From the second attempt on: what is being written needs some time. */
const PAUSE_MS = 5;

/**
 * Reads registry and revision without the lock and without a key: again when a change went by meanwhile. What files say of each other is
 * checked, nothing is proved. Where a change was cut off, or one follows another, the entries say what the index does not yet.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function readConsistently(directory: CaDirectory, reading: Reading = "all"): { names: RegistryNames; revision: Revision } {
  for (let attempt = 1; ; attempt += 1) {
    const revision = readRevision(directory);
    let names: RegistryNames | HawserError;
    try {
      names = readUnprovedNames(directory, attempt < MAX_ATTEMPTS ? reading : "all");
    } catch (error) {
      if (!(error instanceof HawserError)) throw error;
      names = error;
    }
    const head = headOf(directory);
    const changing = isJournalThere(directory);
    const changed = readRevision(directory).number !== revision.number;
    if (attempt < MAX_ATTEMPTS && (changed || (changing && names instanceof HawserError))) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      continue;
    }
    if (names instanceof HawserError) throw names;
    if (!changed && !changing && head !== revision.auditHash)
      throw directory.corrupt(FILES.audit, "it does not end where the last change ended");
    return { names, revision };
  }
}

function readUnprovedNames(directory: CaDirectory, reading: Reading): RegistryNames {
  const state = readUnprovedState(directory);
  const parts = registryParts(directory, registryKindOf(state));
  if (state.registry.indexed && reading !== "all") {
    const index = IndexedRegistry.load(parts, state);
    if (reading === "used") index.readDetails();
    return index;
  }
  const entries = new Map([...readRegistry(parts)].map(([name, { entry }]) => [name, entry]));
  const values = (): Iterable<RegistryEntry> => entries.values();
  return { entries, summaries: values, passing: values, withEnded: values };
}

function headOf(directory: CaDirectory): string {
  const path = directory.pathOf(FILES.audit);
  try {
    return readAuditHead(path).head;
  } catch (error) {
    throw trailError(error, path);
  }
}
