/** Reads the registry of a CA directory: one JSON file a name. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { checkId } from "../../sdk/identity/device-id.js";
import { errnoCode, isTemporaryName, storageError } from "../../sim/node/files/atomic-file.js";
import { readCaFile, readCaJson } from "./ca-files.js";
import { corrupt, DIRECTORIES, entryFile } from "./directory-layout.js";
import { currentCertificate } from "./state-transitions.js";
import { parseEntry } from "./registry-entry.js";
import type { CertificateSummary, EntryState, NameSummary, RegistryEntry } from "./registry-entry.js";

export interface ReadEntry {
  readonly entry: RegistryEntry;
  /** As it is on the disk. */
  readonly text: Buffer;
}

/** @throws HawserError `CA_CORRUPT` naming the file that is damaged */
export function readRegistry(directory: string): Map<string, ReadEntry> {
  const entries = new Map<string, ReadEntry>();
  for (const file of namesIn(join(directory, DIRECTORIES.registry)).sort()) {
    if (isTemporaryName(file)) continue;
    const name = file.replace(/\.json$/, "");
    if (!isName(name) || !file.endsWith(".json")) throw corrupt(join(directory, DIRECTORIES.registry, file), "it does not belong there");
    entries.set(name, readEntry(directory, name));
  }
  return entries;
}

/** As it is on the disk: nothing is proved. Throws `CA_CORRUPT`. */
export function readEntry(directory: string, name: string): ReadEntry {
  const file = entryFile(name);
  const text = readCaFile(directory, file);
  const entry = parseEntry(readCaJson({ directory, read: () => text, has: () => true }, file), name);
  if (entry === undefined) throw corrupt(join(directory, file), "it is not a registry entry");
  return { entry, text };
}

/** One name as people and scripts want to see it. */
export interface ListedName {
  readonly name: string;
  readonly kind: RegistryEntry["kind"];
  readonly role: string;
  readonly state: EntryState;
  readonly attributes?: Readonly<Record<string, string>>;
  /** Of the certificate in use; absent when no certificate is valid. */
  readonly serial?: string;
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  /** All that is remembered, oldest first. */
  readonly certificates: readonly CertificateSummary[];
}

export function listed(entry: NameSummary): ListedName {
  const current = currentCertificate(entry);
  const { name, kind, role, state, attributes } = entry;
  return {
    name,
    kind,
    role,
    state,
    ...(attributes === undefined ? {} : { attributes }),
    ...(current === undefined ? {} : { serial: current.serial, notBeforeMs: current.notBeforeMs, notAfterMs: current.notAfterMs }),
    certificates: entry.certificates.map(certificateSummary),
  };
}

/** A record without the certificate, its parts in one order. */
export function certificateSummary({
  serial,
  notBeforeMs,
  notAfterMs,
  status,
  reason,
  revokedAtMs,
  publicKeyHash,
}: CertificateSummary): CertificateSummary {
  return {
    serial,
    notBeforeMs,
    notAfterMs,
    status,
    publicKeyHash,
    ...(reason === undefined ? {} : { reason }),
    ...(revokedAtMs === undefined ? {} : { revokedAtMs }),
  };
}

export function unknownId(name: string): HawserError {
  return new HawserError("UNKNOWN_ID", `${name} is not in the registry`, "Run `hawser list` for the known names.");
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw corrupt(path, "it is missing");
    throw storageError(error, "read", path);
  }
}

function isName(name: string): boolean {
  try {
    return checkId(name) === name;
  } catch {
    return false;
  }
}
