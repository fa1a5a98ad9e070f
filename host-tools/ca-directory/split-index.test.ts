/** The index of a registry in a database: heads that are read at once, and details that are read when they are asked for. */
import { describe, expect, it } from "vitest";
import type { ChangedEntry } from "./ca-registry.js";
import { entryFile } from "./directory-layout.js";
import { IndexedRegistry } from "./indexed-registry.js";
import type { RegistryEntry } from "./registry-entry.js";
import type { RegistryParts } from "./registry-parts.js";
import { entryDigest } from "./registry-tree.js";
import { sha256 } from "./sealed-state.js";
import type { CaState } from "./sealed-state.js";

/** A database in memory, which tells what was read of it. */
class MemoryParts implements RegistryParts {
  readonly kind = "sqlite";
  readonly hasSplitIndex = true;
  readonly texts = new Map<string, string>();
  readonly reads: string[] = [];

  pathOf = (part: string): string => part;
  names = (): string[] => [];
  roomBytes = (): number => 0;
  close = (): void => undefined;

  read(part: string): Buffer {
    this.reads.push(part);
    return Buffer.from(this.texts.get(part) ?? "", "utf8");
  }

  apply(writes: ReadonlyMap<string, Uint8Array | string>): void {
    for (const [part, text] of writes) this.texts.set(part, Buffer.from(text as string).toString("utf8"));
  }
}

const certificate = { serial: "1", notBeforeMs: 0, notAfterMs: 9, publicKeyHash: "" };

const textOf = (entry: RegistryEntry): string => `${JSON.stringify(entry, null, 2)}\n`;

function changed(name: string, change: Partial<RegistryEntry> = {}): ChangedEntry {
  const entry: RegistryEntry = {
    v: 1,
    kind: "device",
    name,
    role: "water meter",
    state: "active",
    createdAtMs: 1,
    certificates: [],
    ...change,
  };
  return { entry, digest: entryDigest(name, textOf(entry)) };
}

const all = Array.from({ length: 3000 }, (_, number) =>
  changed(`meter-${number}`, { certificates: [{ ...certificate, status: "active" }] }),
);

/** On the disk, and the state that speaks of it. */
function kept(entries: readonly ChangedEntry[]): { parts: MemoryParts; state: CaState } {
  const parts = new MemoryParts();
  const registry = IndexedRegistry.of(parts, entries);
  parts.apply(registry.files);
  parts.apply(new Map(entries.map(({ entry }) => [entryFile(entry.name), textOf(entry)])));
  return { parts, state: stateOf(registry) };
}

function stateOf(registry: IndexedRegistry): CaState {
  const files = Object.fromEntries([...registry.files].map(([file, text]) => [file, sha256(text)]));
  return { v: 1, instance: "", revision: 1, audit: { sizeBytes: 0, sha256: "", head: "" }, registry: registry.root, files };
}

const isDetails = (part: string): boolean => part.endsWith("-details");

describe("a split index", () => {
  it("tells name, kind, state and role by its heads alone, and reads the entry for the rest of a name", () => {
    const { parts, state } = kept(all);
    const registry = IndexedRegistry.load(parts, state);
    const summaries = [...registry.summaries()];
    expect(summaries.filter(({ kind, role, state }) => kind === "device" && role === "water meter" && state === "active")).toHaveLength(
      3000,
    );
    expect([registry.entries.has("meter-7"), registry.twinOf("METER-7"), registry.twinOf("meter-7")]).toEqual([true, "meter-7", undefined]);
    expect([...registry.withEnded()]).toEqual([]);
    expect(parts.reads.filter(isDetails)).toEqual([]);
    parts.reads.length = 0;
    expect(registry.named("meter-7")?.certificates).toEqual([{ ...certificate, status: "active" }]);
    expect(parts.reads).toEqual([entryFile("meter-7")]);
  });

  it("finds a name that differs in case only, whatever signs are in it, and no other", () => {
    const { parts, state } = kept([changed("Valve.2-b_C"), changed("valve"), changed("valve.2-b_C0")]);
    const registry = IndexedRegistry.load(parts, state);
    const asked = ["vALVE.2-B_c", "Valve.2-b_C", "valve.2-b_", "alve.2-b_C", "Valve32-b_C", "VALVE"];
    expect(asked.map((name) => registry.twinOf(name))).toEqual(["Valve.2-b_C", undefined, undefined, undefined, undefined, "valve"]);
  });

  it("reads the details of a part once more than a few of its names are asked for", () => {
    const { parts, state } = kept(all);
    const registry = IndexedRegistry.load(parts, state);
    parts.reads.length = 0;
    for (const { certificates } of registry.summaries()) expect(certificates).toEqual([{ ...certificate, status: "active" }]);
    expect(parts.reads.filter(isDetails)).toHaveLength(8);
    expect(parts.reads.length).toBeLessThan(8 * 20);
  });

  it("does not take an entry that is not what its head says, nor an older one of the same name", () => {
    const { parts, state } = kept(all);
    const older = parts.texts.get(entryFile("meter-7")) ?? "";
    const before = IndexedRegistry.load(parts, state);
    const ended = { ...certificate, status: "revoked", reason: "keyCompromise", revokedAtMs: 5 } as const;
    const after = before.after(new Map([["meter-7", changed("meter-7", { state: "revoked", certificates: [ended] })]]));
    parts.apply(after.filesSince(before));
    for (const text of [older, older.replace("water", "steam"), ""]) {
      parts.texts.set(entryFile("meter-7"), text);
      const registry = IndexedRegistry.load(parts, stateOf(after));
      expect(() => [...registry.withEnded()].map(({ certificates }) => certificates)).toThrow(
        expect.objectContaining({ code: "CA_CORRUPT" }),
      );
    }
  });

  it("does not take details that are not what the CA wrote, nor old ones with a new head", () => {
    const { parts, state } = kept(all);
    const old = new Map(parts.texts);
    const after = IndexedRegistry.load(parts, state).after(new Map([["meter-7", changed("meter-7")]]));
    parts.apply(after.filesSince(IndexedRegistry.load(parts, state)));
    for (const [part, text] of old) if (isDetails(part)) parts.texts.set(part, text);
    const registry = IndexedRegistry.load(parts, stateOf(after));
    expect(registry.named("meter-7")?.state).toBe("active");
    expect(() => registry.after(new Map([["meter-7", changed("meter-7")]]))).toThrow(expect.objectContaining({ code: "CA_CORRUPT" }));
    expect(() => registry.readDetails()).toThrow(expect.objectContaining({ code: "CA_CORRUPT" }));
  });

  it("changes two texts for a name, and is the one that all its names would have made at once", () => {
    const { parts, state } = kept(all.slice(0, 2000));
    const before = IndexedRegistry.load(parts, state);
    const ended = { ...certificate, status: "revoked", reason: "keyCompromise", revokedAtMs: 5 } as const;
    const revoked = changed("meter-7", { state: "revoked", certificates: [ended] });
    const after = before.after(new Map([["meter-7", revoked]]));
    expect([...after.filesSince(before).keys()].map(isDetails)).toEqual([false, true]);
    expect([...after.withEnded()].map(({ name }) => name)).toEqual(["meter-7"]);
    const grown = after.after(new Map([["meter-7", changed("meter-7", { certificates: [{ ...certificate, status: "active" }] })]]));
    const more = grown.after(new Map(all.slice(2000).map((one) => [one.entry.name, one])));
    expect(more.files).toEqual(IndexedRegistry.of(parts, all).files);
    expect(more.root).toEqual(IndexedRegistry.of(parts, all).root);
    expect([...more.files.keys()].filter((file) => !isDetails(file))).toHaveLength(8);
  });

  it("is read again only where it changed", () => {
    const { parts, state } = kept(all);
    const before = IndexedRegistry.load(parts, state);
    const after = before.after(new Map([["meter-7", changed("meter-7", { role: "valve" })]]));
    parts.apply(after.filesSince(before));
    const next = stateOf(after);
    parts.reads.length = 0;
    const registry = IndexedRegistry.load(parts, next, before);
    expect([registry.named("meter-7")?.role, parts.reads.length]).toEqual(["valve", 1]);
  });
});
