/** What the registry keeps of one name, and how it is read back from disk with every field checked. */
import { REVOCATION_REASONS } from "../pki/revocation-reasons.js";
import type { RevocationReason } from "../pki/revocation-reasons.js";

/**
 * - `reserved`: taken, but nothing that could connect has been handed out for good.
 * - `certificate-revoked`: the certificates are revoked, the pre-shared key still works: the device may recover.
 * - `revoked`: shut out.
 */
export const ENTRY_STATES = ["reserved", "active", "certificate-revoked", "revoked"] as const;
export type EntryState = (typeof ENTRY_STATES)[number];

/** `superseded` certificates are on the revocation list too: their place was taken by a newer one that is proved. */
const CERTIFICATE_STATUSES = ["active", "superseded", "revoked"] as const;
export type CertificateStatus = (typeof CERTIFICATE_STATUSES)[number];

export interface CertificateRecord {
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly status: CertificateStatus;
  /** With every status but `active`. */
  readonly reason?: RevocationReason;
  readonly revokedAtMs?: number;
  /** SHA-256 of the DER SubjectPublicKeyInfo, lower-case hex. */
  readonly publicKeyHash: string;
  /** Whoever asked for it did not show the key of the certificate before, whose holder was asked and said nothing. */
  readonly unproved?: true;
  /** Whoever asked for it showed no key that the name's owner has had: it does not change the name's pre-shared key. */
  readonly stranger?: true;
  /** The certificate, base64 of its DER: kept while it is active, so that the same request can get the same answer. */
  readonly der?: string;
  /** Of the password that belongs to the certificate (PBKDF2-SHA512), while it is active and the policy asks for one. */
  readonly passwordHash?: string;
}

export interface RegistryEntry {
  readonly v: 1;
  readonly kind: "device" | "client";
  readonly name: string;
  readonly role: string;
  readonly state: EntryState;
  readonly createdAtMs: number;
  /** In the order they were issued. */
  readonly certificates: readonly CertificateRecord[];
  /** The certificate that was handed out at provisioning or that the device last reported to have committed. */
  readonly currentSerial?: string;
  /** The pre-shared key, sealed under the CA's key, base64. */
  readonly psk?: string;
  /** What the policy's scopes and topics ask about: site, line, tenant, ... */
  readonly attributes?: Readonly<Record<string, string>>;
  /** `$7$iterations$salt$hash` (PBKDF2-SHA512), for listeners that ask for a password. */
  readonly passwordHash?: string;
  /** Where the device last spoke to the authority, for instance `fleet/{id}/identity`; absent before it moved for the first time. */
  readonly identityBase?: string;
  /** While it is reserved in a CA that machines share: the one that provisions it. */
  readonly reservedBy?: string;
}

/** A certificate's record without the certificate and its password. */
export type CertificateSummary = Omit<CertificateRecord, "der" | "passwordHash">;

/**
 * An entry without its certificates: what all but the work on this one name needs. It has no `v`, so that none is ever taken for the entry
 * and put in its place.
 */
export interface NameSummary extends Pick<RegistryEntry, "kind" | "name" | "role" | "state" | "createdAtMs"> {
  readonly certificates: readonly CertificateSummary[];
  readonly currentSerial?: string | undefined;
  readonly psk?: string | undefined;
  readonly attributes?: RegistryEntry["attributes"] | undefined;
  readonly passwordHash?: string | undefined;
}

/** @returns undefined when the value is no entry for `name` */
export function parseEntry(value: Readonly<Record<string, unknown>>, name: string): RegistryEntry | undefined {
  if (value["v"] !== 1 || value["name"] !== name) return undefined;
  const { kind, role, state, createdAtMs, certificates, currentSerial, psk, attributes, passwordHash, identityBase, reservedBy } = value;
  if ((kind !== "device" && kind !== "client") || typeof role !== "string" || !isOneOf(state, ENTRY_STATES) || !isTime(createdAtMs))
    return undefined;
  const records = parseCertificateRecords(certificates);
  if (
    records === undefined ||
    !isOptionalString(currentSerial) ||
    !isOptionalString(psk) ||
    !isOptionalString(identityBase) ||
    !isOptionalString(reservedBy) ||
    !isAttributes(attributes) ||
    !isPasswordHash(passwordHash)
  )
    return undefined;
  return {
    v: 1,
    kind,
    name,
    role,
    state,
    createdAtMs,
    certificates: records,
    ...(currentSerial === undefined ? {} : { currentSerial }),
    ...(psk === undefined ? {} : { psk }),
    ...(attributes === undefined ? {} : { attributes }),
    ...(passwordHash === undefined ? {} : { passwordHash }),
    ...(identityBase === undefined ? {} : { identityBase }),
    ...(reservedBy === undefined ? {} : { reservedBy }),
  };
}

/** It becomes a line of a broker's password file. */
function isPasswordHash(value: unknown): value is string | undefined {
  return (
    value === undefined || (typeof value === "string" && /^\$7\$\d{1,7}\$[A-Za-z0-9+/]{16,64}={0,2}\$[A-Za-z0-9+/]{86}==$/.test(value))
  );
}

/** Texts by name, bounded; whether a policy can use them is the policy's business. */
function isAttributes(value: unknown): value is Readonly<Record<string, string>> | undefined {
  if (value === undefined) return true;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(
    ([name, text]) => /^[a-z][a-z0-9-]{0,31}$/.test(name) && typeof text === "string" && text.length <= 128,
  );
}

/** @returns undefined when the value is no list of certificate records */
export function parseCertificateRecords(value: unknown): CertificateRecord[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const records = value.map(parseCertificateRecord);
  return records.every((record) => record !== undefined) ? records : undefined;
}

function parseCertificateRecord(value: unknown): CertificateRecord | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { serial, notBeforeMs, notAfterMs, status, reason, revokedAtMs, publicKeyHash, der, passwordHash, unproved, stranger } =
    value as Record<string, unknown>;
  if (typeof serial !== "string" || !/^[1-9a-f][0-9a-f]{0,39}$/.test(serial) || !isTime(notBeforeMs) || !isTime(notAfterMs))
    return undefined;
  if (
    !isOneOf(status, CERTIFICATE_STATUSES) ||
    typeof publicKeyHash !== "string" ||
    !isOptionalString(der) ||
    !isPasswordHash(passwordHash)
  )
    return undefined;
  const flags = { ...(unproved === true && { unproved: true as const }), ...(stranger === true && { stranger: true as const }) };
  const record = { serial, notBeforeMs, notAfterMs, status, publicKeyHash, ...flags };
  if (status === "active")
    return { ...record, ...(der === undefined ? {} : { der }), ...(passwordHash === undefined ? {} : { passwordHash }) };
  if (!isOneOf(reason, REVOCATION_REASONS) || !isTime(revokedAtMs)) return undefined;
  return { ...record, reason, revokedAtMs };
}

/** The JSON object in a text, or undefined. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** The same of a text as the CA writes them: closed by a line feed, so that a cut-off last byte shows too. */
export function parseWritten(text: string): Record<string, unknown> | undefined {
  return text.endsWith("}\n") ? parseObject(text) : undefined;
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function isOptionalString(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}

function isOneOf<T extends string>(value: unknown, allowed: readonly T[]): value is T {
  return (allowed as readonly unknown[]).includes(value);
}
