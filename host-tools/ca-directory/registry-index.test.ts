import { expect, test } from "vitest";
import { CaDirectory } from "./ca-directory.js";
import type { ChangedEntry } from "./ca-registry.js";
import { IndexedRegistry } from "./indexed-registry.js";
import type { CertificateRecord } from "./registry-entry.js";
import { entryDigest, RegistryTree } from "./registry-tree.js";
import { INDEX_FROM_NAMES, indexLine } from "./registry-index.js";
import { FileParts } from "./file-parts.js";
import { WholeRegistry } from "./whole-registry.js";

const parts = new FileParts(new CaDirectory("ca"));
const changed = (name: string, role = "sensor"): ChangedEntry => {
  const entry = { v: 1, kind: "device", name, role, state: "active", createdAtMs: 1, certificates: [] } as const;
  return { entry, digest: entryDigest(name, JSON.stringify(entry)) };
};
const names = (count: number): string[] => Array.from({ length: count }, (_, number) => `meter-${number}`);
const changes = (of: readonly string[]): Map<string, ChangedEntry> => new Map(of.map((name) => [name, changed(name)]));

test("a registry has an index once it has more than a thousand names", () => {
  const empty = new WholeRegistry(parts, new Map(), new RegistryTree([]));
  const few = empty.after(changes(names(INDEX_FROM_NAMES)));
  expect([few.root.indexed, few.files.size]).toEqual([undefined, 0]);
  const many = few.after(changes(["one-more"]));
  expect([many.root.indexed, many.root.count, many.files.size]).toEqual([true, INDEX_FROM_NAMES + 1, 4]);
  expect(new Set([...many.summaries()].map(({ name }) => name))).toEqual(new Set([...names(INDEX_FROM_NAMES), "one-more"]));
});

test("an index that grew is the one that all its names would have made at once", () => {
  const all = names(2000);
  const grown = IndexedRegistry.of(parts, changes(all.slice(0, 900)).values()).after(changes(all.slice(900)));
  const atOnce = IndexedRegistry.of(parts, changes(all).values());
  expect(grown.root).toEqual(atOnce.root);
  expect(grown.files).toEqual(atOnce.files);
  expect(grown.entries.size).toBe(2000);
});

test("a change touches the file of the name alone, and taking it back leads to the same root", () => {
  const before = IndexedRegistry.of(parts, changes(names(2000)).values());
  const after = before.after(new Map([["meter-7", changed("meter-7", "valve")]]));
  expect([...after.files].filter(([file, text]) => before.files.get(file) !== text)).toHaveLength(1);
  expect(after.named("meter-7")?.role).toBe("valve");
  expect(after.root.root).not.toBe(before.root.root);
  expect(after.after(new Map([["meter-7", changed("meter-7")]])).root).toEqual(before.root);
  const without = before.after(new Map([["meter-7", undefined]]));
  expect([without.entries.size, without.entries.has("meter-7"), before.entries.has("meter-7")]).toEqual([1999, false, true]);
});

test("a scan for ended certificates finds every name that has one, and passes over the others", () => {
  const record = { serial: "1", notBeforeMs: 0, notAfterMs: 9, publicKeyHash: "" };
  const of = (name: string, ...certificates: CertificateRecord[]): ChangedEntry => ({
    entry: { ...changed(name).entry, certificates },
    digest: entryDigest(name, ""),
  });
  const ended = { ...record, status: "superseded", reason: "superseded", revokedAtMs: 5 } as const;
  const registry = IndexedRegistry.of(parts, [of("new"), of("used", { ...record, status: "active", der: "AA==" }), of("renewed", ended)]);
  expect([...registry.withEnded()].map(({ name, certificates }) => [name, certificates])).toEqual([["renewed", [ended]]]);
  expect([...registry.summaries()].flatMap(({ certificates }) => certificates.map((one) => "der" in one))).toEqual([false, false]);
});

test("an index has all of an entry but its certificates, in whatever script its attributes and role are", () => {
  const entry = {
    ...changed("meter", "water meter").entry,
    currentSerial: "1",
    psk: "c2VhbGVk",
    attributes: { site: "Z\u00fcrich 7\u2028\n\u6771\u4eac", line: "" },
    passwordHash: `$7$101$${"A".repeat(16)}$${"B".repeat(86)}==`,
  };
  const [summary] = IndexedRegistry.of(parts, [{ entry, digest: entryDigest("meter", "") }]).summaries();
  const { attributes: moved, ...others } = entry;
  expect(indexLine({ attributes: moved, ...others }, "")).toBe(indexLine(entry, ""));
  const { name, kind, role, state, createdAtMs, certificates, currentSerial, psk, attributes, passwordHash } = summary ?? entry;
  expect({ v: 1, name, kind, role, state, createdAtMs, certificates, currentSerial, psk, attributes, passwordHash }).toEqual(entry);
});
