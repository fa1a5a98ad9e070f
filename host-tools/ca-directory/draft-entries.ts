/** The entries of a registry with what a change has put and removed so far. */
import type { ChangedEntry, EntryMap } from "./ca-registry.js";
import type { RegistryEntry } from "./registry-entry.js";

export class DraftEntries implements EntryMap {
  constructor(
    private readonly before: EntryMap,
    /** Undefined for a removed one. */
    private readonly changes: ReadonlyMap<string, ChangedEntry | undefined>,
  ) {}

  get size(): number {
    let size = this.before.size;
    for (const [name, change] of this.changes) size += (change === undefined ? 0 : 1) - (this.before.has(name) ? 1 : 0);
    return size;
  }

  get(name: string): RegistryEntry | undefined {
    return this.changes.has(name) ? this.changes.get(name)?.entry : this.before.get(name);
  }

  has(name: string): boolean {
    return this.changes.has(name) ? this.changes.get(name) !== undefined : this.before.has(name);
  }

  *keys(): Generator<string> {
    for (const name of this.before.keys()) if (!this.changes.has(name) || this.changes.get(name) !== undefined) yield name;
    // What was there before is not told again, also when it is changed while this goes on.
    for (const [name, change] of this.changes) if (change !== undefined && !this.before.has(name)) yield name;
  }

  *values(): Generator<RegistryEntry> {
    for (const name of this.keys()) {
      const entry = this.get(name);
      if (entry !== undefined) yield entry;
    }
  }
}
