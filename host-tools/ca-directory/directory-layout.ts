/** The files of a CA directory (docs/architecture.md, "A CA directory"), and the errors that speak of them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode, storageError } from "../../sim/node/files/atomic-file.js";
import { parseObject } from "./registry-entry.js";

export const FILES = {
  /** Written last by `initCa`: a directory with it is a CA. */
  record: "ca.json",
  root: "root.crt.pem",
  issuing: "issuing.crt.pem",
  crl: "crl.pem",
  brokerChain: "broker.crt.pem",
  /** The broker certificates ever issued, as the registry keeps them for other names. */
  brokerRecords: "broker.json",
  rootKey: "keys/root.sealed",
  issuingKey: "keys/issuing.sealed",
  brokerKey: "keys/broker.sealed",
  outputs: "outputs.json",
  audit: "audit.jsonl",
  /** Number of the last change and the head of the audit trail. Written last by every change. */
  revision: "revision",
  /** There while a change is under way: what to do to finish it. */
  journal: "journal.json",
  lock: "ca.lock",
} as const;

export const DIRECTORIES = {
  keys: "keys",
  registry: "registry",
  /** A lock file for each name that is being provisioned. */
  reservations: "reservations",
  /** There while a broker configuration is tried. */
  trial: "trial",
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

export function corrupt(path: string, problem: string): HawserError {
  return new HawserError("CA_CORRUPT", `${path} is damaged: ${problem}`, "Restore the CA directory from a backup.");
}

/** @throws HawserError `CA_CORRUPT` when the file is missing */
export function readCaFile(directory: string, file: string): Buffer {
  const path = join(directory, file);
  try {
    return readFileSync(path);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw corrupt(path, "it is missing");
    throw storageError(error, "read", path);
  }
}

/**
 * The object in a JSON file as we write them: closed by a line feed, so that a cut-off last byte shows too.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function readCaJson(directory: string, file: string): Record<string, unknown> {
  const text = readCaFile(directory, file).toString("utf8");
  const value = text.endsWith("}\n") ? parseObject(text) : undefined;
  if (value === undefined) throw corrupt(join(directory, file), "it is not whole JSON");
  return value;
}
