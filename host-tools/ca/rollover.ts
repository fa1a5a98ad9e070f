/**
 * Another issuing CA under the same root. Devices trust the root alone, so nothing changes for them: whoever renews gets a certificate of
 * the new one, and brokers believe both until the old one is retired.
 */
import { X509Certificate } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { seal } from "../../sim/node/vault/sealed.js";
import { brokerRecordsText, renewIn } from "./broker-identity.js";
import { FILES, SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import type { Draft } from "../ca-directory/change-draft.js";
import type { CertificateRecord, RegistryEntry } from "../ca-directory/registry-entry.js";
import { currentCertificate, withIssuerRetired } from "../ca-directory/state-transitions.js";
import { hashOfPublicKey } from "../pki/certificate-request.js";
import { makeCertificate, validityFrom } from "../pki/certificate-profiles.js";
import type { Issuer } from "../pki/certificate-profiles.js";
import { toPem } from "../pki/pem.js";
import type { ExternalKey, Signer } from "../pki/signer.js";
import { certificatePolicyOf } from "../ca-directory/ca-record.js";
import { isAuthorityName } from "./reserved-names.js";
import { AbsentRoot } from "./absent-root.js";
import { newCaKey, sealedKey } from "./ca-keys.js";
import type { CaKey } from "./ca-keys.js";
import { crlBaseOf, isIssuedBy, isKeptElsewhere, readSealedKey } from "./context.js";
import type { CaContext, CaKeys } from "./context.js";
import { crlsFor, readRetired, renewRootCrlIn } from "./revocation.js";

export interface Rollover {
  /** Common name of the new issuing CA. */
  readonly name: string;
  readonly serial: string;
  readonly notAfterMs: number;
  /** Of the broker's new certificate. */
  readonly brokerSerial: string;
}

export interface RolloverOptions {
  /**
   * Makes the new key in another place, a token for example; "file" seals it in a file. Must be said where the present key is in another
   * place.
   */
  readonly signer?: (() => Promise<ExternalKey>) | "file";
}

/**
 * Makes the new issuing CA, as the CA's policy for certificates says, and a broker certificate from it.
 *
 * @throws HawserError `ROLLOVER_UNFINISHED` while the one before the old one is not retired, `SIGNER_REQUIRED`, `ROOT_ABSENT`, and as every
 *   change
 */
export async function rollOver(ca: CaContext, { signer }: RolloverOptions = {}): Promise<Rollover> {
  return ca.store.change(async (draft) => {
    const { issuing, root } = ca.keys;
    // Before a key is made that nothing could be done with.
    if (root.signer instanceof AbsentRoot) await root.signer.sign();
    const key = await nextIssuingKey(ca, draft, signer);
    const policy = certificatePolicyOf(ca.record);
    const old = new X509Certificate(issuing.certificate);
    const lifeMs = ca.record.certificatePolicy?.issuingMs ?? Date.parse(old.validTo) - Date.parse(old.validFrom);
    const validity = validityFrom(draft.nowMs, lifeMs, Date.parse(new X509Certificate(root.certificate).validTo));
    const commonName = nextName(old.subject);
    const { der } = await makeCertificate(
      { commonName, publicKey: key.publicKey, profile: { kind: "issuing" }, validity, ...crlBaseOf(ca.record) },
      root,
    );
    if (policy.root !== "file") await renewRootCrlIn(draft, ca.record, ca.keys);
    return moveTo(ca, draft, der, key.signer, sealedKey(ca.keys.sealing, key, FILES.issuingKey));
  });
}

/** @throws HawserError `ROLLOVER_UNFINISHED`, `SIGNER_REQUIRED`, and those of the place where the key is made */
export async function nextIssuingKey(ca: CaContext, draft: Draft, signer: RolloverOptions["signer"]): Promise<CaKey> {
  if (ca.keys.previous !== undefined)
    throw new HawserError("ROLLOVER_UNFINISHED", "the issuing CA before this one is still trusted", "Run: hawser ca rollover --retire");
  if (signer === undefined && isKeptElsewhere(draft, FILES.issuingKey, ca.keys.sealing)) {
    const next = "Give --signer URI with another object=, or --signer file.";
    throw new HawserError(
      "SIGNER_REQUIRED",
      `${ca.keys.issuing.signer.describe()} is the issuing key, and nothing says where the next one is to be made`,
      next,
    );
  }
  return newCaKey(certificatePolicyOf(ca.record).issuingKey, signer === "file" ? undefined : signer);
}

/**
 * The change itself: the new issuing CA takes its place, and the one before stays trusted.
 *
 * @param above what changes above it
 */
export async function moveTo(
  ca: CaContext,
  draft: Draft,
  certificate: Uint8Array,
  signer: Signer,
  newSealedKey: Buffer,
  above: Partial<CaKeys> = {},
): Promise<Rollover> {
  const { issuing, sealing } = ca.keys;
  const oldKey = readSealedKey(draft, FILES.issuingKey, sealing);
  draft.write(FILES.previous, toPem("CERTIFICATE", issuing.certificate));
  draft.write(FILES.previousKey, seal(sealing, oldKey, SEAL_PURPOSE.key(FILES.previousKey)));
  oldKey.fill(0);
  draft.write(FILES.issuing, toPem("CERTIFICATE", certificate));
  draft.write(FILES.issuingKey, newSealedKey);
  const keys: CaKeys = { ...ca.keys, ...above, issuing: { certificate, signer }, previous: issuing };
  const broker = await renewIn(draft, keys, ca.record);
  draft.write(FILES.crl, await crlsFor(ca.record, keys, draft));
  const { subject, serialNumber, validTo } = new X509Certificate(certificate);
  const [name, serial] = [commonNameOf(subject), serialNumber.toLowerCase()];
  draft.record({ event: "issuing-ca-rolled-over", ca: name, serial, brokerCertificate: broker.serial });
  return { name, serial, notAfterMs: Date.parse(validTo), brokerSerial: broker.serial };
}

export function commonNameOf(subject: string): string {
  return /^CN=(.*)$/m.exec(subject)?.[1] ?? subject;
}

/** "Plant 7 Issuing CA", then "... 2", "... 3". */
export function nextName(subject: string): string {
  const [, base = "", number] = /^(.*?)(?: (\d+))?$/.exec(commonNameOf(subject)) ?? [];
  return `${base} ${Number(number ?? 1) + 1}`;
}

export interface Retirement {
  /** Names whose certificate ended with the issuing CA; devices among them may recover with their pre-shared key. */
  readonly leftBehind: readonly string[];
}

/** So many names are told. */
const NAMED = 20;

/**
 * Ends the issuing CA before, and with it the root before: its certificates are superseded, the root's revocation list names it, and
 * brokers believe it no more.
 *
 * @param force also when names still hang on it
 * @throws HawserError `NO_ROLLOVER`, `ISSUER_IN_USE` naming who hangs on it, and as every change
 */
export async function retirePrevious(ca: CaContext, force: boolean): Promise<Retirement> {
  return ca.store.change(async (draft) => {
    const previous = checkNobodyHangs(ca, draft, force);
    // Under a parent, brokers have no list of the old issuing CA any more and refuse what is of it; the parent may revoke it too.
    return retireIn(ca, draft, previous, certificatePolicyOf(ca.record).root !== "parent");
  });
}

/**
 * The issuing CA that may be retired.
 *
 * @throws HawserError `NO_ROLLOVER`, `ISSUER_IN_USE`
 */
export function checkNobodyHangs(ca: CaContext, draft: Draft, force: boolean): Issuer {
  const { previous } = ca.keys;
  if (previous === undefined) throw new HawserError("NO_ROLLOVER", "there is one issuing CA only", "Make another with: hawser ca rollover");
  const leftBehind = hangingOn(draft.entries.values(), previous.certificate, draft.nowMs);
  if (leftBehind.length === 0 || force) return previous;
  const more = leftBehind.length > NAMED ? ` and ${leftBehind.length - NAMED} more` : "";
  const next = "Wait until they have renewed, or say --force: devices among them then recover with their pre-shared key.";
  throw new HawserError(
    "ISSUER_IN_USE",
    `${leftBehind.length} names still have a certificate of the old issuing CA: ${leftBehind.slice(0, NAMED).join(", ")}${more}`,
    next,
  );
}

/** @param signs false when the root's list that names it is there already */
export async function retireIn(ca: CaContext, draft: Draft, { certificate }: Issuer, signs = false): Promise<Retirement> {
  const { previous: _retired, previousRoot, ...keys } = ca.keys;
  const leftBehind = hangingOn(draft.entries.values(), certificate, draft.nowMs);
  endCertificates(draft, certificate);
  const record = recordOf(certificate, draft.nowMs);
  draft.write(FILES.retired, brokerRecordsText([...readRetired(draft), record]));
  draft.removeFile(FILES.previous);
  draft.removeFile(FILES.previousKey);
  if (previousRoot !== undefined) {
    draft.removeFile(FILES.previousRoot);
    draft.removeFile(FILES.previousRootKey);
  }
  if (signs) await renewRootCrlIn(draft, ca.record, keys);
  draft.write(FILES.crl, await crlsFor(ca.record, keys, draft));
  draft.record({
    event: "issuing-ca-retired",
    serial: record.serial,
    ...(previousRoot === undefined ? {} : { root: recordOf(previousRoot.certificate, draft.nowMs).serial }),
    ...(leftBehind.length > 0 ? { leftBehind } : {}),
  });
  return { leftBehind };
}

/**
 * Names whose certificate in use is of this issuing CA and has not expired. Not the authority: it gets itself another when it is refused.
 */
export function hangingOn(entries: Iterable<RegistryEntry>, issuer: Uint8Array, nowMs: number): string[] {
  return [...entries]
    .filter((entry) => {
      const current = currentCertificate(entry);
      return current !== undefined && !isAuthorityName(entry.name) && current.notAfterMs > nowMs && isOf(issuer)(current);
    })
    .map(({ name }) => name)
    .sort();
}

function endCertificates(draft: Draft, issuer: Uint8Array): void {
  const isOfIssuer = isOf(issuer);
  for (const entry of [...draft.entries.values()]) {
    if (entry.certificates.some((record) => record.status === "active" && isOfIssuer(record)))
      draft.put(withIssuerRetired(entry, isOfIssuer, draft.nowMs));
  }
}

const isOf =
  (issuer: Uint8Array) =>
  ({ der }: CertificateRecord): boolean =>
    der !== undefined && isIssuedBy(Buffer.from(der, "base64"), issuer);

export function recordOf(certificate: Uint8Array, nowMs: number): CertificateRecord {
  const { serialNumber, validFrom, validTo, publicKey } = new X509Certificate(certificate);
  const publicKeyHash = hashOfPublicKey(publicKey.export({ format: "der", type: "spki" }));
  const times = { notBeforeMs: Date.parse(validFrom), notAfterMs: Date.parse(validTo), revokedAtMs: nowMs };
  return { serial: serialNumber.toLowerCase().replace(/^0+/, ""), ...times, status: "superseded", reason: "superseded", publicKeyHash };
}
