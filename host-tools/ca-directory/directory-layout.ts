/** The files of a CA directory (docs/protocol.md, "A CA directory"), and the errors that speak of them. */
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { isId } from "../../sdk/identity/device-id.js";

export const FILES = {
  /** Written last by `initCa`: a directory with it is a CA. */
  record: "ca.json",
  root: "root.crt.pem",
  issuing: "issuing.crt.pem",
  crl: "crl.pem",
  brokerChain: "broker.crt.pem",
  /** The broker certificates ever issued, as the registry keeps them for other names. */
  brokerRecords: "broker.json",
  /** The issuing CA before this one, while devices still hang on it; there only during a rollover. */
  previous: "issuing-previous.crt.pem",
  previousKey: "keys/issuing-previous.sealed",
  /** The root before this one, while devices still hang on it; there only during a rollover of the root. */
  previousRoot: "root-previous.crt.pem",
  previousRootKey: "keys/root-previous.sealed",
  /** What leads from this root to those before it, newest first (RFC 4210 section 4.4, NewWithOld); there once the root was rolled over. */
  rootLinks: "root-links.crt.pem",
  /** Issuing CAs that were retired, for the root's revocation list; there once one was. */
  retired: "retired.json",
  /** Certificates issued after the backup that this CA was restored from, and revoked there; only in a restored CA. */
  lost: "lost.json",
  /** Certificates between the issuing CA and the root, where another PKI is the parent. */
  upper: "upper.crt.pem",
  /** Revocation lists of the root, and of CAs between, whose keys are not here. */
  rootCrl: "root.crl.pem",
  /** The issuing CA to come, asked for from a root that is not here. */
  nextKey: "keys/issuing-next.sealed",
  next: "issuing-next.json",
  rootKey: "keys/root.sealed",
  issuingKey: "keys/issuing.sealed",
  brokerKey: "keys/broker.sealed",
  outputs: "outputs.json",
  /** Who may use which topics; a CA without it has the built-in policy. */
  policy: "policy.yaml",
  /** The registry, where it is in a database; else it is in the folder of this name, and in that of the index. */
  registry: "registry.sqlite",
  /** Where the database with the shared registry is, and which machine's directory this is; only there where the registry is shared. */
  database: "database.json",
  /** Up to which change the brokers of this machine are known to be up to date, where the registry is shared. */
  carried: "carried",
  audit: "audit.jsonl",
  /** One MAC over everything here: see `sealed-state.ts`. */
  state: "state.json",
  /** Number of the last change and the head of the audit trail, for watchers. Written last by every change. */
  revision: "revision",
  /** There while a change is under way: what to do to finish it. */
  journal: "journal.json",
  lock: "ca.lock",
  /** Held by the authority that runs on this directory. */
  authorityLock: "authority.lock",
} as const;

/** The files whose hashes stand in the sealed state. The registry's entries and the audit trail have their own place there. */
export const SEALED_FILES: readonly string[] = [
  FILES.record,
  FILES.root,
  FILES.issuing,
  FILES.crl,
  FILES.brokerChain,
  FILES.brokerRecords,
  FILES.rootKey,
  FILES.issuingKey,
  FILES.brokerKey,
  FILES.outputs,
];

const OPTIONAL_FILES: readonly string[] = [
  FILES.policy,
  FILES.previous,
  FILES.previousKey,
  FILES.previousRoot,
  FILES.previousRootKey,
  FILES.rootLinks,
  FILES.retired,
  FILES.lost,
  FILES.upper,
  FILES.rootCrl,
  FILES.next,
  FILES.nextKey,
];

/** Whether a file's hash stands in the sealed state: those of every CA, and others where they are. */
export function isSealedFile(file: string): boolean {
  return SEALED_FILES.includes(file) || OPTIONAL_FILES.includes(file) || isIndexFile(file);
}

/** A part of the index that a registry with many names has. */
export function isIndexFile(file: string): boolean {
  return new RegExp(`^${DIRECTORIES.index}/[0-9a-f]{4}(?:-details)?$`).test(file);
}

export const DIRECTORIES = {
  keys: "keys",
  registry: "registry",
  /** There once the registry has many names. */
  index: "index",
  /** A lock file for each name that is being provisioned. */
  reservations: "reservations",
  /** There while a broker configuration is tried. */
  trial: "trial",
  /** The offline root, until it is carried away. */
  offlineRoot: "offline-root",
  /** What `hawser broker run --engine mosquitto` keeps. */
  brokers: "brokers",
} as const;

/** What each sealed thing is for: bound to its ciphertext, so that none can stand in for another. */
export const SEAL_PURPOSE = {
  check: "hawser CA: passphrase check",
  key: (file: string): string => `hawser CA: ${file}`,
  psk: (name: string): string => `hawser CA: PSK of ${name}`,
} as const;

export function entryFile(name: string): string {
  return join(DIRECTORIES.registry, `${name}.json`);
}

/** Held while a name is being provisioned. */
export function reservationFile(name: string): string {
  return join(DIRECTORIES.reservations, `${name}.lock`);
}

/** The name whose entry has this path below the directory; undefined for every other file. */
export function nameOfEntryFile(path: string): string | undefined {
  const name = path.startsWith(`${DIRECTORIES.registry}/`) ? path.slice(DIRECTORIES.registry.length + 1).replace(/\.json$/, "") : "";
  return isId(name) && path === entryFile(name) ? name : undefined;
}

/** Whether a path is that of a part of the registry: an entry's, or the index's. */
export function isRegistryPart(path: string): boolean {
  return isIndexFile(path) || nameOfEntryFile(path) !== undefined;
}

export function corrupt(path: string, problem: string): HawserError {
  return new HawserError("CA_CORRUPT", `${path} is damaged: ${problem}`, "Restore the CA directory from a backup.");
}
