/** How an entry of the registry changes. Plain functions from entry to entry; nothing here touches a disk. */
import type { RevokedSerial } from "../pki/signed-crl.js";
import type { RevocationReason } from "../pki/revocation-reasons.js";
import type { CertificateRecord, CertificateSummary, NameSummary, RegistryEntry } from "./registry-entry.js";

/**
 * At most this many certificates of one name are valid at a time. A device that enrols again and again without ever committing loses the
 * oldest of its unused certificates, so that neither its entry nor the damage of a stolen one grows without bound.
 */
export const MAX_VALID_CERTIFICATES = 4;

/** How long an expired certificate stays in the entry, for people who ask what happened. */
const KEEP_EXPIRED_MS = 30 * 86_400_000;

export function reservedEntry(name: string, role: string, nowMs: number): RegistryEntry {
  return { v: 1, kind: "device", name, role, state: "reserved", createdAtMs: nowMs, certificates: [] };
}

/** Adds a certificate; what the entry need no longer remember is dropped. A compromised key is remembered for ever. */
export function withCertificate(entry: RegistryEntry, record: CertificateRecord, nowMs: number): RegistryEntry {
  const kept = entry.certificates.filter((old) => old.notAfterMs > nowMs - KEEP_EXPIRED_MS || old.reason === "keyCompromise");
  const spare = kept.filter((old) => old.status === "active" && old.serial !== entry.currentSerial);
  const valid = kept.filter((old) => old.status === "active").length;
  const surplus = new Set(spare.slice(0, Math.max(0, valid + 1 - MAX_VALID_CERTIFICATES)).map((old) => old.serial));
  return { ...entry, certificates: [...kept.map((old) => (surplus.has(old.serial) ? end(old, "superseded", nowMs) : old)), record] };
}

/** Revokes every certificate that is still valid. Who had come in without showing the key before is settled with it. */
export function withAllRevoked(entry: RegistryEntry, reason: RevocationReason, nowMs: number): RegistryEntry {
  const { currentSerial: _none, ...rest } = entry;
  const certificates = entry.certificates.map(({ unproved: _settled, ...record }) =>
    record.status === "active" ? end(record, reason, nowMs) : record,
  );
  return { ...rest, certificates };
}

/** Ends the certificates of an issuing CA that is retired. A device that has no other may recover with its pre-shared key. */
export function withIssuerRetired(entry: RegistryEntry, isOfIssuer: (record: CertificateRecord) => boolean, nowMs: number): RegistryEntry {
  const certificates = entry.certificates.map((record) =>
    record.status === "active" && isOfIssuer(record) ? end(record, "superseded", nowMs) : record,
  );
  const isLeft = certificates.some(({ status }) => status === "active");
  const state = entry.state === "active" && !isLeft && entry.psk !== undefined ? ("certificate-revoked" as const) : entry.state;
  return { ...entry, state, certificates };
}

/** Retires what was issued before `serial`, which the device now uses. */
export function withOlderSuperseded(entry: RegistryEntry, serial: string, nowMs: number): RegistryEntry {
  const current = entry.certificates.findIndex((record) => record.serial === serial);
  const certificates = entry.certificates.map((record, index) =>
    index < current && record.status === "active" ? end(record, "superseded", nowMs) : record,
  );
  return { ...entry, certificates, currentSerial: serial };
}

/**
 * Repeats revocations that a newer revocation list tells of. It does not tell whether the name was shut out with its certificate: unless
 * the certificate was superseded, the name is.
 */
export function withRevokedElsewhere(entry: RegistryEntry, revoked: ReadonlyMap<string, RevokedSerial>, nowMs: number): RegistryEntry {
  const isNews = ({ serial, status }: CertificateRecord): boolean => status === "active" && revoked.has(serial);
  const certificates = entry.certificates.map((record) =>
    isNews(record)
      ? end(record, revoked.get(record.serial)?.reason ?? "unspecified", revoked.get(record.serial)?.revokedAtMs ?? nowMs)
      : record,
  );
  const isShutOut = entry.certificates.some((record) => isNews(record) && revoked.get(record.serial)?.reason !== "superseded");
  const repeated = { ...entry, certificates };
  return isShutOut ? withoutPsk(withAllRevoked({ ...repeated, state: "revoked" }, "unspecified", nowMs)) : repeated;
}

/** The entry without its pre-shared key. */
export function withoutPsk(entry: RegistryEntry): RegistryEntry {
  const { psk: _removed, ...rest } = entry;
  return rest;
}

/**
 * What belongs on the revocation list: revoked and superseded, until it would have expired anyway (RFC 5280 section 3.3 allows to drop it
 * then).
 */
export function revokedOf(records: Iterable<CertificateSummary>, nowMs: number): RevokedSerial[] {
  const revoked: RevokedSerial[] = [];
  for (const { serial, status, reason, revokedAtMs, notAfterMs } of records) {
    if (status !== "active" && notAfterMs > nowMs)
      revoked.push({ serial, reason: reason ?? "unspecified", revokedAtMs: revokedAtMs ?? nowMs });
  }
  return revoked;
}

/** Whether the key was revoked for compromise under any name: whoever has a copy may ask for another. */
export function isCompromised(entries: Iterable<NameSummary>, publicKeyHash: string): boolean {
  for (const { certificates } of entries) {
    if (certificates.some((record) => record.reason === "keyCompromise" && record.publicKeyHash === publicKeyHash)) return true;
  }
  return false;
}

/** The certificate a device is believed to use: the one it committed, else the newest that is valid. */
export function currentCertificate<R extends CertificateSummary>({
  certificates,
  currentSerial,
}: {
  readonly certificates: readonly R[];
  readonly currentSerial?: string | undefined;
}): R | undefined {
  const valid = certificates.filter((record) => record.status === "active");
  return valid.find((record) => record.serial === currentSerial) ?? valid.at(-1);
}

function end(record: CertificateRecord, reason: RevocationReason, nowMs: number): CertificateRecord {
  const { der: _notNeeded, passwordHash: _norThis, ...rest } = record;
  return { ...rest, status: reason === "superseded" ? "superseded" : "revoked", reason, revokedAtMs: nowMs };
}
