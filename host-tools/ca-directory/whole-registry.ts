/** A registry of which all entries are in memory, each read and proved. */
import type { CaRegistry, EntryChanges } from "./ca-registry.js";
import { twinAmong } from "./case-fold.js";
import { checkEntry } from "./entry-check.js";
import { IndexedRegistry } from "./indexed-registry.js";
import type { RegistryEntry } from "./registry-entry.js";
import { INDEX_FROM_NAMES } from "./registry-index.js";
import type { RegistryKind } from "./registry-kinds.js";
import type { RegistryParts } from "./registry-parts.js";
import type { RegistryRoot, RegistryTree } from "./registry-tree.js";

export class WholeRegistry implements CaRegistry {
  readonly files: ReadonlyMap<string, string> = new Map();

  constructor(
    private readonly parts: RegistryParts,
    readonly entries: ReadonlyMap<string, RegistryEntry>,
    private readonly tree: RegistryTree,
  ) {}

  filesSince(): ReadonlyMap<string, string> {
    return this.files;
  }

  get root(): RegistryRoot {
    return this.tree.root;
  }

  summaries(): Iterable<RegistryEntry> {
    return this.entries.values();
  }

  passing(): Iterable<RegistryEntry> {
    return this.entries.values();
  }

  withEnded(): Iterable<RegistryEntry> {
    return this.entries.values();
  }

  get kind(): RegistryKind {
    return this.parts.kind;
  }

  check(name: string): void {
    checkEntry(this.parts, name, this.tree.digestOf(name));
  }

  twinOf(name: string): string | undefined {
    return twinAmong(this.entries.keys(), name);
  }

  after(changes: EntryChanges): CaRegistry {
    const entries = new Map(this.entries);
    for (const [name, change] of changes) {
      if (change === undefined) entries.delete(name);
      else entries.set(name, change.entry);
    }
    const tree = this.tree.with(changes);
    if (entries.size <= INDEX_FROM_NAMES) return new WholeRegistry(this.parts, entries, tree);
    return IndexedRegistry.of(
      this.parts,
      [...entries.values()].map((entry) => ({ entry, digest: tree.digestOf(entry.name) ?? "" })),
    );
  }
}
