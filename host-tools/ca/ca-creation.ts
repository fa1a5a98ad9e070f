/** Makes a CA directory: in a directory beside its place, moved there by one rename, so that there is never half a CA. */
import { randomBytes, X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import type { ScryptCost } from "../../sim/node/vault/sealed.js";
import { AuditDigest, auditLine, FIRST_HASH, hashOfLine } from "../ca-directory/audit-trail.js";
import { brokerRecordsText, newBrokerIdentity } from "./broker-identity.js";
import { makeCertificate, makeRoot, validityFrom } from "../pki/certificate-profiles.js";
import { crlBaseOf, pemChain } from "./context.js";
import { makeDirectory, makeInPlace } from "./new-directory.js";
import type { CaKeys } from "./context.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import type { Unlocked } from "../ca-directory/proved-reading.js";
import { makeRegistryHome } from "../ca-directory/registry-home.js";
import type { RegistryKind } from "../ca-directory/registry-kinds.js";
import { RegistryTree } from "../ca-directory/registry-tree.js";
import { inStore, sha256, stateKey, stateText } from "../ca-directory/sealed-state.js";
import { revisionText } from "../ca-directory/change-journal.js";
import { DIRECTORIES, FILES, SEALED_FILES } from "../ca-directory/directory-layout.js";
import { outputsText } from "../ca-directory/outputs-file.js";
import { toPem } from "../pki/pem.js";
import {
  certificatePolicyOf,
  checkBrokerHosts,
  checkCaName,
  checkCommonName,
  DEFAULT_LIFETIMES,
  newRecord,
  recordText,
} from "../ca-directory/ca-record.js";
import type { CaRecord, CertificatePolicy, Lifetimes } from "../ca-directory/ca-record.js";
import { checkCrlBase } from "../pki/crl-base-url.js";
import { makeCrls, makeRootCrl } from "./revocation.js";
import type { ExternalKey, KeyType } from "../pki/signer.js";
import { AbsentRoot, OFFLINE, PARENT } from "./absent-root.js";
import type { ParentChain } from "./parent-chain.js";
import { writeOfflineRoot } from "./offline-root.js";
import { newCaKey, sealedKey } from "./ca-keys.js";
import type { CaKey } from "./ca-keys.js";

export interface InitOptions {
  /** In the names of the CA certificates: 1 to 48 printable characters. */
  readonly name: string;
  /** DNS names and IP addresses for the broker's certificate; the loopback ones when left out. */
  readonly brokerHosts?: readonly string[];
  readonly passphrase: string;
  /** Common names of the CA's certificates; made from `name` when left out. */
  readonly rootName?: string;
  readonly issuingName?: string;
  /** Curves of the CA's keys; P-256 when left out. */
  readonly keyTypes?: { readonly root?: KeyType; readonly issuing?: KeyType };
  /** Keys that are kept elsewhere, made when all else was checked. A key that is left out is made here and sealed in a file. */
  readonly signers?: { readonly root?: () => Promise<ExternalKey>; readonly issuing?: () => Promise<ExternalKey> };
  /** Have the root's key in a folder of its own, `offline-root` in the CA directory, to be carried away; sealed by this passphrase. */
  readonly offlineRoot?: { readonly passphrase: string };
  /** A chain under another PKI, and the key of the issuing CA in it: see {@link finishUnderParent}. */
  readonly underParent?: { readonly chain: ParentChain; readonly key: CaKey };
  /** Base of the address at which revocation lists are found; certificates and lists then name it. */
  readonly crlBase?: string;
  /** Milliseconds; what is left out keeps its default. */
  readonly lifetimesMs?: Partial<Lifetimes & { root: number; issuing: number }>;
  /** Where the registry is kept: `files` when left out. */
  readonly registry?: RegistryKind;
  /** What turning the passphrase into a key costs; the default suits people's passphrases. */
  readonly scryptCost?: Readonly<ScryptCost>;
  /** Wall time, milliseconds since the epoch. */
  readonly now?: () => number;
}

const LOOPBACK = ["localhost", "127.0.0.1", "::1"];

/**
 * Makes a CA at `directory`, which must not exist or be empty.
 *
 * @throws HawserError `CA_EXISTS`, `OUT_EXISTS` (something else is there), `INVALID_NAME`, `BAD_HOST`, `STORAGE_FAILED`, `STORAGE_FULL`
 */
export async function initCa(directory: string, options: InitOptions): Promise<void> {
  const { sealing } = await createCa(directory, options);
  sealing.fill(0);
}

/**
 * The same for who uses the CA next.
 *
 * @throws HawserError as {@link initCa}
 */
export async function createCa(directory: string, options: InitOptions): Promise<Unlocked> {
  checkCaName(options.name);
  for (const commonName of [options.rootName, options.issuingName]) if (commonName !== undefined) checkCommonName(commonName);
  const brokerHosts = checkBrokerHosts(options.brokerHosts ?? LOOPBACK);
  const { made: sealing } = await makeInPlace(directory, (staging) => writeCa(staging, { ...options, brokerHosts }));
  return { directory: new CaDirectory(resolve(directory)), sealing };
}

/** @returns the key that seals the CA's secrets */
async function writeCa(directory: CaDirectory, options: InitOptions & { brokerHosts: readonly string[] }): Promise<Buffer> {
  for (const name of [DIRECTORIES.keys, DIRECTORIES.reservations]) makeDirectory(directory.pathOf(name));
  const { registry = "files" } = options;
  makeRegistryHome(directory, registry, new Map());
  const nowMs = (options.now ?? Date.now)();
  const { name, brokerHosts, passphrase, signers, crlBase } = options;
  const { root: rootMs, issuing: issuingMs, ...lifetimesMs } = { ...DEFAULT_LIFETIMES, ...options.lifetimesMs };
  const { underParent } = options;
  const root =
    underParent !== undefined
      ? ("parent" as const)
      : options.offlineRoot !== undefined
        ? ("offline" as const)
        : signers?.root === undefined
          ? ("file" as const)
          : ("token" as const);
  const certificatePolicy: CertificatePolicy = {
    rootKey: options.keyTypes?.root ?? "P-256",
    issuingKey: options.keyTypes?.issuing ?? "P-256",
    rootMs,
    issuingMs,
    root,
  };
  const { record, sealingKey } = newRecord(
    {
      ...{ name, brokerHosts, createdAtMs: nowMs, lifetimesMs, certificatePolicy },
      ...(crlBase === undefined ? {} : { crlPlaces: { bases: [checkCrlBase(crlBase)], unnamed: [] } }),
    },
    passphrase,
    options.scryptCost,
  );
  const rootKey = underParent === undefined ? await newCaKey(certificatePolicy.rootKey, signers?.root) : parentKey(underParent.chain);
  const issuingKey = underParent?.key ?? (await newCaKey(certificatePolicy.issuingKey, signers?.issuing));
  const keys =
    underParent === undefined
      ? await makeCertificates(options, record, rootKey, issuingKey, sealingKey, nowMs)
      : parentKeys(underParent.chain, record, rootKey, issuingKey, sealingKey);
  if (options.offlineRoot !== undefined) {
    const offline = {
      ca: name,
      key: rootKey,
      certificate: keys.root.certificate,
      issuing: keys.issuing.certificate,
      passphrase: options.offlineRoot.passphrase,
    };
    writeOfflineRoot(directory.pathOf(DIRECTORIES.offlineRoot), {
      ...offline,
      ...(options.scryptCost === undefined ? {} : { scryptCost: options.scryptCost }),
    });
    rootKey.secret.fill(0);
  }
  directory.write(
    FILES.rootKey,
    sealedKey(sealingKey, options.offlineRoot === undefined ? rootKey : { ...rootKey, secret: Buffer.from(OFFLINE) }, FILES.rootKey),
  );
  directory.write(FILES.issuingKey, sealedKey(sealingKey, issuingKey, FILES.issuingKey));
  directory.write(FILES.root, toPem("CERTIFICATE", keys.root.certificate));
  directory.write(FILES.issuing, toPem("CERTIFICATE", keys.issuing.certificate));
  if (keys.uppers !== undefined) directory.write(FILES.upper, pemChain(keys.uppers));
  const broker = await newBrokerIdentity(keys, record, nowMs);
  directory.write(FILES.brokerKey, broker.sealedKey);
  directory.write(FILES.brokerChain, broker.chainPem);
  directory.write(FILES.brokerRecords, brokerRecordsText([broker.certificate]));
  const rootLists = underParent?.chain.lists ?? (await makeRootCrl(keys.root, record, 1, nowMs));
  if (root !== "file") directory.write(FILES.rootCrl, rootLists);
  directory.write(FILES.crl, await makeCrls(keys, record, [broker.certificate], 1, nowMs, rootLists));
  directory.write(FILES.outputs, outputsText([]));
  const line = auditLine(FIRST_HASH, 1, new Date(nowMs), { event: "ca-created", ca: name });
  directory.write(FILES.audit, `${line}\n`);
  directory.write(FILES.record, recordText(record));
  const sealed = [...SEALED_FILES, ...(root === "file" ? [] : [FILES.rootCrl]), ...(keys.uppers === undefined ? [] : [FILES.upper])];
  const files = Object.fromEntries(sealed.map((file) => [file, sha256(directory.readUnproved(file))]));
  const audit = new AuditDigest().with(line);
  const state = {
    v: 1 as const,
    instance: randomBytes(16).toString("hex"),
    revision: 1,
    audit,
    registry: new RegistryTree([]).root,
    files,
  };
  directory.write(FILES.state, stateText(stateKey(sealingKey), inStore(state, registry)));
  directory.write(FILES.revision, revisionText({ number: 1, auditHash: hashOfLine(line) }));
  return sealingKey;
}

function parentKey({ root }: ParentChain): CaKey {
  const publicKey = new Uint8Array(new X509Certificate(root).publicKey.export({ format: "der", type: "spki" }));
  return { signer: new AbsentRoot(publicKey, PARENT), publicKey, secret: Buffer.from(PARENT) };
}

function parentKeys({ root, uppers, issuing }: ParentChain, record: CaRecord, rootKey: CaKey, issuingKey: CaKey, sealing: Buffer): CaKeys {
  const issuers = { root: { certificate: root, signer: rootKey.signer }, issuing: { certificate: issuing, signer: issuingKey.signer } };
  return { ...issuers, ...(uppers.length === 0 ? {} : { uppers }), ...crlBaseOf(record), sealing };
}

async function makeCertificates(
  options: InitOptions,
  record: CaRecord,
  rootKey: CaKey,
  issuingKey: CaKey,
  sealing: Buffer,
  nowMs: number,
): Promise<CaKeys> {
  const { name, rootName = `${name} Root CA`, issuingName = `${name} Issuing CA` } = options;
  const policy = certificatePolicyOf(record);
  const rootValidity = validityFrom(nowMs, policy.rootMs);
  const root = { signer: rootKey.signer, certificate: (await makeRoot(rootName, rootKey.publicKey, rootKey.signer, rootValidity)).der };
  const validity = validityFrom(nowMs, policy.issuingMs, rootValidity.notAfterMs);
  const profile = { kind: "issuing" } as const;
  const request = { commonName: issuingName, publicKey: issuingKey.publicKey, profile, validity, ...crlBaseOf(record) };
  const issuing = { signer: issuingKey.signer, certificate: (await makeCertificate(request, root)).der };
  return { root, issuing, ...crlBaseOf(record), sealing };
}
