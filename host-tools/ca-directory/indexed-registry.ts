/** A registry of which the index is in memory, proved; an entry is read and proved when it is asked for. */
import type { CaRegistry, ChangedEntry, EntryChanges, EntryMap } from "./ca-registry.js";
import { corrupt, DIRECTORIES } from "./directory-layout.js";
import { checkEntry, readCheckedEntry } from "./entry-check.js";
import type { NameSummary, RegistryEntry } from "./registry-entry.js";
import { detailsFile, IndexDetails, indexBits, indexFile, indexLine, IndexSegment, lineInAnyCase, spread } from "./registry-index.js";
import type { DetailsSource, IndexedName } from "./registry-index.js";
import type { RegistryKind } from "./registry-kinds.js";
import type { RegistryParts } from "./registry-parts.js";
import { sha256 } from "./sealed-state.js";
import type { CaState } from "./sealed-state.js";
import { bucketOf, rootOf } from "./registry-tree.js";
import type { RegistryRoot } from "./registry-tree.js";

export class IndexedRegistry implements CaRegistry {
  readonly root: RegistryRoot;
  readonly entries: EntryMap;

  /** @param known entries that were read and proved before; shared by all states of one CA in this process */
  constructor(
    private readonly parts: RegistryParts,
    private readonly segments: readonly IndexSegment[],
    count: number,
    private readonly known = new Map<string, ChangedEntry>(),
  ) {
    const digests = segments.map(({ hash }) => Buffer.from(hash, "hex"));
    this.root = { ...rootOf(bitsOf(segments), count, digests), indexed: true };
    this.entries = new IndexedEntries(this, count);
  }

  /** @param entries all there are */
  static of(parts: RegistryParts, entries: Iterable<ChangedEntry>): IndexedRegistry {
    const lines = [...entries].map(({ entry, digest }) => indexLine(entry, digest));
    const { hasSplitIndex } = parts;
    return new IndexedRegistry(parts, spread(lines, indexBits(lines.length, hasSplitIndex), detailsSource(parts)), lines.length);
  }

  /**
   * As the files say that stand beside a state. Whether it is proved depends on whether the state is.
   *
   * @param before whose parts are taken where they have the same hash
   * @throws HawserError `CA_CORRUPT`
   */
  static load(parts: RegistryParts, state: CaState, before?: CaRegistry): IndexedRegistry {
    const { bits, count, root } = state.registry;
    const known = before instanceof IndexedRegistry ? before : undefined;
    const source = detailsSource(parts);
    const segments = Array.from({ length: 2 ** bits }, (_, number) => {
      const [path, old] = [indexFile(number), known?.segments[number]];
      const hash = state.files[path];
      if (old !== undefined && old.hash === hash && old.details?.hash === hashOfDetails(parts, path, state)) return old;
      if (hash === undefined) throw corrupt(parts.pathOf(path), "the CA's state does not know it");
      return new IndexSegment(path, readProved(parts, path, hash), hash, source && detailsOf(source, path, state));
    });
    const registry = new IndexedRegistry(parts, segments, count, known?.known);
    if (registry.root.root !== root) throw corrupt(parts.pathOf(DIRECTORIES.index), "it does not belong to the CA's state");
    return registry;
  }

  /** Whether these are all entries, by their digests. */
  isOf(digests: ReadonlyMap<string, string>): boolean {
    if (digests.size !== this.entries.size) return false;
    for (const [name, digest] of digests) if (this.named(name)?.digest !== digest) return false;
    return true;
  }

  /** Takes entries that were read and proved. Throws `CA_CORRUPT` when the index says something else of one. */
  admit(entries: ReadonlyMap<string, { readonly entry: RegistryEntry }>): void {
    for (const [name, { entry }] of entries) {
      const summary = this.named(name);
      if (summary?.isOf(entry) !== true)
        throw corrupt(this.parts.pathOf(DIRECTORIES.index), `what it says of ${name} is not what its entry says`);
      this.known.set(name, { entry, digest: summary.digest });
    }
  }

  get files(): ReadonlyMap<string, string> {
    return new Map(this.segments.flatMap(({ files }) => files));
  }

  filesSince(before: CaRegistry): ReadonlyMap<string, string> {
    const segments = before instanceof IndexedRegistry ? before.segments : [];
    return new Map(this.segments.flatMap((segment, number) => (segment === segments[number] ? [] : segment.files)));
  }

  /** Reads what is left to be read of a split index. Throws `CA_CORRUPT`. */
  readDetails(): void {
    for (const { details } of this.segments) void details?.text;
  }

  *summaries(): Generator<IndexedName> {
    for (const { names } of this.segments) yield* names.values();
  }

  *passing(): Generator<IndexedName> {
    for (const segment of this.segments) yield* segment.passing();
  }

  *withEnded(): Generator<NameSummary> {
    for (const { withEnded } of this.segments) yield* withEnded;
  }

  named(name: string): IndexedName | undefined {
    return this.segments[bucketOf(name, bitsOf(this.segments))]?.names.get(name);
  }

  entry(name: string): RegistryEntry | undefined {
    const digest = this.named(name)?.digest;
    if (digest === undefined) return undefined;
    const known = this.known.get(name);
    if (known?.digest === digest) return known.entry;
    const entry = readCheckedEntry(this.parts, name, digest);
    this.known.set(name, { entry, digest });
    return entry;
  }

  get kind(): RegistryKind {
    return this.parts.kind;
  }

  check(name: string): void {
    checkEntry(this.parts, name, this.named(name)?.digest);
  }

  twinOf(name: string): string | undefined {
    const line = lineInAnyCase(name);
    for (const segment of this.segments) {
      const twin = segment.twinOf(name, line);
      if (twin !== undefined) return twin;
    }
    return undefined;
  }

  after(changes: EntryChanges): IndexedRegistry {
    const bits = bitsOf(this.segments);
    const lines = new Map<number, Map<string, string | undefined>>();
    let count = this.entries.size;
    for (const [name, change] of changes) {
      count += (change === undefined ? 0 : 1) - (this.entries.has(name) ? 1 : 0);
      const number = bucketOf(name, bits);
      const ofFile = lines.get(number) ?? new Map<string, string | undefined>();
      lines.set(number, ofFile.set(name, change === undefined ? undefined : indexLine(change.entry, change.digest)));
    }
    const source = detailsSource(this.parts);
    const segments = this.segments.map((segment, number) => {
      const changed = lines.get(number);
      return changed === undefined ? segment : segment.with(changed, source);
    });
    const wanted = indexBits(count, this.parts.hasSplitIndex, bits);
    const all =
      wanted === bits
        ? segments
        : spread(
            segments.flatMap((segment) => segment.lines()),
            wanted,
            source,
          );
    return new IndexedRegistry(this.parts, all, count, this.known);
  }
}

class IndexedEntries implements EntryMap {
  constructor(
    private readonly registry: IndexedRegistry,
    readonly size: number,
  ) {}

  get(name: string): RegistryEntry | undefined {
    return this.registry.entry(name);
  }

  has(name: string): boolean {
    return this.registry.named(name) !== undefined;
  }

  *keys(): Generator<string> {
    for (const { name } of this.registry.summaries()) yield name;
  }

  *values(): Generator<RegistryEntry> {
    for (const name of this.keys()) {
      const entry = this.get(name);
      if (entry !== undefined) yield entry;
    }
  }
}

function readProved(parts: RegistryParts, path: string, hash: string): Buffer {
  const bytes = parts.read(path);
  if (sha256(bytes) === hash) return bytes;
  throw corrupt(parts.pathOf(path), "its content differs from what the CA last wrote");
}

/** Of a split index; undefined where it is not split. */
function detailsSource(parts: RegistryParts): DetailsSource | undefined {
  if (!parts.hasSplitIndex) return undefined;
  return {
    text: (path, hash) => readProved(parts, path, hash).toString("utf8"),
    entry: (name, digest) => readCheckedEntry(parts, name, digest),
  };
}

function hashOfDetails(parts: RegistryParts, path: string, { files }: CaState): string | undefined {
  return parts.hasSplitIndex ? (files[detailsFile(path)] ?? "") : undefined;
}

function detailsOf(source: DetailsSource, path: string, { files }: CaState): IndexDetails {
  const file = detailsFile(path);
  return new IndexDetails(file, files[file] ?? "", source);
}

function bitsOf({ length }: readonly IndexSegment[]): number {
  return Math.log2(length);
}
