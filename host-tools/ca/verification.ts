/** Proves that all of a CA agrees: files and seal, registry and audit trail, certificates and revocation lists. */
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { HawserError } from "../../sdk/errors.js";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { isTemporaryName } from "../../sim/node/files/atomic-file.js";
import { verifyAuditText } from "../ca-directory/audit-trail.js";
import { readProvedCa, unlockAndReadAhead } from "../ca-directory/proved-reading.js";
import type { Unlocked } from "../ca-directory/proved-reading.js";
import type { ProvedFiles } from "../ca-directory/ca-files.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { parseRecord } from "../ca-directory/ca-record.js";
import { DIRECTORIES, FILES, isSealedFile } from "../ca-directory/directory-layout.js";
import type { CertificateRecord, RegistryEntry } from "../ca-directory/registry-entry.js";
import { revokedOf } from "../ca-directory/state-transitions.js";
import { hashOfPublicKey } from "../pki/certificate-request.js";
import { fromPem } from "../pki/pem.js";
import { readBrokerRecords } from "./broker-identity.js";
import { isAway } from "../ca-directory/change-log.js";
import { logsOf } from "../ca-directory/database-source.js";
import { logProblems } from "./log-verification.js";
import { checkpointProblem } from "./checkpoint.js";
import { readCertificates } from "./context.js";
import { readLost } from "./revocation.js";

export interface Verification {
  readonly revision: number;
  readonly instance: string;
  readonly names: number;
  readonly certificates: number;
  readonly auditLines: number;
  /** What does not agree, each a sentence. */
  readonly problems: readonly string[];
  /** Files that are no part of the CA: whoever opens it with the passphrase never reads them. */
  readonly strangers: readonly string[];
}

export interface VerifyOptions {
  /** Wall time, milliseconds since the epoch. */
  readonly nowMs?: number;
  /** Texts of checkpoints, by the names that messages call them. */
  readonly checkpoints?: ReadonlyMap<string, string>;
  /** Ask no database of a shared registry: what the directory has is to be judged. */
  readonly isAlone?: boolean;
  /** Told when the database of a shared registry is away; without it, Node prints a warning. */
  readonly onAway?: (error: HawserError) => void;
}

/**
 * @throws HawserError `CHECKPOINT_INVALID`; as `openCa`, naming the first file that is not what the CA wrote: then nothing else counts
 */
export async function verifyCa(directory: string, passphrase: string, options: VerifyOptions = {}): Promise<Verification> {
  return verifyUnlocked(await unlockAndReadAhead(new CaDirectory(resolve(directory)), passphrase), passphrase, options);
}

/**
 * The same with the key that the passphrase opens, for who has it already.
 *
 * @throws HawserError as {@link verifyCa}
 */
export async function verifyUnlocked(
  unlocked: Unlocked,
  passphrase: string,
  { nowMs = Date.now(), checkpoints = new Map(), ...reading }: VerifyOptions = {},
): Promise<Verification> {
  const { directory, sealing } = unlocked;
  const { files, registry } = await readProvedCa(unlocked, "all", reading);
  const names = [...registry.entries.values()];
  const brokers = readBrokerRecords(files);
  const issuers = [FILES.issuing, FILES.root, ...(files.has(FILES.previous) ? [FILES.previous] : [])].map(
    (file) => new X509Certificate(readCertificates(files, file)[0] ?? new Uint8Array()),
  );
  const previousRoot = files.has(FILES.previousRoot)
    ? readCertificates(files, FILES.previousRoot).map((der) => new X509Certificate(der))
    : [];
  const links = (files.has(FILES.rootLinks) ? readCertificates(files, FILES.rootLinks) : []).map((der) => new X509Certificate(der));
  const uppers = (files.has(FILES.upper) ? readCertificates(files, FILES.upper) : []).map((der) => new X509Certificate(der));
  const trail = verifyAuditText(directory.readUnprovedText(FILES.audit), files.state.audit.head);
  const problems = [
    ...(trail.ok ? [] : [`line ${trail.line} of the audit trail: ${trail.problem}`]),
    ...[...checkpoints].flatMap(([name, text]) => checkpointProblem(files, text, name) ?? []),
    ...chainProblems(issuers, [...uppers, ...previousRoot]),
    ...linkProblems(issuers, links),
    ...names.flatMap((entry) => entryProblems(entry, issuers)),
    ...(reading.isAlone === true ? [] : await databaseProblems(files, passphrase, sealing)),
    ...crlProblems(
      files,
      [...names.flatMap(({ certificates }) => certificates), ...brokers, ...readLost(files)],
      [...issuers, ...previousRoot, ...uppers],
      nowMs,
    ),
  ];
  const certificates = names.reduce((sum, entry) => sum + entry.certificates.length, brokers.length);
  const { revision, instance } = files.state;
  return {
    revision,
    instance,
    names: names.length,
    certificates,
    auditLines: trail.ok ? trail.lines : 0,
    problems,
    strangers: strangersIn(files),
  };
}

/** Of a shared registry whose database answers: whether it does was told already. */
async function databaseProblems(files: ProvedFiles, passphrase: string, sealing: Buffer): Promise<string[]> {
  const { log } = files.state;
  if (log === undefined) return [];
  try {
    return await logProblems(files, logsOf(files.directory)(log), passphrase, { derivation: parseRecord(files).derivation, sealing });
  } catch (error) {
    if (isAway(error)) return [];
    throw error;
  }
}

function chainProblems([issuing, root, previous]: readonly X509Certificate[], uppers: readonly X509Certificate[]): string[] {
  if (issuing === undefined || root === undefined) return [];
  const isUnderRoot = (certificate: X509Certificate): boolean =>
    [root, ...uppers].some((above) => certificate !== above && certificate.checkIssued(above) && certificate.verify(above.publicKey));
  return [
    ...(root.verify(root.publicKey) ? [] : ["the root certificate is not signed by its own key"]),
    ...(previous === undefined || isUnderRoot(previous) ? [] : ["the certificate of the issuing CA before is not signed by the root"]),
    ...uppers.flatMap((upper) => (upper.subject === root.subject || isUnderRoot(upper) ? [] : [`${upper.subject} is not under the root`])),
    ...(isUnderRoot(issuing) ? [] : ["the issuing CA's certificate is not signed by the root"]),
  ];
}

/** Each leads from a root to the one before it: the newest from this one. */
function linkProblems([, root]: readonly X509Certificate[], [newest, ...older]: readonly X509Certificate[]): string[] {
  if (root === undefined || newest === undefined) return [];
  const isOfRoot = newest.subject === root.subject && newest.publicKey.equals(root.publicKey);
  const isUnbroken = older.every((link, index) => (index === 0 ? newest : older[index - 1])?.verify(link.publicKey));
  return [
    ...(isOfRoot ? [] : ["what leads to the root before is not for this root"]),
    ...(isUnbroken ? [] : ["what leads to earlier roots is not signed by one after the other"]),
  ];
}

function entryProblems({ name, certificates }: RegistryEntry, issuers: readonly X509Certificate[]): string[] {
  return certificates.flatMap(({ serial, der, publicKeyHash }) => {
    if (der === undefined) return [];
    const certificate = new X509Certificate(Buffer.from(der, "base64"));
    const isOwn = certificate.subject === `CN=${name}` && certificate.serialNumber.toLowerCase() === serial;
    const isKey = hashOfPublicKey(certificate.publicKey.export({ format: "der", type: "spki" })) === publicKeyHash;
    const isSigned = issuers.some((issuer) => certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey));
    return isOwn && isKey && isSigned ? [] : [`the certificate ${serial} in the entry of ${name} is not the one the CA issued`];
  });
}

function crlProblems(
  files: ProvedFiles,
  records: readonly CertificateRecord[],
  issuers: readonly X509Certificate[],
  nowMs: number,
): string[] {
  const lists = fromPem("X509 CRL", files.read(FILES.crl).toString("utf8")).map((der) => new RevocationList(der));
  const problems: string[] = [];
  for (const [index, list] of lists.entries()) {
    if (!issuers.some(({ publicKey }) => list.isSignedBy(publicKey)))
      problems.push(`the revocation list ${index + 1} is not signed by its CA`);
  }
  const listed = lists[0]?.serials() ?? new Set<string>();
  const revoked = revokedOf(records, nowMs).map(({ serial }) => serial);
  const valid = new Set(records.filter(({ status }) => status === "active").map(({ serial }) => serial));
  problems.push(
    ...revoked
      .filter((serial) => !listed.has(serial))
      .map((serial) => `the certificate ${serial} is revoked, but not on the revocation list`),
  );
  problems.push(
    ...[...listed]
      .filter((serial) => valid.has(serial))
      .map((serial) => `the certificate ${serial} is on the revocation list, but not revoked`),
  );
  return problems;
}

/** What is there beside the CA's files; with it what could be one of them, the key of a root that was retired for example, but is not. */
function strangersIn(files: ProvedFiles): string[] {
  const { directory, parts } = files;
  const ours = new Set<string>([...Object.values(FILES), ...Object.values(DIRECTORIES)].map((path) => path.split("/")[0] ?? ""));
  const unsealed = Object.values(FILES).filter((file) => isSealedFile(file) && !files.has(file) && existsSync(directory.pathOf(file)));
  const others = readdirSync(directory.path).filter(
    (name) => !ours.has(name) && !isTemporaryName(name) && !name.startsWith(`${DIRECTORIES.trial}-`),
  );
  const elsewhere = parts.kind === "files" ? [FILES.registry] : [DIRECTORIES.registry, DIRECTORIES.index];
  const index = directory.pathOf(DIRECTORIES.index);
  const inIndex = parts.kind === "files" && existsSync(index) ? readdirSync(index).map((name) => join(DIRECTORIES.index, name)) : [];
  return [
    ...others,
    ...unsealed,
    ...elsewhere.filter((name) => existsSync(directory.pathOf(name))),
    ...inIndex.filter((file) => !files.has(file)),
  ];
}
