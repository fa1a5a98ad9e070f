/** What can be read of a CA without its passphrase. */
import { join } from "node:path";
import { readOutputs } from "../ca-directory/outputs-file.js";
import type { Output } from "../ca-directory/outputs-file.js";
import { verifyAuditText } from "../ca-directory/audit-trail.js";
import type { AuditVerdict } from "../ca-directory/audit-trail.js";
import { listed, unknownId } from "../ca-directory/registry.js";
import type { ListedName } from "../ca-directory/registry.js";
import { readCertificates } from "./context.js";
import { isJournalThere, readRevision } from "../ca-directory/change-journal.js";
import { FILES, readCaFile } from "../ca-directory/directory-layout.js";
import { readRecord } from "../ca-directory/ca-record.js";
import { readNextUpdate } from "./revocation.js";
import { readConsistently } from "../ca-directory/ca-store.js";

export interface CaView {
  readonly directory: string;
  readonly name: string;
  readonly brokerHosts: readonly string[];
  /** The root, DER. */
  readonly trustAnchors: readonly Uint8Array[];
  /** When the revocation lists stop being believed. */
  readonly crlNextUpdateMs: number;
  readonly outputs: readonly Output[];
  /** Every name there is, sorted. */
  list(): ListedName[];
  /** Throws `UNKNOWN_ID`. */
  get(name: string): ListedName;
}

/**
 * Reads a CA as it is now; later changes are not seen.
 *
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`, `CA_VERSION`, `STORAGE_FAILED`
 */
export function openCaReadOnly(directory: string): CaView {
  const { name, brokerHosts } = readRecord(directory);
  const { entries } = readConsistently(directory);
  return {
    directory,
    name,
    brokerHosts,
    trustAnchors: readCertificates(directory, FILES.root),
    crlNextUpdateMs: readNextUpdate(directory),
    outputs: readOutputs(directory),
    list: () => [...entries.values()].map(listed),
    get: (wanted) => {
      const entry = entries.get(wanted);
      if (entry === undefined) throw unknownId(wanted);
      return listed(entry);
    },
  };
}

/**
 * Checks the audit trail from its first line to its last.
 *
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT` (a file it needs is missing)
 */
export function verifyAudit(directory: string): AuditVerdict {
  readRecord(directory);
  const text = readCaFile(directory, FILES.audit).toString("utf8");
  return verifyAuditText(text, isJournalThere(directory) ? undefined : readRevision(directory).auditHash);
}

/** The path of the CA's trust anchor, PEM, for tools that want a file. */
export function trustAnchorFile(directory: string): string {
  return join(directory, FILES.root);
}
