/**
 * The folder of an offline root: its key, sealed by a passphrase, what it certified, and the number of its last revocation list. Everything
 * it needs is in it.
 */
import { createPublicKey, verify, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { storageError, writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { deriveKey, newKeyDerivation, readKeyDerivation, seal, unseal } from "../../sim/node/vault/sealed.js";
import type { KeyDerivation, ScryptCost } from "../../sim/node/vault/sealed.js";
import { ROOT_CRL_MS } from "../ca-directory/ca-record.js";
import { parseObject } from "../ca-directory/registry-entry.js";
import { macMatches, macOf, subkey } from "../ca-directory/sealed-state.js";
import { makeCertificate, validityFrom } from "../pki/certificate-profiles.js";
import { makeCrl } from "../pki/signed-crl.js";
import type { Issuer } from "../pki/certificate-profiles.js";
import { toPem } from "../pki/pem.js";
import { CURVES, FileSigner, keyTypeOf } from "../pki/signer.js";
import type { ExternalKey, SignerFor } from "../pki/signer.js";
import { newCaKey } from "./ca-keys.js";
import type { CaKey } from "./ca-keys.js";
import { signerOf } from "./context.js";
import { badRequest, fingerprint, readRequest } from "./root-request.js";
import type { RetiredIssuer, RootRequest } from "./root-request.js";
import { checkNotExpired, makeLink, makeLinkedRoot } from "./root-rollover.js";

export const ROOT_FILES = { state: "root.json", certificate: "root.crt.pem", about: "README.txt" } as const;
const PURPOSE = "hawser offline root: key";
const MAC_PURPOSE = "offline root";

/** A root and its key: PKCS#8 or a reference, sealed. Both base64. */
interface KeptRoot {
  readonly certificate: string;
  readonly key: string;
}

interface RootState {
  readonly v: 1;
  readonly ca: string;
  readonly derivation: KeyDerivation;
  /** DER, base64: the root's own, and those of the issuing CAs it certified. */
  readonly certificate: string;
  readonly issued: readonly string[];
  /** PKCS#8 or a reference, sealed; base64. */
  readonly key: string;
  readonly crlNumber: number;
  readonly retired: readonly RetiredIssuer[];
  /** The root before, until the CA has retired it. */
  readonly previous?: KeptRoot;
}

export interface NewOfflineRoot {
  readonly ca: string;
  readonly key: CaKey;
  /** DER. */
  readonly certificate: Uint8Array;
  readonly issuing: Uint8Array;
  readonly passphrase: string;
  readonly scryptCost?: Readonly<ScryptCost>;
}

/** Writes the folder of a new root. The key is not wiped. */
export function writeOfflineRoot(directory: string, { ca, key, certificate, issuing, passphrase, scryptCost }: NewOfflineRoot): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    throw storageError(error, "make", directory);
  }
  const derivation = newKeyDerivation(scryptCost);
  const sealing = deriveKey(passphrase, derivation);
  const sealed = seal(sealing, key.secret, PURPOSE).toString("base64");
  writeForPeople(directory, ca, certificate);
  writeState(directory, sealing, {
    v: 1,
    ca,
    derivation,
    certificate: base64(certificate),
    issued: [base64(issuing)],
    key: sealed,
    crlNumber: 1,
    retired: [],
  });
  sealing.fill(0);
}

function writeForPeople(directory: string, ca: string, certificate: Uint8Array): void {
  writeFileAtomic(join(directory, ROOT_FILES.certificate), toPem("CERTIFICATE", certificate));
  writeFileAtomic(join(directory, ROOT_FILES.about), about(ca, certificate));
}

function about(ca: string, certificate: Uint8Array): string {
  return [
    `The offline root of the CA "${ca}".`,
    `SHA-256 of its certificate: ${fingerprint(certificate)}`,
    "",
    "Move this folder to a medium that is kept in a safe, and make a copy. Its passphrase opens it.",
    "To answer a request of the CA, on a machine without a network:",
    "",
    "  hawser ca root-sign --root FOLDER --request REQUEST --out ANSWER",
    "",
  ].join("\n");
}

export interface RootAnswer {
  /** For `hawser ca answer`. */
  readonly text: string;
  readonly request: RootRequest;
}

export interface SignOptions {
  readonly signerFor: SignerFor;
  /** Asked when all is checked, before anything is signed: whether a person wants this signed. */
  readonly confirm: (request: RootRequest) => Promise<boolean>;
  readonly nowMs?: number;
  /** Makes the key of another root in a token; must be given exactly where the present root's key is in one. */
  readonly newKey?: () => Promise<ExternalKey>;
}

/**
 * Answers a request. The folder notes what it certifies before the answer leaves, so that the number of a revocation list is never used
 * twice.
 *
 * @throws HawserError `NOT_A_ROOT`, `WRONG_PASSPHRASE`, `ROOT_CORRUPT`, `ROOT_REQUEST_INVALID`, `INTERRUPTED` (not confirmed), and those of
 *   the disk and the key
 */
export async function answerRequest(
  directory: string,
  passphrase: string,
  text: string,
  { signerFor, confirm, nowMs = Date.now(), newKey }: SignOptions,
): Promise<RootAnswer> {
  const { state: before, sealing } = openRoot(directory, passphrase);
  try {
    const { request, body, signature } = readRequest(text);
    checkRequest(before, request, body, signature);
    if (!(await confirm(request)))
      throw new HawserError("INTERRUPTED", "the request was not confirmed; nothing was signed", "Start again if it should be.");
    const isAnother = request.newRoot !== undefined && isRoot(request.root, before);
    const state = isAnother ? await withAnotherRoot(before, request.newRoot, sealing, { signerFor, nowMs, newKey }) : before;
    const open = (kept: KeptRoot): Promise<Issuer> => openKept(kept, sealing, signerFor);
    // A CA that has not taken the other root in yet knows the one before alone.
    const asked = isRoot(request.root, state) || request.newRoot !== undefined ? state : (state.previous ?? state);
    const root = await open(asked);
    const isRetired = request.retiredRoot !== undefined && state.previous !== undefined && isRoot(request.retiredRoot, state.previous);
    const older = asked === state && state.previous !== undefined && !isRetired ? await open(state.previous) : undefined;
    const issued = request.issuing === undefined ? undefined : await certify(root, request.issuing, nowMs);
    const link =
      request.newRoot === undefined || older === undefined
        ? undefined
        : await makeLink(older, await root.signer.publicKey(), nowMs, request.newRoot.lifetimeMs);
    const retired = [...state.retired, ...request.retired.filter(({ serial }) => !state.retired.some((known) => known.serial === serial))];
    const number = state.crlNumber + 1;
    const { notBeforeMs: thisUpdateMs, notAfterMs: nextUpdateMs } = validityFrom(nowMs, ROOT_CRL_MS);
    const revoked = retired
      .filter(({ notAfterMs }) => notAfterMs > nowMs)
      .map(({ serial, revokedAtMs }) => ({ serial, revokedAtMs, reason: "superseded" as const }));
    const crls: string[] = [];
    for (const issuer of older === undefined ? [root] : [root, older])
      crls.push(await makeCrl(issuer, { number, thisUpdateMs, nextUpdateMs, revoked }));
    const { previous, ...rest } = state;
    writeState(directory, sealing, {
      ...rest,
      ...(previous === undefined || isRetired ? {} : { previous }),
      crlNumber: number,
      retired,
      issued: issued === undefined ? state.issued : [...state.issued, base64(issued)],
    });
    writeForPeople(directory, state.ca, Buffer.from(state.certificate, "base64"));
    const certificates = [...(issued === undefined ? [] : [issued]), ...(link === undefined ? [] : [root.certificate, link])];
    return { request, text: answerText(state.ca, certificates, crls, number, nextUpdateMs, revoked.length) };
  } finally {
    sealing.fill(0);
  }
}

/** Another root takes the place of the present one, which is kept until the CA retires it. */
async function withAnotherRoot(
  state: RootState,
  wanted: RootRequest["newRoot"],
  sealing: Uint8Array,
  { signerFor, nowMs, newKey }: Required<Pick<SignOptions, "signerFor" | "nowMs">> & { newKey: SignOptions["newKey"] },
): Promise<RootState> {
  if (wanted === undefined) return state;
  if (state.previous !== undefined) throw badRequest("the root before the present one is not retired yet");
  const old = await openKept(state, sealing, signerFor);
  const isInToken = !(old.signer instanceof FileSigner);
  if (isInToken !== (newKey !== undefined))
    throw new HawserError(
      "SIGNER_REQUIRED",
      isInToken
        ? "the root's key is in a token, and nothing says where the next one is to be made"
        : "the root's key is in its folder, and the next one's is to be in a token",
      isInToken ? "Give --root-signer URI with another object=." : "Leave --root-signer out: the place of a root's key stays what it is.",
    );
  checkNotExpired(old, nowMs);
  const key = await newCaKey(wanted.keyType, newKey);
  const { root } = await makeLinkedRoot(old, key, nowMs, wanted.lifetimeMs);
  const sealed = seal(sealing, key.secret, PURPOSE).toString("base64");
  key.secret.fill(0);
  return {
    ...state,
    certificate: base64(root.certificate),
    key: sealed,
    previous: { certificate: state.certificate, key: state.key },
  };
}

async function openKept({ certificate, key: sealed }: KeptRoot, sealing: Uint8Array, signerFor: SignerFor): Promise<Issuer> {
  const der = Buffer.from(certificate, "base64");
  const key = unseal(sealing, Buffer.from(sealed, "base64"), PURPOSE);
  try {
    return { certificate: der, signer: await signerOf(der, key, signerFor) };
  } finally {
    key.fill(0);
  }
}

function isRoot(print: string, { certificate }: KeptRoot): boolean {
  return fingerprint(Buffer.from(certificate, "base64")) === print;
}

function answerText(
  ca: string,
  certificates: readonly Uint8Array[],
  crls: readonly string[],
  number: number,
  nextUpdateMs: number,
  count: number,
): string {
  const certified = certificates
    .map((der) => new X509Certificate(der))
    .map(({ subject, validTo }) => `Certificate: ${subject}, until ${validTo}`);
  const list = `Revocation list${crls.length > 1 ? "s" : ""}: number ${number}, valid until ${new Date(nextUpdateMs).toISOString()}, names ${count} retired issuing CAs`;
  const head = [
    `An answer of the offline root of the CA "${ca}". Import it with: hawser ca answer --dir CA --answer FILE`,
    ...certified,
    list,
    "",
  ].join("\n");
  return `${head}\n${certificates.map((der) => toPem("CERTIFICATE", der)).join("")}${crls.join("")}`;
}

async function certify(
  root: Issuer,
  { commonName, publicKey, lifetimeMs, crlBase }: NonNullable<RootRequest["issuing"]>,
  nowMs: number,
): Promise<Uint8Array> {
  const validity = validityFrom(nowMs, lifetimeMs, Date.parse(new X509Certificate(root.certificate).validTo));
  const request = { commonName, publicKey, profile: { kind: "issuing" } as const, validity, ...(crlBase === undefined ? {} : { crlBase }) };
  return (await makeCertificate(request, root)).der;
}

function checkRequest(state: RootState, request: RootRequest, body: string, signature: Uint8Array): void {
  const issuers = state.issued.map((der) => new X509Certificate(Buffer.from(der, "base64")));
  const serials = issuers.map(({ serialNumber }) => serialNumber.toLowerCase());
  if (!isRoot(request.root, state) && !(state.previous !== undefined && isRoot(request.root, state.previous)))
    throw badRequest("it is for another root");
  if (request.newRoot !== undefined && request.issuing === undefined) throw badRequest("another root needs an issuing CA under it");
  if (state.retired.some(({ serial }) => serial === request.signedBy)) throw badRequest("it is signed by an issuing CA that is retired");
  const signer = issuers[serials.indexOf(request.signedBy)];
  if (signer === undefined) throw badRequest("it is signed by an issuing CA that this root did not certify");
  const spki = signer.publicKey.export({ format: "der", type: "spki" });
  const key = createPublicKey({ key: spki, format: "der", type: "spki" });
  if (!verify(CURVES[keyTypeOf(spki)].node, Buffer.from(body, "utf8"), { key, dsaEncoding: "ieee-p1363" }, signature))
    throw badRequest("its signature does not fit: it was changed on the way");
  const unknown = request.retired.find(({ serial }) => !serials.includes(serial) || serial === request.signedBy);
  if (unknown !== undefined) throw badRequest(`it would retire ${unknown.serial}, which this root did not certify or which asks`);
}

function openRoot(directory: string, passphrase: string): { state: RootState; sealing: Buffer } {
  const path = join(directory, ROOT_FILES.state);
  if (!existsSync(path))
    throw new HawserError(
      "NOT_A_ROOT",
      `${directory} is not the folder of an offline root: it has no ${ROOT_FILES.state}`,
      "Check --root; `hawser ca init --root offline` makes one.",
    );
  const value = parseObject(readFileSync(path, "utf8")) ?? {};
  const derivation = readKeyDerivation(value["derivation"]);
  const { mac, ...state } = value as unknown as RootState & { mac: unknown };
  if (derivation === undefined || typeof state.key !== "string") throw rootCorrupt(path);
  const sealing = deriveKey(passphrase, derivation);
  try {
    unseal(sealing, Buffer.from(state.key, "base64"), PURPOSE).fill(0);
  } catch {
    throw new HawserError(
      "WRONG_PASSPHRASE",
      `the passphrase does not open the offline root in ${directory}`,
      "Give the root's passphrase: --root-passphrase-file FILE.",
    );
  }
  if (!macMatches(subkey(sealing, MAC_PURPOSE), MAC_PURPOSE, JSON.stringify(state), mac)) throw rootCorrupt(path);
  return { state, sealing };
}

function writeState(directory: string, sealing: Uint8Array, state: RootState): void {
  const mac = macOf(subkey(sealing, MAC_PURPOSE), MAC_PURPOSE, JSON.stringify(state));
  writeFileAtomic(join(directory, ROOT_FILES.state), `${JSON.stringify({ ...state, mac }, null, 2)}\n`);
}

function rootCorrupt(path: string): HawserError {
  return new HawserError("ROOT_CORRUPT", `${path} is not what the root wrote last`, "Use the copy of the root's folder.");
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
