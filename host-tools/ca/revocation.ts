/** Shutting names out, and the revocation lists that say so. */
import { HawserError } from "../../sdk/errors.js";
import { checkId } from "../../sdk/identity/device-id.js";
import type { CertificateRecord, CertificateSummary, EntryState, RegistryEntry } from "../ca-directory/registry-entry.js";
import { unknownId } from "../ca-directory/registry.js";
import { revokedOf, withAllRevoked, withoutPsk, withRevokedElsewhere } from "../ca-directory/state-transitions.js";
import { readBrokerRecords } from "./broker-identity.js";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { validityFrom, type Issuer } from "../pki/certificate-profiles.js";
import { makeCrl, type RevokedSerial } from "../pki/signed-crl.js";
import { REVOCATION_REASONS } from "../pki/revocation-reasons.js";
import type { RevocationReason } from "../pki/revocation-reasons.js";
import { keyIdOf } from "../pki/crl-distribution-points.js";
import type { CaContext, CaKeys } from "./context.js";
import { readCaJson } from "../ca-directory/ca-files.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import { parseCertificateRecords } from "../ca-directory/registry-entry.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { fromPem } from "../pki/pem.js";
import { certificatePolicyOf, ROOT_CRL_MS } from "../ca-directory/ca-record.js";
import type { CaRecord } from "../ca-directory/ca-record.js";
import type { Draft } from "../ca-directory/change-draft.js";

export interface RevokeRequest {
  readonly id: string;
  /** One of RFC 5280's reasons, `keyCompromise` or `key-compromise`; "unspecified" when left out. */
  readonly reason?: string;
  /** Leave the device its pre-shared key, so that it can recover and enrol again. */
  readonly certificateOnly?: boolean;
}

export interface Revoked {
  readonly id: string;
  readonly state: EntryState;
  /** When nothing was left to revoke: the one it was revoked for before. */
  readonly reason: RevocationReason;
  /** Serials that were valid until now. */
  readonly serials: readonly string[];
}

/** @throws HawserError `INVALID_ID`, `INVALID_REASON`, `UNKNOWN_ID`, `NOT_A_DEVICE`, `ALREADY_REVOKED`, and those of every change */
export async function revoke(ca: CaContext, { id, reason, certificateOnly = false }: RevokeRequest): Promise<Revoked> {
  checkId(id);
  const why = checkReason(reason ?? "unspecified");
  return ca.store.change((draft) => {
    const entry = draft.entries.get(id);
    if (entry === undefined) throw unknownId(id);
    if (certificateOnly) checkRecoverable(entry);
    const serials = entry.certificates.filter((record) => record.status === "active").map((record) => record.serial);
    const state = certificateOnly ? ("certificate-revoked" as const) : ("revoked" as const);
    const revoked = withAllRevoked({ ...entry, state }, why, draft.nowMs);
    if (entry.state === state && serials.length === 0) return { id, state, reason: reasonOf(entry) ?? why, serials };
    draft.put(certificateOnly ? revoked : withoutPsk(revoked));
    draft.record({ event: certificateOnly ? "certificate-revoked" : "revoked", name: id, reason: why, serials });
    return { id, state, reason: why, serials };
  });
}

/** The state of a CA that a backup held. */
export interface RestoredFrom {
  readonly instance: string;
  readonly revision: number;
}

/** What a restored CA took over from the newest revocation list. */
export interface RepeatedRevocations {
  /** Certificates that were valid in the backup. */
  readonly repeated: readonly string[];
  /** Names that are shut out with them. */
  readonly shutOut: readonly string[];
}

/**
 * The first change of a restored CA.
 *
 * @param revoked by serial
 * @param backup whose state it was restored from
 */
export async function repeatRevocations(
  ca: CaContext,
  revoked: ReadonlyMap<string, RevokedSerial>,
  backup: RestoredFrom,
): Promise<RepeatedRevocations> {
  return ca.store.change((draft) => {
    const repeated: string[] = [];
    const shutOut: string[] = [];
    for (const entry of [...draft.entries.values()]) {
      const serials = entry.certificates.filter(({ serial, status }) => status === "active" && revoked.has(serial));
      if (serials.length === 0) continue;
      const after = withRevokedElsewhere(entry, revoked, draft.nowMs);
      draft.put(after);
      repeated.push(...serials.map(({ serial }) => serial));
      if (after.state === "revoked" && entry.state !== "revoked") shutOut.push(entry.name);
    }
    draft.revocationChanged = true;
    draft.record({ event: "restored", backup: backup.instance, backupRevision: backup.revision, repeated: repeated.length, shutOut });
    return { repeated, shutOut };
  });
}

/** A root's own list is renewed so long before its end, where its token is at hand. */
const ROOT_CRL_AHEAD_MS = 90 * 86_400_000;

/**
 * Signs new revocation lists now, whether or not anything changed. Returns the time until which they are good.
 *
 * @param root also the root's own, where its key is in a token; without it that is done when its end is near and the token is at hand
 * @throws HawserError as every change; `ROOT_ABSENT` (with `root`)
 */
export async function renewCrl(ca: CaContext, root = false): Promise<{ nextUpdateMs: number }> {
  return ca.store.change(async (draft) => {
    const endMs = readRootCrlTimes(draft)?.nextUpdateMs ?? Number.POSITIVE_INFINITY;
    if (root) await renewRootCrlIn(draft, ca.record, ca.keys);
    // The devices' lists must not wait for a token that is in a safe: `hawser ca status` tells of the root's list.
    else if (endMs - draft.nowMs < ROOT_CRL_AHEAD_MS) await renewRootCrlIn(draft, ca.record, ca.keys).catch(() => undefined);
    draft.revocationChanged = true;
    draft.record({ event: "crl-renewed" });
    return { nextUpdateMs: crlValidity(ca.record, draft.nowMs).notAfterMs };
  });
}

/**
 * Adds new revocation lists to a change that needs them: something was revoked, or the old ones have used up a thirtieth of their life (a
 * day of thirty).
 */
export async function addCrlWhenDue(record: CaRecord, keys: CaKeys, draft: Draft): Promise<void> {
  if (draft.writes.has(FILES.crl)) return;
  if (!draft.revocationChanged && readNextUpdate(draft) - draft.nowMs > (record.lifetimesMs.crl * 29) / 30) return;
  draft.write(FILES.crl, await crlsFor(record, keys, draft));
}

/** The lists as a change leaves them. A root whose key is not in the CA directory has signed its own before: they are kept in a file. */
export async function crlsFor(record: CaRecord, keys: CaKeys, draft: Draft): Promise<string> {
  const rootLists = draft.has(FILES.rootCrl) ? draft.read(FILES.rootCrl).toString("utf8") : await rootListsOf(record, keys, draft);
  return makeCrls(keys, record, [...endedRecords(draft)], draft.revision, draft.nowMs, rootLists);
}

/** Has the root's own list signed as a part of a change, where it is kept in a file; the root's key must be at hand. */
export async function renewRootCrlIn(draft: Draft, record: CaRecord, keys: CaKeys): Promise<void> {
  if (!draft.has(FILES.rootCrl)) return;
  draft.write(FILES.rootCrl, await rootListsOf(record, keys, draft));
}

/** Of the root, and of the one before while it is believed: they have one name, and lists are told apart by their key identifiers. */
async function rootListsOf(record: CaRecord, { root, previousRoot }: CaKeys, draft: Draft): Promise<string> {
  const listOf = (issuer: Issuer): Promise<string> => makeRootCrl(issuer, record, draft.revision, draft.nowMs, readRetired(draft));
  return `${await listOf(root)}${previousRoot === undefined ? "" : await listOf(previousRoot)}`;
}

/** The certificates of issuing CAs that were retired. Throws `CA_CORRUPT`. */
export function readRetired(files: CaFiles): CertificateRecord[] {
  return readRecords(files, FILES.retired);
}

/** Revoked certificates that no entry of a restored CA knows. Throws `CA_CORRUPT`. */
export function readLost(files: CaFiles): CertificateRecord[] {
  return readRecords(files, FILES.lost);
}

export function lostText(records: readonly CertificateRecord[]): string {
  return `${JSON.stringify({ v: 1, certificates: records }, null, 2)}\n`;
}

function readRecords(files: CaFiles, file: string): CertificateRecord[] {
  if (!files.has(file)) return [];
  const value = readCaJson(files, file);
  const records = value["v"] === 1 ? parseCertificateRecords(value["certificates"]) : undefined;
  if (records === undefined) throw files.directory.corrupt(file, "it is not a list of certificates");
  return records;
}

/** The root's list: it names the issuing CAs that were retired. */
export function makeRootCrl(
  root: Issuer,
  record: CaRecord,
  number: number,
  nowMs: number,
  retired: readonly CertificateRecord[] = [],
): Promise<string> {
  const lifetimeMs = certificatePolicyOf(record).root === "file" ? record.lifetimesMs.crl : ROOT_CRL_MS;
  const { notBeforeMs: thisUpdateMs, notAfterMs: nextUpdateMs } = validityFrom(nowMs, lifetimeMs);
  return makeCrl(root, { number, thisUpdateMs, nextUpdateMs, revoked: revokedOf(retired, nowMs) });
}

/**
 * The lists of all CAs: mosquitto looks at the leaf's only, Node and OpenSSL's `-crl_check_all` want one for each CA of the chain. During a
 * rollover both issuing CAs list all that is revoked: serials are random, so none is the other's.
 *
 * @param rootLists PEM, of the root and any CA between
 */
export async function makeCrls(
  keys: CaKeys,
  record: CaRecord,
  records: readonly CertificateSummary[],
  number: number,
  nowMs: number,
  rootLists: string,
): Promise<string> {
  const { notBeforeMs: thisUpdateMs, notAfterMs: nextUpdateMs } = crlValidity(record, nowMs);
  const list = { number, thisUpdateMs, nextUpdateMs, revoked: revokedOf(records, nowMs) };
  const listOf = (issuer: Issuer): Promise<string> => makeCrl(issuer, { ...list, ...placesIn(record, issuer.certificate) });
  return [await listOf(keys.issuing), rootLists, ...(keys.previous === undefined ? [] : [await listOf(keys.previous)])].join("");
}

function placesIn({ crlPlaces }: CaRecord, issuer: Uint8Array): { readonly crlBases?: readonly string[] } {
  return crlPlaces === undefined || crlPlaces.unnamed.includes(keyIdOf(issuer)) ? {} : { crlBases: crlPlaces.bases };
}

/** When the lists on disk stop being believed. Throws `CA_CORRUPT`. */
export function readNextUpdate(files: CaFiles): number {
  return readCrlTimes(files).nextUpdateMs;
}

export interface CrlTimes {
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/** Of the lists that the CA renews by itself. Throws `CA_CORRUPT`. */
export function readCrlTimes(files: CaFiles): CrlTimes {
  const lists = readLists(files, FILES.crl);
  const roots = new Set((files.has(FILES.rootCrl) ? readLists(files, FILES.rootCrl) : []).map(({ issuer }) => issuer));
  const own = lists.filter(({ issuer }) => !roots.has(issuer));
  const expected = (files.has(FILES.rootCrl) ? 1 : files.has(FILES.previousRoot) ? 3 : 2) + (files.has(FILES.previous) ? 1 : 0);
  if (own.length !== expected) throw files.directory.corrupt(FILES.crl, "it does not hold a revocation list of each CA");
  return timesOf(own);
}

/** Of the lists of a root whose key is not in the CA directory, and of CAs between; undefined where there are none. Throws `CA_CORRUPT`. */
export function readRootCrlTimes(files: CaFiles): CrlTimes | undefined {
  const lists = files.has(FILES.rootCrl) ? readLists(files, FILES.rootCrl) : [];
  return lists.length === 0 ? undefined : timesOf(lists);
}

function timesOf(lists: readonly CrlTimes[]): CrlTimes {
  return {
    thisUpdateMs: Math.max(...lists.map((list) => list.thisUpdateMs)),
    nextUpdateMs: Math.min(...lists.map((list) => list.nextUpdateMs)),
  };
}

function readLists(files: CaFiles, file: string): RevocationList[] {
  const text = files.read(file).toString("utf8");
  try {
    if (text === "" || text.endsWith("-----END X509 CRL-----\n")) return fromPem("X509 CRL", text).map((der) => new RevocationList(der));
  } catch {
    // Falls through: whatever is wrong in there, the file is not what it was.
  }
  throw files.directory.corrupt(file, "it does not hold whole revocation lists");
}

function crlValidity(record: CaRecord, nowMs: number): { notBeforeMs: number; notAfterMs: number } {
  return validityFrom(nowMs, record.lifetimesMs.crl);
}

function* endedRecords(draft: Draft): Generator<CertificateSummary> {
  for (const { certificates } of draft.withEnded()) yield* certificates;
  yield* readBrokerRecords(draft);
  yield* readLost(draft);
}

function checkReason(reason: string): RevocationReason {
  const wanted = reason.replace(/-/g, "").toLowerCase();
  const found = REVOCATION_REASONS.find((known) => known.toLowerCase() === wanted);
  if (found === undefined)
    throw new HawserError(
      "INVALID_REASON",
      `unknown revocation reason ${JSON.stringify(reason)}`,
      `Choose one of ${REVOCATION_REASONS.join(", ")}.`,
    );
  return found;
}

/** Why the name's certificates were revoked, when that is remembered. */
function reasonOf({ certificates }: RegistryEntry): RevocationReason | undefined {
  return certificates.filter(({ status }) => status === "revoked").at(-1)?.reason;
}

function checkRecoverable(entry: RegistryEntry): void {
  if (entry.kind === "client")
    throw new HawserError(
      "NOT_A_DEVICE",
      `${entry.name} is a client and has no pre-shared key to recover with`,
      "Leave out --certificate-only to shut it out.",
    );
  if (entry.state === "revoked" || entry.state === "reserved" || entry.psk === undefined) {
    const reason = entry.state === "revoked" ? reasonOf(entry) : undefined;
    const state = reason === undefined ? entry.state : `${entry.state} (${reason})`;
    throw new HawserError(
      "ALREADY_REVOKED",
      `the device ${entry.name} is ${state} and has no pre-shared key to recover with`,
      "To bring it back, provision it again.",
    );
  }
}
