/** A change of a CA in the making: what it reads is the state before it plus what it has put so far. */
import type { AuditEvent } from "./audit-trail.js";
import { twinAmong } from "./case-fold.js";
import type { CaDirectory } from "./ca-directory.js";
import type { CaFiles } from "./ca-files.js";
import type { CaRegistry, ChangedEntry, EntryMap, RegistryNames } from "./ca-registry.js";
import { entryFile } from "./directory-layout.js";
import { DraftEntries } from "./draft-entries.js";
import type { NameSummary, RegistryEntry } from "./registry-entry.js";
import { entryDigest } from "./registry-tree.js";
import { revokedOf } from "./state-transitions.js";

export type FollowUp = (draft: Draft) => void;

export class Draft implements CaFiles, RegistryNames {
  readonly entries: EntryMap;
  readonly writes = new Map<string, Buffer>();
  readonly removes = new Set<string>();
  readonly changedEntries = new Map<string, ChangedEntry | undefined>();
  event: AuditEvent | undefined;
  /** Set when this change makes a registry of another kind count, which holds the same and is complete on the disk. */
  nextRegistry: CaRegistry | undefined;
  /** Set when this change founds the log of this name, which machines may share from then on; `null` when it leaves the one there is. */
  nextLog: string | null | undefined;
  /** Set when this change seals everything under another key. */
  nextSealing: Uint8Array | undefined;
  /** True when this change needs a newly signed revocation list. */
  revocationChanged = false;

  constructor(
    readonly before: CaRegistry,
    private readonly files: CaFiles,
    readonly revision: number,
    readonly nowMs: number,
    /** Which of the CA's machines makes the change; undefined where there is only one. */
    readonly machine: string | undefined,
  ) {
    this.entries = new DraftEntries(before.entries, this.changedEntries);
  }

  get directory(): CaDirectory {
    return this.files.directory;
  }

  /** A file as this change will leave it. */
  read(file: string): Buffer {
    return this.writes.get(file) ?? this.files.read(file);
  }

  has(file: string): boolean {
    return this.writes.has(file) || (!this.removes.has(file) && this.files.has(file));
  }

  summaries(): Iterable<NameSummary> {
    return this.#asChanged(this.before.summaries());
  }

  passing(): Iterable<NameSummary> {
    return this.#asChanged(this.before.passing());
  }

  withEnded(): Iterable<NameSummary> {
    return this.#asChanged(this.before.withEnded());
  }

  /** A name that differs from this one only in the case of its letters. */
  twinOf(name: string): string | undefined {
    const added = [...this.changedEntries].flatMap(([other, change]) => (change === undefined ? [] : [other]));
    const before = this.before.twinOf(name);
    return twinAmong(added, name) ?? (before !== undefined && this.entries.has(before) ? before : undefined);
  }

  *#asChanged(before: Iterable<NameSummary>): Generator<NameSummary> {
    for (const summary of before) if (!this.changedEntries.has(summary.name)) yield summary;
    for (const change of this.changedEntries.values()) if (change !== undefined) yield change.entry;
  }

  put(entry: RegistryEntry): void {
    const text = `${JSON.stringify(entry, null, 2)}\n`;
    this.write(entryFile(entry.name), text);
    this.changedEntries.set(entry.name, { entry, digest: entryDigest(entry.name, text) });
    this.revocationChanged ||= this.#revokedSerials(this.before.entries.get(entry.name)) !== this.#revokedSerials(entry);
  }

  remove(name: string): void {
    this.removeFile(entryFile(name));
    this.changedEntries.set(name, undefined);
  }

  write(file: string, content: string | Uint8Array): void {
    this.removes.delete(file);
    this.writes.set(file, Buffer.from(content as Uint8Array));
  }

  removeFile(file: string): void {
    this.writes.delete(file);
    this.removes.add(file);
  }

  /** What the audit trail will say. A change has exactly one event. */
  record(event: AuditEvent): void {
    this.event = event;
  }

  #revokedSerials(entry: RegistryEntry | undefined): string {
    return revokedOf(entry?.certificates ?? [], this.nowMs)
      .map(({ serial }) => serial)
      .join(" ");
  }
}
