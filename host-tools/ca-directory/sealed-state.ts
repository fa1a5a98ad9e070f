/**
 * The sealed state of a CA directory: one MAC, under a key that only the passphrase opens, over everything the directory holds. Whoever can
 * write the files but does not know the passphrase can change nothing unnoticed: not a file, not an entry, not a line of the audit trail,
 * and not the number that says how new it all is.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { SealedAudit } from "./audit-trail.js";
import { parseWritten } from "./registry-entry.js";
import type { RegistryKind } from "./registry-kinds.js";
import type { RegistryRoot } from "./registry-tree.js";

export interface CaState {
  readonly v: 1;
  /** Names this CA and this copy of it: 32 hex digits, random. A restored copy that becomes the CA gets another. */
  readonly instance: string;
  /** Number of the last change; grows by one with each. */
  readonly revision: number;
  readonly audit: SealedAudit;
  readonly registry: RegistryRoot;
  /** SHA-256 of every other file that belongs to the CA, by its path below the directory. */
  readonly files: Readonly<Record<string, string>>;
  /** Where the registry is, with the files of its index: in files where it is missing. */
  readonly store?: RegistryKind;
  /** The log in a database that every change goes through first: 32 hex digits, random. The registry here is a copy of a shared one. */
  readonly log?: string;
}

export function registryKindOf({ store = "files" }: Pick<CaState, "store">): RegistryKind {
  return store;
}

/** The same state with a registry of this kind. */
export function inStore({ store: _before, ...rest }: CaState, kind: RegistryKind): CaState {
  return kind === "files" ? rest : { ...rest, store: kind };
}

/** The same state with its changes in this log, or in none. */
export function inLog({ log: _before, ...rest }: CaState, log: string | undefined): CaState {
  return log === undefined ? rest : { ...rest, log };
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A key for one purpose from the key that the passphrase opens. */
export function subkey(sealing: Uint8Array, purpose: string): Buffer {
  return createHmac("sha256", sealing).update(`hawser CA: ${purpose}`).digest();
}

export function stateKey(sealing: Uint8Array): Buffer {
  return subkey(sealing, "state");
}

export function macOf(key: Uint8Array, what: string, text: string): string {
  return createHmac("sha256", key).update(`${what}\0${text}`).digest("hex");
}

export function macMatches(key: Uint8Array, what: string, text: string, mac: unknown): boolean {
  if (typeof mac !== "string" || !/^[0-9a-f]{64}$/.test(mac)) return false;
  return timingSafeEqual(Buffer.from(macOf(key, what, text), "hex"), Buffer.from(mac, "hex"));
}

const PURPOSE = "state";

/** The file's text: the state in its only form, and its MAC. */
export function stateText(key: Uint8Array, state: CaState): string {
  const body = canonical(state);
  return sealed(body, macOf(key, PURPOSE, body));
}

function sealed(body: string, mac: string): string {
  return `${body.slice(0, -1)},"mac":"${mac}"}\n`;
}

function canonical({ instance, revision, audit, registry, files, store, log }: CaState): string {
  const { sizeBytes, sha256: hash, head } = audit;
  const { bits, count, root, indexed } = registry;
  const sorted = Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify({
    v: 1,
    instance,
    revision,
    audit: { sizeBytes, sha256: hash, head },
    registry: { bits, count, root, ...(indexed && { indexed }) },
    files: sorted,
    ...(store && { store }),
    ...(log && { log }),
  });
}

/** @returns undefined when the text is no state; nothing is proved yet */
export function parseState(text: string): CaState | undefined {
  const value = parseWritten(text);
  if (value === undefined || value["v"] !== 1) return undefined;
  const { instance, revision, audit, registry, files, store, log } = value as Record<string, Record<string, unknown> | unknown>;
  if (
    typeof instance !== "string" ||
    !/^[0-9a-f]{32}$/.test(instance) ||
    !isCount(revision) ||
    !isObject(audit) ||
    !isObject(registry) ||
    !isObject(files)
  )
    return undefined;
  if (!isCount(audit["sizeBytes"]) || !isHash(audit["sha256"]) || !isHash(audit["head"])) return undefined;
  const { bits, count, root, indexed } = registry;
  if (!isCount(bits) || bits > 20 || !isCount(count) || !isHash(root) || (indexed !== undefined && indexed !== true)) return undefined;
  if (!Object.values(files).every(isHash) || (store !== undefined && store !== "sqlite")) return undefined;
  if (log !== undefined && (typeof log !== "string" || !/^[0-9a-f]{32}$/.test(log))) return undefined;
  const sealed = { sizeBytes: audit["sizeBytes"], sha256: audit["sha256"], head: audit["head"] };
  return {
    v: 1,
    instance,
    revision,
    audit: sealed,
    registry: { bits, count, root, ...(indexed && { indexed }) },
    files: files as Record<string, string>,
    ...(store && { store }),
    ...(log && { log }),
  };
}

/** The state in `text` when it was written by whoever holds the key, byte for byte. */
export function openState(key: Uint8Array, text: string): CaState | undefined {
  const state = parseState(text);
  if (state === undefined) return undefined;
  const mac = /,"mac":"([0-9a-f]{64})"\}\n$/.exec(text)?.[1] ?? "";
  const body = canonical(state);
  return text === sealed(body, mac) && macMatches(key, PURPOSE, body, mac) ? state : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isHash(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}
