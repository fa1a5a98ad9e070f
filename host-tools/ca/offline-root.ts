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
import { makeCertificate, makeCrl, validityFrom } from "../pki/certificate-profiles.js";
import { toPem } from "../pki/pem.js";
import { CURVES, keyTypeOf } from "../pki/signer.js";
import type { Signer, SignerFor } from "../pki/signer.js";
import type { CaKey } from "./ca-keys.js";
import { signerOf } from "./context.js";
import { badRequest, fingerprint, readRequest } from "./root-request.js";
import type { RetiredIssuer, RootRequest } from "./root-request.js";

export const ROOT_FILES = { state: "root.json", certificate: "root.crt.pem", about: "README.txt" } as const;
const PURPOSE = "hawser offline root: key";
const MAC_PURPOSE = "offline root";

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
  writeFileAtomic(join(directory, ROOT_FILES.certificate), toPem("CERTIFICATE", certificate));
  writeFileAtomic(join(directory, ROOT_FILES.about), about(ca, certificate));
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
  { signerFor, confirm, nowMs = Date.now() }: SignOptions,
): Promise<RootAnswer> {
  const { state, sealing, key } = openRoot(directory, passphrase);
  try {
    const { request, body, signature } = readRequest(text);
    checkRequest(state, request, body, signature);
    if (!(await confirm(request)))
      throw new HawserError("INTERRUPTED", "the request was not confirmed; nothing was signed", "Start again if it should be.");
    const certificate = Buffer.from(state.certificate, "base64");
    const root = { certificate, signer: await signerOf(certificate, key, signerFor) };
    const issued = request.issuing === undefined ? undefined : await certify(root, request.issuing, nowMs);
    const retired = [...state.retired, ...request.retired.filter(({ serial }) => !state.retired.some((known) => known.serial === serial))];
    const number = state.crlNumber + 1;
    const { notBeforeMs: thisUpdateMs, notAfterMs: nextUpdateMs } = validityFrom(nowMs, ROOT_CRL_MS);
    const revoked = retired
      .filter(({ notAfterMs }) => notAfterMs > nowMs)
      .map(({ serial, revokedAtMs }) => ({ serial, revokedAtMs, reason: "superseded" as const }));
    const crl = await makeCrl(root, { number, thisUpdateMs, nextUpdateMs, revoked });
    writeState(directory, sealing, {
      ...state,
      crlNumber: number,
      retired,
      issued: issued === undefined ? state.issued : [...state.issued, base64(issued)],
    });
    return { request, text: answerText(state.ca, issued, crl, number, nextUpdateMs, revoked.length) };
  } finally {
    sealing.fill(0);
    key.fill(0);
  }
}

function answerText(ca: string, issued: Uint8Array | undefined, crl: string, number: number, nextUpdateMs: number, count: number): string {
  const certified =
    issued === undefined ? [] : [`Certificate: ${new X509Certificate(issued).subject}, until ${new X509Certificate(issued).validTo}`];
  const list = `Revocation list: number ${number}, valid until ${new Date(nextUpdateMs).toISOString()}, names ${count} retired issuing CAs`;
  const head = [
    `An answer of the offline root of the CA "${ca}". Import it with: hawser ca answer --dir CA --answer FILE`,
    ...certified,
    list,
    "",
  ].join("\n");
  return `${head}\n${issued === undefined ? "" : toPem("CERTIFICATE", issued)}${crl}`;
}

async function certify(
  root: { certificate: Uint8Array; signer: Signer },
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
  if (request.root !== fingerprint(Buffer.from(state.certificate, "base64"))) throw badRequest("it is for another root");
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

function openRoot(directory: string, passphrase: string): { state: RootState; sealing: Buffer; key: Buffer } {
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
  let key: Buffer;
  try {
    key = unseal(sealing, Buffer.from(state.key, "base64"), PURPOSE);
  } catch {
    throw new HawserError(
      "WRONG_PASSPHRASE",
      `the passphrase does not open the offline root in ${directory}`,
      "Give the root's passphrase: --root-passphrase-file FILE.",
    );
  }
  if (!macMatches(subkey(sealing, MAC_PURPOSE), MAC_PURPOSE, JSON.stringify(state), mac)) throw rootCorrupt(path);
  return { state, sealing, key };
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
