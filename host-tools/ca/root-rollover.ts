/**
 * Another root (RFC 4210 section 4.4): the one before signs a certificate of its key, and brokers show that link behind their chain. So who
 * trusts only the root before believes what is under the new one, until the root before ends; and a device that renews takes the new root
 * as a trust anchor, because its own anchor signed it.
 */
import { X509Certificate } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { seal } from "../../sim/node/vault/sealed.js";
import { certificatePolicyOf } from "../ca-directory/ca-record.js";
import type { RootPlace } from "../ca-directory/ca-record.js";
import type { Draft } from "../ca-directory/change-draft.js";
import { FILES, SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import { makeCertificate, makeRoot, validityFrom } from "../pki/certificate-profiles.js";
import type { Issuer } from "../pki/certificate-profiles.js";
import { toPem } from "../pki/pem.js";
import type { ExternalKey } from "../pki/signer.js";
import { newCaKey, sealedKey } from "./ca-keys.js";
import type { CaKey } from "./ca-keys.js";
import { crlBaseOf, pemChain, readSealedKey } from "./context.js";
import type { CaContext } from "./context.js";
import { renewRootCrlIn } from "./revocation.js";
import { commonNameOf, moveTo, nextIssuingKey, nextName } from "./rollover.js";
import type { Rollover, RolloverOptions } from "./rollover.js";

export interface RootRollover extends Rollover {
  readonly root: { readonly serial: string; readonly notAfterMs: number };
}

export interface RootRolloverOptions extends RolloverOptions {
  /** Makes the new root's key in a token; must be given exactly where the present root's key is in one. */
  readonly rootSigner?: () => Promise<ExternalKey>;
}

/**
 * Makes a new root of the same name, an issuing CA under it, and a broker certificate from that. Root and issuing CA before stay trusted
 * until both are retired.
 *
 * @throws HawserError `ROOT_ABSENT`, `ISSUER_EXPIRED`, `ROLLOVER_UNFINISHED`, `SIGNER_REQUIRED`, and as every change
 */
export async function rollOverRoot(ca: CaContext, { signer, rootSigner }: RootRolloverOptions = {}): Promise<RootRollover> {
  return ca.store.change(async (draft) => {
    const { issuing, root: old, rootLinks = [], sealing } = ca.keys;
    const policy = certificatePolicyOf(ca.record);
    checkPlace(policy.root, rootSigner !== undefined);
    checkNotExpired(old, draft.nowMs);
    const issuingKey = await nextIssuingKey(ca, draft, signer);
    const rootKey = await newCaKey(policy.rootKey, rootSigner);
    const { root, serial, notAfterMs, link } = await makeLinkedRoot(old, rootKey, draft.nowMs, policy.rootMs);
    const validity = validityFrom(draft.nowMs, policy.issuingMs, notAfterMs);
    const name = nextName(new X509Certificate(issuing.certificate).subject);
    const made = await makeCertificate(
      { commonName: name, publicKey: issuingKey.publicKey, profile: { kind: "issuing" }, validity, ...crlBaseOf(ca.record) },
      root,
    );
    keepOldRoot(draft, old, sealing);
    const links = [link, ...rootLinks];
    draft.write(FILES.root, toPem("CERTIFICATE", root.certificate));
    draft.write(FILES.rootKey, sealedKey(sealing, rootKey, FILES.rootKey));
    draft.write(FILES.rootLinks, pemChain(links));
    const above = { root, previousRoot: old, rootLinks: links };
    await renewRootCrlIn(draft, ca.record, { ...ca.keys, ...above });
    const rollover = await moveTo(ca, draft, made.der, issuingKey.signer, sealedKey(sealing, issuingKey, FILES.issuingKey), above);
    draft.record({ event: "root-rolled-over", root: serial, issuing: rollover.serial, brokerCertificate: rollover.brokerSerial });
    return { ...rollover, root: { serial, notAfterMs } };
  });
}

/** A root of the same name as the one before, and that one's signature of its key. */
export interface LinkedRoot {
  readonly root: Issuer;
  readonly serial: string;
  readonly notAfterMs: number;
  /** DER. */
  readonly link: Uint8Array;
}

export async function makeLinkedRoot(
  old: Issuer,
  { publicKey, signer }: Pick<CaKey, "publicKey" | "signer">,
  nowMs: number,
  lifetimeMs: number,
): Promise<LinkedRoot> {
  const oldInfo = new X509Certificate(old.certificate);
  const commonName = commonNameOf(oldInfo.subject);
  const { der, serial } = await makeRoot(commonName, publicKey, signer, validityFrom(nowMs, lifetimeMs));
  const link = await makeLink(old, publicKey, nowMs, lifetimeMs);
  return { root: { certificate: der, signer }, serial, notAfterMs: Date.parse(new X509Certificate(der).validTo), link };
}

/** Its own issuer by name: such a certificate counts for nothing in the path length that the old root allows (RFC 5280 section 4.2.1.9). */
export async function makeLink(old: Issuer, publicKey: Uint8Array, nowMs: number, lifetimeMs: number): Promise<Uint8Array> {
  const { subject, validTo } = new X509Certificate(old.certificate);
  const validity = validityFrom(nowMs, lifetimeMs, Date.parse(validTo));
  return (await makeCertificate({ commonName: commonNameOf(subject), publicKey, profile: { kind: "root" }, validity }, old)).der;
}

/**
 * An expired root vouches for nothing: nobody would ever be shown what it signs of the next one.
 *
 * @throws HawserError `ISSUER_EXPIRED`
 */
export function checkNotExpired({ certificate }: Issuer, nowMs: number): void {
  const { validTo } = new X509Certificate(certificate);
  if (Date.parse(validTo) > nowMs) return;
  throw new HawserError(
    "ISSUER_EXPIRED",
    `the root expired on ${new Date(validTo).toISOString().slice(0, 10)}: nobody believes what it signs of another one`,
    "Make a new CA, and provision the devices again.",
  );
}

function checkPlace(place: RootPlace, hasSigner: boolean): void {
  if (place === "offline")
    throw new HawserError(
      "ROOT_ABSENT",
      "the root of this CA is offline, and another root needs its signature",
      "Run: hawser ca request --for root, take the request to the root, and import the answer with: hawser ca answer",
    );
  if (place === "parent") throw parentsRoot();
  if (place === "token" && !hasSigner)
    throw new HawserError(
      "SIGNER_REQUIRED",
      "the root's key is in a token, and nothing says where the next one is to be made",
      "Give --root-signer URI with another object=.",
    );
  if (place === "file" && hasSigner)
    throw new HawserError(
      "SIGNER_REQUIRED",
      "the root's key is in a sealed file, and the next one's is to be in a token",
      "Leave --root-signer out: the place of a root's key stays what it is.",
    );
}

export function parentsRoot(): HawserError {
  return new HawserError(
    "ROOT_ABSENT",
    "the root of this CA is that of another PKI",
    "Ask that PKI for another root; devices are then provisioned again.",
  );
}

export function keepOldRoot(draft: Draft, { certificate }: Issuer, sealing: Buffer): void {
  const key = readSealedKey(draft, FILES.rootKey, sealing);
  draft.write(FILES.previousRoot, toPem("CERTIFICATE", certificate));
  draft.write(FILES.previousRootKey, seal(sealing, key, SEAL_PURPOSE.key(FILES.previousRootKey)));
  key.fill(0);
}
