/** Reads the registry of a CA: one JSON text a name. */
import { HawserError } from "../../sdk/errors.js";
import { corrupt, entryFile } from "./directory-layout.js";
import { currentCertificate } from "./state-transitions.js";
import { parseEntry, parseWritten } from "./registry-entry.js";
import type { RegistryParts } from "./registry-parts.js";
import type { CertificateSummary, EntryState, NameSummary, RegistryEntry } from "./registry-entry.js";

export interface ReadEntry {
  readonly entry: RegistryEntry;
  /** As it is on the disk. */
  readonly text: Buffer;
}

/** @throws HawserError `CA_CORRUPT` naming the entry that is damaged */
export function readRegistry(parts: RegistryParts): Map<string, ReadEntry> {
  return new Map(parts.names().map((name) => [name, readEntry(parts, name)]));
}

/** As it is on the disk: nothing is proved. Throws `CA_CORRUPT`. */
export function readEntry(parts: RegistryParts, name: string): ReadEntry {
  const part = entryFile(name);
  const text = parts.read(part);
  const value = parseWritten(text.toString("utf8"));
  if (value === undefined) throw corrupt(parts.pathOf(part), "it is not complete JSON");
  const entry = parseEntry(value, name);
  if (entry === undefined) throw corrupt(parts.pathOf(part), "it is not a registry entry");
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
