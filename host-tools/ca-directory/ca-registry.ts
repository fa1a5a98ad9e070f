/** The registry of an opened CA, as the code that works with it sees it: wherever and however its entries are kept. */
import type { NameSummary, RegistryEntry } from "./registry-entry.js";
import type { RegistryKind } from "./registry-kinds.js";
import type { RegistryRoot } from "./registry-tree.js";

/** Entries by name. */
export interface EntryMap {
  readonly size: number;
  /** @throws HawserError `CA_CORRUPT` when the entry is not what the CA wrote last */
  get(name: string): RegistryEntry | undefined;
  has(name: string): boolean;
  keys(): Iterable<string>;
  /** Every entry there is, which may mean to read every one. Throws as `get`. */
  values(): Iterable<RegistryEntry>;
}

/** What can be asked of all names, as a change is about to leave them or as they are. */
export interface RegistryNames {
  readonly entries: EntryMap;
  /** Every name, in no order: cheaper than `entries.values()`. */
  summaries(): Iterable<NameSummary>;
  /** The same for who looks at each once: nothing is kept of those that are not asked for more than name, kind, state and role. */
  passing(): Iterable<NameSummary>;
  /** At least those of which a certificate was revoked or superseded. */
  withEnded(): Iterable<NameSummary>;
}

/** What a change puts in an entry's place; undefined where the entry is removed. */
export type EntryChanges = ReadonlyMap<string, ChangedEntry | undefined>;

export interface ChangedEntry {
  readonly entry: RegistryEntry;
  /** What stands for it in the hash over all. */
  readonly digest: string;
}

/** A registry at one moment. Nothing changes it: a change makes another. */
export interface CaRegistry extends RegistryNames {
  readonly kind: RegistryKind;
  /** What the sealed state has of it. */
  readonly root: RegistryRoot;
  /** Files that hold it beside those of the entries: their text by path. May mean to read every one. Throws as `get`. */
  readonly files: ReadonlyMap<string, string>;
  /** Those of them that are not as another registry has them, which may be the one before a change. */
  filesSince(before: CaRegistry): ReadonlyMap<string, string>;
  /**
   * Whether an entry's file is still what was written last, before it is replaced or removed.
   *
   * @throws HawserError `CA_CORRUPT`
   */
  check(name: string): void;
  /** A name that differs from this one only in the case of its letters. */
  twinOf(name: string): string | undefined;
  after(changes: EntryChanges): CaRegistry;
}
