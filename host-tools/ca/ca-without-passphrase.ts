/** What can be read of a CA without its passphrase. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { HawserError } from "../../sdk/errors.js";
import type { CaState } from "../ca-directory/sealed-state.js";
import { machineHere } from "../ca-directory/log-replica.js";
import { outputsHere, readOutputs } from "../ca-directory/outputs-file.js";
import type { Output } from "../ca-directory/outputs-file.js";
import { verifyAuditText } from "../ca-directory/audit-trail.js";
import type { AuditVerdict } from "../ca-directory/audit-trail.js";
import { listed, unknownId } from "../ca-directory/registry.js";
import type { ListedName } from "../ca-directory/registry.js";
import { crlBaseOf, readCertificates } from "./context.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { unprovedFiles } from "../ca-directory/ca-files.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import type { RegistryNames } from "../ca-directory/ca-registry.js";
import { find, select } from "../ca-directory/registry-query.js";
import type { FoundNames, RegistryQuery } from "../ca-directory/registry-query.js";
import type { Reading } from "../ca-directory/proved-ca.js";
import type { ReadingOptions } from "../ca-directory/proved-reading.js";
import { isJournalThere, readRevision } from "../ca-directory/change-journal.js";
import { DIRECTORIES, FILES } from "../ca-directory/directory-layout.js";
import { certificatePolicyOf, parseRecord, readRecord } from "../ca-directory/ca-record.js";
import type { CertificatePolicy } from "../ca-directory/ca-record.js";
import { olderCopy } from "../ca-directory/revision-witness.js";
import type { NameDirectory, Policy } from "../policy/policy-model.js";
import { policyOf, policyTextOf } from "./ca-policy.js";
import { leftBehind } from "./identity-move.js";
import type { LeftBehind } from "./identity-move.js";
import { namesOf } from "./policy-names.js";
import { hangingOn } from "./rollover.js";
import { readCrlTimes, readNextUpdate, readRootCrlTimes } from "./revocation.js";
import type { CrlTimes } from "./revocation.js";
import { checkCaState, proveNames, readNames } from "./listed-names.js";
import type { ReadNames } from "./listed-names.js";

/** A CA without its registry. */
export interface CaParts {
  readonly directory: string;
  readonly name: string;
  readonly brokerHosts: readonly string[];
  /** Set when this user has seen a newer state of this CA in another directory. */
  readonly olderCopy?: HawserError;
  /** The root, DER; during a rollover of the root, the one before it comes second. */
  readonly trustAnchors: readonly Uint8Array[];
  /** Certificates of the issuing CA and the broker, DER. */
  readonly issuing: Uint8Array | undefined;
  readonly broker: Uint8Array | undefined;
  /** When the revocation lists were signed, and when they stop being believed. */
  readonly crlThisUpdateMs: number;
  readonly crlNextUpdateMs: number;
  /** The same of a root's own list, where its key is not in the CA directory. */
  readonly rootCrl?: CrlTimes;
  /** What the CA's own certificates are like, and where its root is. */
  readonly certificatePolicy: CertificatePolicy;
  /** Base of the address at which certificates say that revocation lists are found. */
  readonly crlBase?: string;
  /** Whether the folder of the offline root is still in the CA directory. */
  readonly isRootStillHere: boolean;
  /** Of a CA that machines share, those of this machine. */
  readonly outputs: readonly Output[];
  /** The policy's text; the built-in one where the CA has none of its own. */
  policyText(): string;
}

export interface CaView extends CaParts {
  /** Whether the passphrase proved all of it. Without it, whoever may write the files decides what this says. */
  readonly isProved: boolean;
  /** During a rollover: the issuing CA before, DER, and the names that still hang on it. */
  readonly previous?: { readonly certificate: Uint8Array; hanging(nowMs: number): readonly string[] };
  readonly count: number;
  /** Every name there is, sorted. */
  list(): ListedName[];
  /** The names that a query asks for, in its order: at most `limit` of them. */
  find(query: RegistryQuery, limit?: number): FoundNames;
  /** Throws `UNKNOWN_ID`. */
  get(name: string): ListedName;
  /** Every name as the policy asks about it. */
  names(): NameDirectory;
  /** The devices that another policy would take their identity topics from: see {@link leftBehind}. */
  leftBehindBy(policy: Policy): LeftBehind[];
}

/**
 * Reads what is in a CA beside its registry, which takes as long with a hundred thousand names as with one. Nothing is proved.
 *
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`, `CA_ROLLED_BACK`, `CA_VERSION`, `STORAGE_FAILED`
 */
export function openCaParts(path: string): CaParts {
  const directory = new CaDirectory(path);
  return partsOf(unprovedFiles(directory), checkCaState(directory).state);
}

/**
 * Reads a CA as it is now; later changes are not seen. Without the passphrase nothing is proved: whoever may write the files decides what
 * this says.
 *
 * @param reading how much of the registry; see {@link proveCa}
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`, `CA_ROLLED_BACK`, `CA_VERSION`, `STORAGE_FAILED`
 */
export function openCaReadOnly(directory: string, reading: Reading = "all"): CaView {
  return viewOf(readNames(new CaDirectory(directory), reading));
}

/**
 * The same, proved. A change that was cut off is not finished by this.
 *
 * @param reading how much of the registry: with `used`, what {@link CaView.names} reads may be older than what is on the disk
 * @throws HawserError as `openCa`; `CA_BUSY` when a change was cut off
 */
export async function proveCa(directory: string, passphrase: string, reading: Reading = "all", options?: ReadingOptions): Promise<CaView> {
  return viewOf(await proveNames(new CaDirectory(directory), passphrase, reading, options));
}

function viewOf({ files, names, state, isProved }: ReadNames): CaView {
  const { entries } = names;
  const previous = previousOf(files, names);
  return {
    ...partsOf(files, state),
    isProved,
    ...(previous === undefined ? {} : { previous }),
    names: () => namesOf(entries.values()),
    leftBehindBy: (policy) => {
      const devices = [...namesOf(names.summaries()).all()].map((name) => ({ before: name, after: name }));
      return leftBehind({ before: policyOf(files), after: policy, devices }, (name) => entries.get(name));
    },
    count: entries.size,
    list: () => select(names.summaries(), {}).map(listed),
    find: (query, limit) => find(names.summaries(), query, limit),
    get: (wanted) => {
      const [found] = find(names.summaries(), { isWanted: ({ name }) => name === wanted }).first;
      if (found === undefined) throw unknownId(wanted);
      return listed(found);
    },
  };
}

/** The issuing CA before, during a rollover. */
export function previousOf(files: CaFiles, { entries }: RegistryNames): CaView["previous"] {
  const before = files.has(FILES.previous) ? readCertificates(files, FILES.previous)[0] : undefined;
  return before === undefined ? undefined : { certificate: before, hanging: (nowMs) => hangingOn(entries.values(), before, nowMs) };
}

function partsOf(files: CaFiles, state: CaState): CaParts {
  const { directory } = files;
  const record = parseRecord(files);
  const { name, brokerHosts } = record;
  const rootCrl = readRootCrlTimes(files);
  const copy = state.log === undefined ? olderCopy(directory, state) : undefined;
  return {
    directory: directory.path,
    ...(copy === undefined ? {} : { olderCopy: copy }),
    name,
    brokerHosts,
    trustAnchors: [FILES.root, ...(files.has(FILES.previousRoot) ? [FILES.previousRoot] : [])].flatMap((file) =>
      readCertificates(files, file),
    ),
    issuing: readCertificates(files, FILES.issuing)[0],
    broker: readCertificates(files, FILES.brokerChain)[0],
    crlThisUpdateMs: readCrlTimes(files).thisUpdateMs,
    crlNextUpdateMs: readNextUpdate(files),
    ...(rootCrl === undefined ? {} : { rootCrl }),
    certificatePolicy: certificatePolicyOf(record),
    ...crlBaseOf(record),
    isRootStillHere: existsSync(directory.pathOf(DIRECTORIES.offlineRoot)),
    outputs: outputsHere(readOutputs(files), machineHere({ directory, state })),
    policyText: () => policyTextOf(files),
  };
}

/**
 * Checks the audit trail from its first line to its last.
 *
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT` (a file it needs is missing)
 */
export function verifyAudit(path: string): AuditVerdict {
  const directory = new CaDirectory(path);
  readRecord(directory);
  const text = directory.readUnprovedText(FILES.audit);
  return verifyAuditText(text, isJournalThere(directory) ? undefined : readRevision(directory).auditHash);
}

/** The path of the CA's trust anchor, PEM, for tools that want a file. */
export function trustAnchorFile(directory: string): string {
  return join(directory, FILES.root);
}
