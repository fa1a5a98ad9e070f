/** The CA's half of an errand to an offline root: what it asks for, and what it does with the answer. */
import { X509Certificate } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { seal } from "../../sim/node/vault/sealed.js";
import { readCaJson } from "../ca-directory/ca-files.js";
import { certificatePolicyOf } from "../ca-directory/ca-record.js";
import type { Draft } from "../ca-directory/change-draft.js";
import { FILES, SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import { fromPem, toPem } from "../pki/pem.js";
import { sealedKey } from "./ca-keys.js";
import { AbsentRoot, OFFLINE } from "./absent-root.js";
import { crlBaseOf, pemChain, readSealedKey, signerOf, signerOfKey } from "./context.js";
import type { CaContext, CaKeys } from "./context.js";
import type { Errand } from "./root-errand-names.js";
import { checkParentChain, invalid as invalidChain, issuingRequest, newestList, readPemAnswer } from "./parent-chain.js";
import type { ParentAnswer } from "./parent-chain.js";
import { crlsFor, readRetired, readRootCrlTimes } from "./revocation.js";
import { checkNobodyHangs, moveTo, nextIssuingKey, nextName, recordOf, retireIn } from "./rollover.js";
import type { Rollover, RolloverOptions } from "./rollover.js";
import { fingerprint, signedRequest } from "./root-request.js";
import type { RetiredIssuer, WantedIssuer } from "./root-request.js";
import { checkNotExpired, keepOldRoot, parentsRoot } from "./root-rollover.js";

export interface ErrandOptions extends RolloverOptions {
  /** With `retire`: also when names still hang on the issuing CA before. */
  readonly force?: boolean;
}

/**
 * The request for an errand. The key of an issuing CA to come is made once and kept: asked again, the request is for the same key.
 *
 * @throws HawserError `ROOT_AT_HAND`, `ROLLOVER_UNFINISHED`, `NO_ROLLOVER`, `ISSUER_IN_USE`, `SIGNER_REQUIRED`, and as every change
 */
export async function makeRootRequest(ca: CaContext, errand: Errand, options: ErrandOptions = {}): Promise<string> {
  const { root: place } = certificatePolicyOf(ca.record);
  if (place === "parent") return requestToParent(ca, errand, options);
  if (place !== "offline")
    throw new HawserError("ROOT_AT_HAND", "this CA has its root's key at hand", "Run: hawser ca rollover, or hawser ca crl");
  return ca.store.change(async (draft) => {
    const retired: RetiredIssuer[] = readRetired(draft).map(asRetired);
    if (errand === "retire")
      retired.push(asRetired(recordOf(checkNobodyHangs(ca, draft, options.force === true).certificate, draft.nowMs)));
    const { issuing: current, root, previousRoot } = ca.keys;
    if (errand === "root") checkNotExpired(root, draft.nowMs);
    const issuing = errand === "rollover" || errand === "root" ? await wantedIssuer(ca, draft, options) : undefined;
    const { rootKey, rootMs } = certificatePolicyOf(ca.record);
    const signedBy = new X509Certificate(current.certificate).serialNumber.toLowerCase();
    const request = {
      ca: ca.record.name,
      root: fingerprint(root.certificate),
      madeAtMs: draft.nowMs,
      ...(errand === "root" ? { newRoot: { keyType: rootKey, lifetimeMs: rootMs } } : {}),
      ...(errand === "retire" && previousRoot !== undefined ? { retiredRoot: fingerprint(previousRoot.certificate) } : {}),
      ...(issuing === undefined ? {} : { issuing }),
      retired,
      signedBy,
    };
    return signedRequest(request, current.signer);
  });
}

/** A PKCS#10 request; all else is the parent's own business. */
async function requestToParent(ca: CaContext, errand: Errand, options: ErrandOptions): Promise<string> {
  if (errand === "root") throw parentsRoot();
  if (errand !== "rollover")
    throw new HawserError(
      "ROOT_AT_HAND",
      "the parent PKI signs its revocation lists by itself",
      "Import them with: hawser ca answer; retire an issuing CA with: hawser ca rollover --retire",
    );
  return ca.store.change(async (draft) => {
    const { commonName, publicKey } = await wantedIssuer(ca, draft, options);
    const key = readSealedKey(draft, FILES.nextKey, ca.keys.sealing);
    return issuingRequest(commonName, await signerOfKey(publicKey, key, ca.signerFor));
  });
}

function asRetired({ serial, notAfterMs, revokedAtMs }: { serial: string; notAfterMs: number; revokedAtMs?: number }): RetiredIssuer {
  return { serial, notAfterMs, revokedAtMs: revokedAtMs ?? 0 };
}

async function wantedIssuer(ca: CaContext, draft: Draft, options: RolloverOptions): Promise<WantedIssuer> {
  const wanted = { lifetimeMs: certificatePolicyOf(ca.record).issuingMs, ...crlBaseOf(ca.record) };
  if (draft.has(FILES.next)) return { ...readNext(draft), ...wanted };
  const key = await nextIssuingKey(ca, draft, options.signer);
  const commonName = nextName(new X509Certificate(ca.keys.issuing.certificate).subject);
  draft.write(FILES.nextKey, sealedKey(ca.keys.sealing, key, FILES.nextKey));
  draft.write(FILES.next, `${JSON.stringify({ v: 1, commonName, publicKey: Buffer.from(key.publicKey).toString("base64") }, null, 2)}\n`);
  draft.record({ event: "issuing-ca-requested", ca: commonName });
  return { commonName, publicKey: key.publicKey, ...wanted };
}

function readNext(draft: Draft): Pick<WantedIssuer, "commonName" | "publicKey"> {
  const { commonName, publicKey } = readCaJson(draft, FILES.next);
  return { commonName: String(commonName), publicKey: new Uint8Array(Buffer.from(String(publicKey), "base64")) };
}

export interface ImportedAnswer {
  readonly rollover?: Rollover;
  /** With `rollover`: another root, which the one before vouches for. */
  readonly root?: { readonly serial: string; readonly notAfterMs: number };
  /** Set when the answer's list named the issuing CA before: it is retired; names left behind. */
  readonly leftBehind?: readonly string[];
  readonly crlNextUpdateMs: number;
}

/**
 * Takes an answer of the offline root in: a certificate for the issuing CA that was asked for, and a revocation list, all checked against
 * the root's certificate.
 *
 * @throws HawserError `ROOT_ANSWER_INVALID`, and as every change
 */
export async function importAnswer(ca: CaContext, text: string): Promise<ImportedAnswer> {
  const { certificates, lists } = read(text);
  if (certificatePolicyOf(ca.record).root === "parent") return importFromParent(ca, { certificates, lists });
  return ca.store.change(async (draft) => {
    const isAnotherRoot = certificates.length === NEW_ROOT_CERTIFICATES;
    if ((!isAnotherRoot && certificates.length > 1) || lists.length < 1 || lists.length > 2)
      throw invalid("it must hold one revocation list, or one of each root, and at most one certificate, or those of another root");
    if (isAnotherRoot) return takeAnotherRoot(ca, draft, certificates, lists);
    const { root, previous, previousRoot } = ca.keys;
    const [list = new Uint8Array(), older] = lists;
    const { revoked, nextUpdateMs } = checkList(draft, list, root.certificate);
    if (older !== undefined && previousRoot === undefined) throw invalid("it must hold one revocation list: there is one root");
    if (older !== undefined && previousRoot !== undefined) checkList(draft, older, previousRoot.certificate);
    const isRetiring = previous !== undefined && revoked.has(recordOf(previous.certificate, draft.nowMs).serial);
    if (previousRoot !== undefined && older === undefined && !isRetiring)
      throw invalid("the list of the root before is not in it, and that root is not retired");
    draft.write(FILES.rootCrl, lists.map((der) => toPem("X509 CRL", der)).join(""));
    const [certificate] = certificates;
    if (certificate !== undefined) {
      const rollover = await takeOver(ca, draft, certificate);
      return { rollover, crlNextUpdateMs: nextUpdateMs };
    }
    if (isRetiring) {
      const { leftBehind } = await retireIn(ca, draft, previous);
      return { leftBehind, crlNextUpdateMs: nextUpdateMs };
    }
    draft.write(FILES.crl, await crlsFor(ca.record, ca.keys, draft));
    draft.record({ event: "root-crl-imported", nextUpdate: new Date(nextUpdateMs).toISOString() });
    return { crlNextUpdateMs: nextUpdateMs };
  });
}

/**
 * Takes in what the parent PKI sent: a chain for the issuing CA that was asked for, or newer revocation lists, or both.
 *
 * @throws HawserError `PARENT_CHAIN_INVALID`, and as every change
 */
export async function importFromParent(ca: CaContext, { certificates, lists }: ParentAnswer): Promise<ImportedAnswer> {
  return ca.store.change(async (draft) => {
    const { root, uppers = [] } = ca.keys;
    const known = {
      certificates: [...certificates, root.certificate, ...uppers],
      lists: [...lists, ...fromPem("X509 CRL", draft.read(FILES.rootCrl).toString("utf8"))],
    };
    if (draft.has(FILES.next) && certificates.length > 0) {
      const { publicKey } = readNext(draft);
      const chain = await checkParentChain(known, publicKey, draft.nowMs);
      if (!Buffer.from(chain.root).equals(root.certificate))
        throw invalidChain(
          "the new certificate is under another root than this CA's",
          "Devices trust the root of this CA alone: have it signed under that.",
        );
      if (isSameName(chain.issuing, ca.keys.issuing.certificate))
        throw invalidChain(
          "the new issuing CA has the same name as the present one: their revocation lists could not be told apart",
          "Have it issued with the name that the request asks for.",
        );
      const above = [...uppers, ...chain.uppers.filter((der) => !uppers.some((one) => Buffer.from(one).equals(der)))];
      draft.write(FILES.rootCrl, await listsOf([...above, root.certificate], known.lists, draft.nowMs));
      if (above.length > 0) draft.write(FILES.upper, above.map((der) => toPem("CERTIFICATE", der)).join(""));
      const rollover = await adopt(ca, draft, chain.issuing, above.length > 0 ? { uppers: above } : {});
      return { rollover, crlNextUpdateMs: readRootCrlTimes(draft)?.nextUpdateMs ?? 0 };
    }
    if (certificates.length > 0) throw invalidChain("it has a certificate, and none was asked for", "Ask for one with: hawser ca request");
    const newest = await listsOf([...uppers, root.certificate], known.lists, draft.nowMs);
    if (newest === draft.read(FILES.rootCrl).toString("utf8"))
      throw invalidChain("it has no revocation list that is newer than those that are here");
    draft.write(FILES.rootCrl, newest);
    draft.write(FILES.crl, await crlsFor(ca.record, ca.keys, draft));
    const crlNextUpdateMs = readRootCrlTimes(draft)?.nextUpdateMs ?? 0;
    draft.record({ event: "root-crl-imported", nextUpdate: new Date(crlNextUpdateMs).toISOString() });
    return { crlNextUpdateMs };
  });
}

async function listsOf(issuers: readonly Uint8Array[], lists: readonly Uint8Array[], nowMs: number): Promise<string> {
  return issuers.map((der) => newestList(new X509Certificate(der), lists, nowMs)).join("");
}

function isSameName(a: Uint8Array, b: Uint8Array): boolean {
  return new X509Certificate(a).subject === new X509Certificate(b).subject;
}

async function takeOver(ca: CaContext, draft: Draft, der: Uint8Array): Promise<Rollover> {
  checkIssuing(draft, der, ca.keys.root.certificate);
  return adopt(ca, draft, der);
}

/** Throws `ROOT_ANSWER_INVALID`. */
function checkIssuing(draft: Draft, der: Uint8Array, rootDer: Uint8Array): void {
  if (!draft.has(FILES.next)) throw invalid("it has a certificate, and none was asked for");
  const { commonName, publicKey } = readNext(draft);
  const [certificate, root] = [new X509Certificate(der), new X509Certificate(rootDer)];
  const isAsked =
    Buffer.from(publicKey).equals(certificate.publicKey.export({ format: "der", type: "spki" })) &&
    certificate.subject === `CN=${commonName}`;
  if (!isAsked) throw invalid(`its certificate is not for the issuing CA that was asked for (${commonName})`);
  if (!certificate.ca || !certificate.checkIssued(root) || !certificate.verify(root.publicKey))
    throw invalid("its certificate is not that of a CA, or not signed by the root");
  checkValidNow(certificate, draft.nowMs);
}

function checkValidNow({ validFrom, validTo }: X509Certificate, nowMs: number): void {
  if (Date.parse(validTo) <= nowMs || Date.parse(validFrom) > nowMs)
    throw invalid("its certificate is not valid now; check the clock of the root's machine");
}

/** Issuing CA, root, and the present root's signature of that root's key. */
const NEW_ROOT_CERTIFICATES = 3;

/** Another root comes in only by the signature of the present one. */
async function takeAnotherRoot(
  ca: CaContext,
  draft: Draft,
  [issuing = new Uint8Array(), rootDer = new Uint8Array(), linkDer = new Uint8Array()]: readonly Uint8Array[],
  [list, older]: readonly Uint8Array[],
): Promise<ImportedAnswer> {
  const { root: present, rootLinks = [], sealing } = ca.keys;
  const [old, root, link] = [present.certificate, rootDer, linkDer].map((der) => new X509Certificate(der)) as [
    X509Certificate,
    X509Certificate,
    X509Certificate,
  ];
  const haveOneName = [root, link].every(({ subject, issuer }) => subject === old.subject && issuer === old.subject);
  if (!haveOneName || !root.ca || !root.verify(root.publicKey) || root.publicKey.equals(old.publicKey))
    throw invalid("its root is not another one of the same name");
  if (!link.ca || !link.publicKey.equals(root.publicKey) || !link.verify(old.publicKey))
    throw invalid("the present root has not signed the key of the other one");
  for (const certificate of [root, link]) checkValidNow(certificate, draft.nowMs);
  checkIssuing(draft, issuing, rootDer);
  if (list === undefined || older === undefined) throw invalid("it must hold a revocation list of each root");
  const { nextUpdateMs } = checkList(draft, list, rootDer);
  checkList(draft, older, present.certificate);
  keepOldRoot(draft, present, sealing);
  const links = [linkDer, ...rootLinks];
  draft.write(FILES.root, toPem("CERTIFICATE", rootDer));
  draft.write(FILES.rootLinks, pemChain(links));
  draft.write(FILES.rootCrl, toPem("X509 CRL", list) + toPem("X509 CRL", older));
  const spki = new Uint8Array(root.publicKey.export({ format: "der", type: "spki" }));
  const above = { root: { certificate: rootDer, signer: new AbsentRoot(spki, OFFLINE) }, previousRoot: present, rootLinks: links };
  const rollover = await adopt(ca, draft, issuing, above);
  const serial = root.serialNumber.toLowerCase();
  draft.record({ event: "root-rolled-over", root: serial, issuing: rollover.serial, brokerCertificate: rollover.brokerSerial });
  return { rollover, root: { serial, notAfterMs: Date.parse(root.validTo) }, crlNextUpdateMs: nextUpdateMs };
}

/** The certificate, checked, and the key that was kept for it become the issuing CA. */
async function adopt(ca: CaContext, draft: Draft, der: Uint8Array, above: Partial<CaKeys> = {}): Promise<Rollover> {
  const { sealing } = ca.keys;
  const key = readSealedKey(draft, FILES.nextKey, sealing);
  const signer = await signerOf(der, key, ca.signerFor);
  const sealed = seal(sealing, key, SEAL_PURPOSE.key(FILES.issuingKey));
  key.fill(0);
  draft.removeFile(FILES.next);
  draft.removeFile(FILES.nextKey);
  return moveTo(ca, draft, der, signer, sealed, above);
}

/** A list must follow the one that is there: a root's copy that is older would let retired issuing CAs in again. */
function checkList(draft: Draft, der: Uint8Array, root: Uint8Array): { revoked: ReadonlySet<string>; nextUpdateMs: number } {
  const list = new RevocationList(der);
  const { publicKey } = new X509Certificate(root);
  if (!list.isSignedBy(publicKey)) throw invalid("its revocation list is not signed by the root of this CA");
  const { nextUpdateMs } = list;
  if (nextUpdateMs === Infinity || nextUpdateMs <= draft.nowMs || list.thisUpdateMs > draft.nowMs)
    throw invalid("its revocation list is not valid now; check the clock of the root's machine");
  for (const der of fromPem("X509 CRL", draft.read(FILES.rootCrl).toString("utf8"))) {
    const present = new RevocationList(der);
    if (present.isSignedBy(publicKey) && list.number <= present.number)
      throw invalid(
        `its revocation list is number ${list.number}, and number ${present.number} is here: the answer is old, or the root's folder is an old copy`,
      );
  }
  const revoked = list.serials();
  const missing = readRetired(draft).find(({ serial, notAfterMs }) => notAfterMs > draft.nowMs && !revoked.has(serial));
  if (missing !== undefined) throw invalid(`its revocation list does not name ${missing.serial}, which is retired`);
  return { revoked, nextUpdateMs };
}

function read(text: string): ParentAnswer {
  try {
    return readPemAnswer(text);
  } catch {
    throw invalid("it is damaged");
  }
}

function invalid(why: string): HawserError {
  return new HawserError(
    "ROOT_ANSWER_INVALID",
    `the answer is not taken: ${why}`,
    "Have the root answer the newest request, and import that answer.",
  );
}
