/** `ca.json`: what a CA is called and how its keys are locked away. Written once. */
import { isIP } from "node:net";
import { existsSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { deriveKey, deriveKeyBeside, newKeyDerivation, readKeyDerivation, seal, unseal } from "../../sim/node/vault/sealed.js";
import type { KeyDerivation, ScryptCost } from "../../sim/node/vault/sealed.js";
import { KEY_TYPES } from "../pki/signer.js";
import type { KeyType } from "../pki/signer.js";
import type { CaDirectory } from "./ca-directory.js";
import { readCaJson, unprovedFiles } from "./ca-files.js";
import type { CaFiles } from "./ca-files.js";
import { sha256 } from "./sealed-state.js";
import { corrupt, FILES, SEAL_PURPOSE } from "./directory-layout.js";

/** Lifetimes of what the CA issues, in milliseconds. */
export interface Lifetimes {
  readonly device: number;
  readonly client: number;
  readonly broker: number;
  /** From one revocation list to the moment it is no longer believed. */
  readonly crl: number;
}

/** What the CA's own certificates are like: recorded, so that the next ones are made alike. */
export interface CertificatePolicy {
  readonly rootKey: KeyType;
  readonly issuingKey: KeyType;
  /** Lifetimes, milliseconds. */
  readonly rootMs: number;
  readonly issuingMs: number;
  /** Where the root's key is: in the CA directory, in a token, in a folder that was carried away, or with another PKI. */
  readonly root: RootPlace;
}

/** Where the revocation lists are found, as certificates say. */
export interface CrlPlaces {
  /** Bases of the addresses: that of new certificates first, then those of earlier ones. */
  readonly bases: readonly string[];
  /**
   * Key identifiers of issuing CAs that issued before there was an address. Their lists name none: they would not count for certificates
   * without one.
   */
  readonly unnamed: readonly string[];
}

export const ROOT_PLACES = ["file", "token", "offline", "parent"] as const;
export type RootPlace = (typeof ROOT_PLACES)[number];

const DAY_MS = 86_400_000;
/** Revocation lists of a root whose key is not in the CA directory: each is a walk to a safe. */
export const ROOT_CRL_MS = 366 * DAY_MS;

export const DEFAULT_LIFETIMES = {
  root: 7305 * DAY_MS,
  issuing: 1826 * DAY_MS,
  broker: 825 * DAY_MS,
  client: 365 * DAY_MS,
  device: 365 * DAY_MS,
  crl: 30 * DAY_MS,
} as const;

export interface CaRecord {
  readonly v: 2;
  readonly name: string;
  readonly brokerHosts: readonly string[];
  readonly createdAtMs: number;
  readonly lifetimesMs: Lifetimes;
  /** Missing in CAs of early versions: see {@link certificatePolicyOf}. */
  readonly certificatePolicy?: CertificatePolicy;
  /** Missing where certificates name no place. */
  readonly crlPlaces?: CrlPlaces;
  readonly derivation: KeyDerivation;
  /** A sealed value that tells a wrong passphrase from a damaged file; base64. */
  readonly check: string;
}

/** Makes the record for a new CA, and the key that seals its secrets. */
export function newRecord(
  about: Pick<CaRecord, "name" | "brokerHosts" | "lifetimesMs" | "certificatePolicy" | "crlPlaces" | "createdAtMs">,
  passphrase: string,
  cost?: Readonly<ScryptCost>,
): { record: CaRecord; sealingKey: Buffer } {
  const derivation = newKeyDerivation(cost);
  const sealingKey = deriveKey(passphrase, derivation);
  const check = seal(sealingKey, Buffer.from("hawser"), SEAL_PURPOSE.check).toString("base64");
  return { record: inOrder({ ...about, derivation, check }), sealingKey };
}

/** The record and the key for another passphrase; all else as it is. */
export function withPassphrase(
  record: CaRecord,
  passphrase: string,
  cost?: Readonly<ScryptCost>,
): { record: CaRecord; sealingKey: Buffer } {
  const made = newRecord(record, passphrase, cost ?? record.derivation);
  return { record: { ...record, derivation: made.record.derivation, check: made.record.check }, sealingKey: made.sealingKey };
}

/** As it is written: the sum counts on the order. */
function inOrder({
  name,
  brokerHosts,
  createdAtMs,
  lifetimesMs,
  certificatePolicy,
  crlPlaces,
  derivation,
  check,
}: Omit<CaRecord, "v">): CaRecord {
  return {
    v: 2,
    name,
    brokerHosts,
    createdAtMs,
    lifetimesMs,
    ...(certificatePolicy === undefined ? {} : { certificatePolicy }),
    ...(crlPlaces === undefined ? {} : { crlPlaces }),
    derivation,
    check,
  };
}

export function certificatePolicyOf({ certificatePolicy }: CaRecord): CertificatePolicy {
  return (
    certificatePolicy ?? {
      rootKey: "P-256",
      issuingKey: "P-256",
      rootMs: DEFAULT_LIFETIMES.root,
      issuingMs: DEFAULT_LIFETIMES.issuing,
      root: "file",
    }
  );
}

/** The same CA whose certificates name this place from now on. `issuers`: key identifiers of the issuing CAs that there are. */
export function withCrlBase(record: CaRecord, base: string, issuers: readonly string[]): CaRecord {
  const { bases, unnamed } = record.crlPlaces ?? { bases: [], unnamed: issuers };
  return inOrder({ ...record, crlPlaces: { bases: [base, ...bases.filter((known) => known !== base)], unnamed } });
}

/** The file's text, closed by a sum: a damaged salt would otherwise look like a wrong passphrase. */
export function recordText(record: CaRecord): string {
  return `${JSON.stringify({ ...record, sha256: sha256(JSON.stringify(record)) }, null, 2)}\n`;
}

/**
 * The record as it is on the disk: read before there is a key that could prove it, compare it with what the sealed state says.
 *
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`, `CA_VERSION`
 */
export function readRecord(directory: CaDirectory): CaRecord {
  if (!existsSync(directory.pathOf(FILES.record)))
    throw new HawserError(
      "NOT_A_CA",
      `${directory} is not a CA directory: it has no ${FILES.record}`,
      "Check --dir, or create a CA: hawser ca init --dir DIR",
    );
  return parseRecord(unprovedFiles(directory));
}

/** @throws HawserError `CA_CORRUPT`, `CA_VERSION` */
export function parseRecord(files: CaFiles): CaRecord {
  const path = files.directory.pathOf(FILES.record);
  const value = readCaJson(files, FILES.record);
  const { v, name, brokerHosts, createdAtMs, lifetimesMs, certificatePolicy, crlPlaces, check } = value;
  if (typeof v === "number" && v > 2)
    throw new HawserError("CA_VERSION", `${path} was written by a newer version of hawser`, "Update hawser.");
  if (v === 1)
    throw new HawserError(
      "CA_VERSION",
      `${path} was written by an early version of hawser, whose files cannot be verified`,
      "Make a new CA with this version.",
    );
  const derivation = readKeyDerivation(value["derivation"]);
  if (
    v !== 2 ||
    typeof name !== "string" ||
    !isStrings(brokerHosts) ||
    typeof createdAtMs !== "number" ||
    !isLifetimes(lifetimesMs) ||
    derivation === undefined ||
    typeof check !== "string"
  ) {
    throw corrupt(path, "it is not a CA record");
  }
  const isKnown = certificatePolicy === undefined || isCertificatePolicy(certificatePolicy);
  if (!isKnown) throw corrupt(path, "its policy for certificates is not one");
  if (crlPlaces !== undefined && !isCrlPlaces(crlPlaces)) throw corrupt(path, "it does not say where revocation lists are found");
  const record = inOrder({
    name,
    brokerHosts,
    createdAtMs,
    lifetimesMs,
    ...(certificatePolicy === undefined ? {} : { certificatePolicy }),
    ...(crlPlaces === undefined ? {} : { crlPlaces }),
    derivation,
    check,
  });
  if (recordText(record) !== files.read(FILES.record).toString("utf8")) throw corrupt(path, "its checksum does not match");
  return record;
}

/** The key that seals the CA's secrets. Takes about a tenth of a second, on purpose, on another thread. Throws `WRONG_PASSPHRASE`. */
export async function unlock(directory: CaDirectory, record: CaRecord, passphrase: string): Promise<Buffer> {
  const key = await deriveKeyBeside(passphrase, record.derivation);
  try {
    unseal(key, Buffer.from(record.check, "base64"), SEAL_PURPOSE.check);
    return key;
  } catch {
    throw new HawserError(
      "WRONG_PASSPHRASE",
      `the passphrase does not open the CA in ${directory}`,
      existsSync(directory.pathOf(FILES.journal))
        ? "Give the CA's passphrase; if a passphrase change was interrupted, the earlier one finishes it."
        : "Give the CA's passphrase.",
    );
  }
}

/** Returns the name when it may stand in the CA's certificates. Throws `INVALID_NAME`. */
export function checkCaName(name: string): string {
  // " Issuing CA" is added, and X.509 limits a common name to 64 characters.
  if (/^[^\p{Cc}\p{Cs}]{1,48}$/u.test(name) && name.trim() === name) return name;
  throw new HawserError(
    "INVALID_NAME",
    `invalid CA name ${JSON.stringify(name)}`,
    "Use 1 to 48 printable characters, with no space at either end.",
  );
}

/**
 * X.509 limits a common name to 64 characters (RFC 5280 appendix A.1, ub-common-name), and a rollover adds a number. Throws `INVALID_NAME`.
 */
export function checkCommonName(name: string): void {
  if (/^[^\p{Cc}\p{Cs}]{1,60}$/u.test(name) && name.trim() === name) return;
  throw new HawserError(
    "INVALID_NAME",
    `the common name ${JSON.stringify(name)} is not usable`,
    "Use 1 to 60 printable characters, no space at either end.",
  );
}

/** Returns the hosts when each may stand in the broker's certificate. Throws `BAD_HOST`. */
export function checkBrokerHosts(hosts: readonly string[]): readonly string[] {
  for (const host of hosts) {
    const problem = problemWithHost(host);
    if (problem !== undefined)
      throw new HawserError("BAD_HOST", `${JSON.stringify(host)} cannot be in a broker's certificate: ${problem[0]}`, problem[1]);
  }
  if (hosts.length === 0)
    throw new HawserError(
      "BAD_HOST",
      "a broker certificate needs at least one host",
      "Give the host name by which devices reach the broker.",
    );
  return [...new Set(hosts)];
}

function problemWithHost(host: string): readonly [what: string, next: string] | undefined {
  if (host.includes("%")) return ["a zone (%...) counts on one machine only", "Give the address without its zone, or a name."];
  if (isIP(host) !== 0) return undefined;
  if (host.includes("*"))
    return ["a wildcard would let every host of the domain pass for the broker", "Name each host: --broker-host may be repeated."];
  if (host.includes("_"))
    return ["an underscore is in no host name (RFC 1123), and TLS libraries disagree about it", "Give the broker a name without one."];
  if (host.length <= 253 && host.split(".").every((label) => HOST_LABEL.test(label))) return undefined;
  return ["it is no host name and no IP address", "Give the name or address alone, without scheme or port."];
}

const HOST_LABEL = /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function isCertificatePolicy(value: unknown): value is CertificatePolicy {
  if (typeof value !== "object" || value === null) return false;
  const { rootKey, issuingKey, rootMs, issuingMs, root } = value as Record<string, unknown>;
  const areKeys = [rootKey, issuingKey].every((key) => KEY_TYPES.some((known) => known === key));
  return (
    Object.keys(value).length === 5 &&
    areKeys &&
    [rootMs, issuingMs].every((item) => typeof item === "number" && item > 0) &&
    ROOT_PLACES.some((known) => known === root)
  );
}

function isCrlPlaces(value: unknown): value is CrlPlaces {
  if (typeof value !== "object" || value === null) return false;
  const { bases, unnamed } = value as Record<string, unknown>;
  return Object.keys(value).length === 2 && isStrings(bases) && bases.length > 0 && isStrings(unnamed);
}

function isLifetimes(value: unknown): value is Lifetimes {
  if (typeof value !== "object" || value === null) return false;
  const { device, client, broker, crl } = value as Record<string, unknown>;
  return Object.keys(value).length === 4 && [device, client, broker, crl].every((item) => typeof item === "number" && item > 0);
}
