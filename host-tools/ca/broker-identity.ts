/** The broker's own key and certificate, and everything a broker must know of the CA. */
import { X509Certificate } from "node:crypto";
import { seal } from "../../sim/node/vault/sealed.js";
import type { CertificateRecord, EntryState, RegistryEntry } from "../ca-directory/registry-entry.js";
import { parseCertificateRecords } from "../ca-directory/registry-entry.js";
import { BROKER_NAME } from "./reserved-names.js";
import type { PolicyEngine } from "../policy/policy-engine.js";
import { builtInPolicyEngine, policyEngineOf } from "./ca-policy.js";
import { activePsk } from "./sealed-psk.js";
import { anchorsOf, chainOf, issueLeaf, linksOf, pemChain, readCertificates, readSealedKey } from "./context.js";
import type { CaContext, CaKeys } from "./context.js";
import { readCaJson } from "../ca-directory/ca-files.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import { FILES, SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import { toPem } from "../pki/pem.js";
import { checkBrokerHosts, recordText } from "../ca-directory/ca-record.js";
import type { CaRecord } from "../ca-directory/ca-record.js";
import type { Draft } from "../ca-directory/change-draft.js";
import { HawserError } from "../../sdk/errors.js";
import { generateKey, nodeCrypto } from "../pki/signer.js";

export interface BrokerMaterial {
  /** The broker's certificate and the issuing CA, PEM, and after a rollover of the root what leads to the one before. */
  readonly chainPem: string;
  /** PKCS#8, PEM, not encrypted. */
  readonly keyPem: string;
  /** The root, PEM, and during a rollover the one before it: by it the broker judges clients, and clients the broker. */
  readonly trustAnchorPem: string;
  readonly issuingPem: string;
  /** All CAs between roots and clients: issuing CA, during a rollover the one before it, and those of another PKI above them. */
  readonly issuersPem: string;
  /** Revocation lists of issuing CA and root, PEM. */
  readonly crlPem: string;
  /** When the broker has to have new revocation lists: after this it would refuse everybody. */
  readonly crlNextUpdateMs: number;
  /** Lower-case hex without leading zeros. */
  readonly revokedSerials: ReadonlySet<string>;
  /** Hosts in the broker's certificate. */
  readonly brokerHosts: readonly string[];
  /** The key of a device that may use the PSK port now. */
  pskFor(identity: string): Buffer | undefined;
  /** The role of a name that may do anything at all now; a device in recovery has its role, and the PSK port's scope only. */
  roleOf(name: string): string | undefined;
  stateOf(name: string): EntryState | undefined;
  /** The CA's policy and its names: who may do what. */
  readonly policy: PolicyEngine;
}

/** Files that hold a new broker identity, for `ca init` and for a renewal. */
export async function newBrokerIdentity(
  keys: CaKeys,
  record: CaRecord,
  nowMs: number,
): Promise<{ certificate: CertificateRecord; chainPem: string; sealedKey: Buffer }> {
  const { pkcs8, publicKey } = await generateKey();
  const spki = new Uint8Array(await nodeCrypto.subtle.exportKey("spki", publicKey));
  const profile = { kind: "broker" as const, hosts: record.brokerHosts };
  const { record: certificate, der } = await issueLeaf(keys, BROKER_NAME, spki, profile, nowMs, record.lifetimesMs.broker);
  const sealedKey = seal(keys.sealing, pkcs8, SEAL_PURPOSE.key(FILES.brokerKey));
  pkcs8.fill(0);
  return { certificate, chainPem: pemChain([...chainOf(keys, der), ...linksOf(keys, nowMs)]), sealedKey };
}

export interface BrokerCertificateRequest {
  /** Names and addresses to have in the certificate from now on. */
  readonly addHosts?: readonly string[];
  readonly removeHosts?: readonly string[];
}

export interface RenewedBrokerCertificate {
  readonly serial: string;
  readonly notAfterMs: number;
  readonly hosts: readonly string[];
}

/**
 * Gives the broker a new key and certificate; the old one is revoked as superseded.
 *
 * @throws HawserError `BAD_HOST` (also for a host to be removed that is not there), and as every change
 */
export async function renewBrokerCertificate(
  ca: CaContext,
  { addHosts = [], removeHosts = [] }: BrokerCertificateRequest = {},
): Promise<RenewedBrokerCertificate> {
  return ca.store.change(async (draft) => {
    const { brokerHosts } = ca.record;
    const missing = removeHosts.find((host) => !brokerHosts.includes(host));
    if (missing !== undefined)
      throw new HawserError("BAD_HOST", `the broker's certificate does not name ${missing}`, `It names ${brokerHosts.join(", ")}.`);
    // Reserved the other way round as well: no device is called like a broker's host.
    const taken = addHosts.find((host) => draft.entries.has(host));
    if (taken !== undefined)
      throw new HawserError("BAD_HOST", `${taken} is the name of a device or client`, "Give the broker another name.");
    const hosts = checkBrokerHosts([...brokerHosts.filter((host) => !removeHosts.includes(host)), ...addHosts]);
    const record = { ...ca.record, brokerHosts: hosts };
    if (addHosts.length + removeHosts.length > 0) draft.write(FILES.record, recordText(record));
    const { serial, notAfterMs } = await renewIn(draft, ca.keys, record);
    draft.record({ event: "broker-certificate-renewed", serial, hosts });
    return { serial, notAfterMs, hosts };
  });
}

/** A new broker identity as a part of a change. */
export async function renewIn(draft: Draft, keys: CaKeys, record: CaRecord): Promise<CertificateRecord> {
  const { certificate, chainPem, sealedKey } = await newBrokerIdentity(keys, record, draft.nowMs);
  const old = readBrokerRecords(draft).map((known) => (known.status === "active" ? superseded(known, draft.nowMs) : known));
  draft.write(FILES.brokerRecords, brokerRecordsText([...old, certificate]));
  draft.write(FILES.brokerChain, chainPem);
  draft.write(FILES.brokerKey, sealedKey);
  draft.revocationChanged = true;
  return certificate;
}

/** Less than this is not worth a new certificate: the issuing CA ends soon, and every certificate with it. */
const LEAST_GAIN = 1 / 20;

/** Renews the broker's certificate with any change of the CA that comes after two thirds of its life. */
export async function renewBrokerWhenDue(record: CaRecord, keys: CaKeys, draft: Draft): Promise<void> {
  const current = readBrokerRecords(draft).find(({ status }) => status === "active");
  if (current === undefined || draft.writes.has(FILES.brokerRecords)) return;
  const lifeMs = current.notAfterMs - current.notBeforeMs;
  if (draft.nowMs < current.notBeforeMs + (lifeMs * 2) / 3) return;
  const issuerEndMs = Date.parse(new X509Certificate(keys.issuing.certificate).validTo);
  const gainMs = Math.min(draft.nowMs + record.lifetimesMs.broker, issuerEndMs) - current.notAfterMs;
  // An issuing CA that has ended can give none, and must not stand in the way of a revocation or a rollover.
  if (gainMs < lifeMs * LEAST_GAIN || issuerEndMs <= draft.nowMs) return;
  const { serial } = await renewIn(draft, keys, record);
  if (draft.event !== undefined) draft.record({ ...draft.event, brokerCertificate: serial });
}

export function brokerRecordsText(certificates: readonly CertificateRecord[]): string {
  return `${JSON.stringify({ v: 1, certificates }, null, 2)}\n`;
}

/** As a change is about to leave them, or as they are on disk. Throws `CA_CORRUPT`. */
export function readBrokerRecords(files: CaFiles): CertificateRecord[] {
  const value = readCaJson(files, FILES.brokerRecords);
  const records = value["v"] === 1 ? parseCertificateRecords(value["certificates"]) : undefined;
  if (records === undefined) throw files.directory.corrupt(FILES.brokerRecords, "it is not a list of certificates");
  return records;
}

/** Everything a broker needs, as the CA directory is now. */
export function readBrokerMaterial(
  files: CaFiles,
  record: CaRecord,
  keys: CaKeys,
  names: readonly RegistryEntry[],
  crlNextUpdateMs: number,
): BrokerMaterial {
  const entries = new Map(names.map((entry) => [entry.name, entry]));
  const key = readSealedKey(files, FILES.brokerKey, keys.sealing);
  const keyPem = toPem("PRIVATE KEY", key);
  key.fill(0);
  let policy = files.has(FILES.policy) ? policyEngineOf(files, names) : undefined;
  const certificates = [...names.flatMap((entry) => entry.certificates), ...readBrokerRecords(files)];
  return {
    chainPem: pemChain(readCertificates(files, FILES.brokerChain)),
    keyPem,
    trustAnchorPem: pemChain(anchorsOf(keys)),
    issuingPem: pemChain([keys.issuing.certificate]),
    issuersPem: pemChain([
      keys.issuing.certificate,
      ...(keys.previous === undefined ? [] : [keys.previous.certificate]),
      ...(keys.uppers ?? []),
    ]),
    crlPem: files.read(FILES.crl).toString("utf8"),
    crlNextUpdateMs,
    revokedSerials: new Set(certificates.filter((certificate) => certificate.status !== "active").map((certificate) => certificate.serial)),
    brokerHosts: record.brokerHosts,
    pskFor: (identity) => activePsk(keys, entries.get(identity)),
    roleOf: (name) => roleOf(entries.get(name)),
    stateOf: (name) => entries.get(name)?.state,
    // The built-in one proves nothing of the CA, and is read by who asks for it.
    get policy() {
      policy ??= builtInPolicyEngine(names);
      return policy;
    },
  };
}

function roleOf(entry: RegistryEntry | undefined): string | undefined {
  return entry?.state === "active" || entry?.state === "certificate-revoked" ? entry.role : undefined;
}

function superseded(record: CertificateRecord, nowMs: number): CertificateRecord {
  const { der: _notNeeded, ...rest } = record;
  return { ...rest, status: "superseded", reason: "superseded", revokedAtMs: nowMs };
}
