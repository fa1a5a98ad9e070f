/**
 * Restores a CA from a backup, into a directory that becomes the CA's new home. What happened after the backup is unknown to it, so nothing
 * of that may be undone in silence: revocations are repeated from the newest revocation list that a broker has, numbers go on beyond every
 * one that may have been used, and the restored CA is another instance, which configures no broker until it is told to. Serial numbers are
 * random, so none is handed out twice.
 */
import { randomBytes, X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import type { OpenedBackup } from "../ca-directory/backup-file.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { readUnprovedState } from "../ca-directory/ca-files.js";
import { readProvedCa } from "../ca-directory/proved-reading.js";
import type { Unlocked } from "../ca-directory/proved-reading.js";
import type { CertificateRecord } from "../ca-directory/registry-entry.js";
import { revisionText } from "../ca-directory/change-journal.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { outputsText, readOutputs } from "../ca-directory/outputs-file.js";
import type { LoadedCa } from "../ca-directory/proved-ca.js";
import { forgetRevision, lastSeen, rememberRevision, rememberSuccessor } from "../ca-directory/revision-witness.js";
import type { Seen } from "../ca-directory/revision-witness.js";
import { inLog, sha256, stateKey, stateText } from "../ca-directory/sealed-state.js";
import { openCrl } from "../pki/signed-crl.js";
import type { ReadCrl, RevokedSerial } from "../pki/signed-crl.js";
import { fromPem } from "../pki/pem.js";
import type { SignerFor } from "../pki/signer.js";
import { readBrokerRecords } from "./broker-identity.js";
import { openUnlocked } from "./certificate-authority.js";
import { readCertificates } from "./context.js";
import { layOut } from "./laid-out-backup.js";
import { makeInPlace } from "./new-directory.js";
import { lostText, readLost } from "./revocation.js";
import { verifyUnlocked } from "./verification.js";
import type { Verification } from "./verification.js";

export interface RestoreOptions {
  readonly passphrase: string;
  /** PEM texts with the newest revocation lists that brokers have, by the names that errors call them. */
  readonly lists: ReadonlyMap<string, string>;
  /** Restore without any list: what was revoked after the backup is valid again. */
  readonly withoutLists?: boolean;
  readonly signerFor?: SignerFor;
  /** Wall time, milliseconds since the epoch. */
  readonly now?: () => number;
}

export interface Restored {
  readonly directory: string;
  readonly verification: Verification;
  /** Certificates that were valid in the backup and are revoked now, by serial. */
  readonly repeated: readonly string[];
  /** Names that are shut out with them. */
  readonly shutOut: readonly string[];
  /** Revoked certificates that were issued after the backup: they stay on the revocation list. */
  readonly lost: number;
  /** Broker configurations that the CA kept up to date, and the restored one does not. */
  readonly outputs: readonly string[];
}

/** Numbers of changes and revocation lists go on here: no CA makes as many changes between two backups. */
const NUMBER_STEP = 1_000_000;

/**
 * Proves a backup by laying it out in a temporary directory, where everything is verified as `hawser ca verify` does.
 *
 * @throws HawserError as `verifyCa`
 */
export async function rehearseRestore({ snapshot, sealing }: OpenedBackup, passphrase: string, nowMs = Date.now()): Promise<Verification> {
  const staging = new CaDirectory(mkdtempSync(join(tmpdir(), "hawser-restore-")));
  try {
    layOut(staging, snapshot);
    return await verifyUnlocked({ directory: staging, sealing }, passphrase, { nowMs, isAlone: true });
  } finally {
    rmSync(staging.path, { recursive: true, force: true });
  }
}

/**
 * @param directory must not exist or be empty
 * @throws HawserError `CA_EXISTS` (the CA of the backup is still there, or another in this place), `RESTORE_UNPROVED`, `OUT_EXISTS`,
 *   `CA_CORRUPT`, `STORAGE_FULL`, `STORAGE_FAILED`; nothing is left behind then
 */
export async function restoreCa(backup: OpenedBackup, directory: string, options: RestoreOptions): Promise<Restored> {
  const { instance } = backup.header;
  const seen = lastSeen(instance);
  refuseSecondHome(instance, seen);
  const { made, place } = await makeInPlace(directory, async (staging, lock) => {
    layOut(staging, backup.snapshot);
    // The store takes it again for what it does.
    lock.release();
    const unlocked = { directory: staging, sealing: backup.sealing };
    const loaded = await readProvedCa(unlocked, "all", { isAlone: true });
    const lists = await openLists(loaded, options);
    const outputs = readOutputs(loaded.files).map(({ directory: output }) => output);
    const lost = lostCertificates(loaded, lists);
    beginAnew(unlocked, loaded, [...lists.map(({ number }) => number), seen?.revision ?? 0], lost);
    try {
      const repeats = await repeatRevocations(unlocked, loaded, lists, options);
      const verification = await verifyUnlocked(unlocked, options.passphrase, { nowMs: (options.now ?? Date.now)() });
      if (verification.problems.length > 0)
        throw new HawserError(
          "BACKUP_DAMAGED",
          `what was restored does not agree: ${verification.problems.join("; ")}`,
          "Use another backup.",
        );
      const restored: Restored = { directory, verification, ...repeats, lost: lost.length, outputs };
      return { restored, state: readUnprovedState(staging) };
    } finally {
      forgetRevision(staging.path);
    }
  });
  rememberRevision(place, made.state);
  rememberSuccessor(instance, place.path, made.state.revision);
  return made.restored;
}

/** Two homes of one CA would issue and revoke without knowing of each other. */
function refuseSecondHome(instance: string, seen: Seen | undefined): void {
  if (seen === undefined || !existsSync(join(seen.path, FILES.record))) return;
  const there = readUnprovedState(new CaDirectory(seen.path));
  if (there.instance !== instance) return;
  throw new HawserError(
    "CA_EXISTS",
    `the CA of this backup is in ${seen.path}, at change ${there.revision}`,
    "Use that one. If it is damaged, move its directory away, then restore.",
  );
}

/** @throws HawserError `RESTORE_UNPROVED` */
async function openLists({ files }: LoadedCa, { lists, withoutLists = false }: RestoreOptions): Promise<ReadCrl[]> {
  if (lists.size === 0 && !withoutLists)
    throw new HawserError(
      "RESTORE_UNPROVED",
      "what was revoked after the backup was made would be valid again",
      "Give the newest crl.pem that a broker of this CA has: --crl FILE. Where no broker has one: --without-crl, then revoke again what was revoked since.",
    );
  const issuers = [FILES.issuing, ...(files.has(FILES.previous) ? [FILES.previous] : [])].flatMap((file) => readCertificates(files, file));
  const opened: ReadCrl[] = [];
  for (const [name, text] of lists) {
    const own = ownLists(text, issuers);
    if (own.length === 0)
      throw new HawserError(
        "RESTORE_UNPROVED",
        `${name} holds no revocation list that this backup's issuing CA signed`,
        "Give the crl.pem of a broker of this CA; after a rollover, use a backup that was made since.",
      );
    opened.push(...own);
  }
  return opened;
}

function ownLists(text: string, issuers: readonly Uint8Array[]): ReadCrl[] {
  try {
    const opened = fromPem("X509 CRL", text).map((der) => openCrl(der, issuers));
    return opened.filter((list) => list !== undefined);
  } catch {
    return [];
  }
}

function revokedIn(lists: readonly ReadCrl[]): Map<string, RevokedSerial> {
  return new Map(lists.flatMap(({ revoked }) => revoked).map((one) => [one.serial, one]));
}

/** Kept on the lists until the issuing CA ends: when they end themselves, nobody knows any more. */
function lostCertificates({ files, registry }: LoadedCa, lists: readonly ReadCrl[]): CertificateRecord[] {
  const known = new Set([...registry.summaries()].flatMap(({ certificates }) => certificates.map(({ serial }) => serial)));
  for (const { serial } of [...readBrokerRecords(files), ...readLost(files)]) known.add(serial);
  const issuing = new X509Certificate(readCertificates(files, FILES.issuing)[0] ?? new Uint8Array());
  return [...revokedIn(lists).values()]
    .filter(({ serial }) => !known.has(serial))
    .map(({ serial, reason, revokedAtMs }) => ({
      serial,
      notBeforeMs: revokedAtMs,
      notAfterMs: Date.parse(issuing.validTo),
      status: "revoked" as const,
      reason,
      revokedAtMs,
      publicKeyHash: "",
    }));
}

/** Another instance, whose numbers are beyond all that were used, which has no broker yet, and whose changes go to no database. */
function beginAnew(
  { directory, sealing }: Unlocked,
  { files }: LoadedCa,
  numbers: readonly number[],
  lost: readonly CertificateRecord[],
): void {
  const { state } = files;
  const hashes = { ...state.files };
  const write = (file: string, text: string): void => {
    directory.write(file, text);
    hashes[file] = sha256(text);
  };
  write(FILES.outputs, outputsText([]));
  if (lost.length > 0) write(FILES.lost, lostText([...readLost(files), ...lost]));
  const revision = (Math.floor(Math.max(state.revision, ...numbers) / NUMBER_STEP) + 1) * NUMBER_STEP;
  const anew = { ...inLog(state, undefined), instance: randomBytes(16).toString("hex"), revision, files: hashes };
  directory.write(FILES.state, stateText(stateKey(sealing), anew));
  directory.write(FILES.revision, revisionText({ number: revision, auditHash: state.audit.head }));
}

/** Signs a new revocation list in any case: with a number beyond every one that a broker may have. */
async function repeatRevocations(
  unlocked: Unlocked,
  { files }: LoadedCa,
  lists: readonly ReadCrl[],
  { signerFor, now = Date.now }: RestoreOptions,
): Promise<Pick<Restored, "repeated" | "shutOut">> {
  const ca = await openUnlocked(unlocked, { now, ...(signerFor === undefined ? {} : { signerFor }) });
  const revoked = revokedIn(lists);
  const brokerSerial = readBrokerRecords(files).at(-1)?.serial ?? "";
  const repeats = await ca.repeatRevocations(revoked, { instance: files.state.instance, revision: files.state.revision });
  // The broker got another certificate after the backup, and its key is not in it.
  if (revoked.has(brokerSerial)) await ca.renewBrokerCertificate();
  return repeats;
}
