/**
 * A CA under another PKI, before its certificate has come: one file beside the place of the CA directory, with the key, sealed, and what
 * `ca init` was told. The directory itself is made as a whole when the chain is there.
 */
import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { unlinkIfThere, writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { deriveKey, newKeyDerivation, readKeyDerivation, seal, unseal } from "../../sim/node/vault/sealed.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { checkCaName, checkCommonName } from "../ca-directory/ca-record.js";
import { parseObject } from "../ca-directory/registry-entry.js";
import { checkCrlBase } from "../pki/crl-base-url.js";
import type { SignerFor } from "../pki/signer.js";
import { newCaKey } from "./ca-keys.js";
import { signerOfKey } from "./context.js";
import { initCa } from "./ca-creation.js";
import { placeFor } from "./new-directory.js";
import type { InitOptions } from "./ca-creation.js";
import { checkParentChain, issuingRequest } from "./parent-chain.js";
import type { ParentAnswer } from "./parent-chain.js";

/** Bound to the sealed text. */
const PURPOSE = "hawser CA: waiting for its parent";

type Told = Pick<InitOptions, "name" | "issuingName" | "brokerHosts" | "keyTypes" | "lifetimesMs" | "crlBase" | "registry">;

interface Pending {
  readonly told: Told;
  /** DER SubjectPublicKeyInfo, and PKCS#8 or a reference; base64. */
  readonly publicKey: string;
  readonly key: string;
}

/**
 * Makes the key of an issuing CA and the request for its certificate, PEM. Called again, the request is for the same key and name.
 *
 * @throws HawserError `CA_EXISTS`, `OUT_EXISTS`, `INVALID_NAME`, `WRONG_PASSPHRASE` (another is waiting here), and those of the disk and of
 *   the key's place
 */
export async function beginUnderParent(directory: string, options: InitOptions, signerFor: SignerFor): Promise<string> {
  const path = pendingPath(directory);
  if (!existsSync(path)) {
    const { name, issuingName, brokerHosts, keyTypes, lifetimesMs, crlBase, registry } = options;
    checkCaName(name);
    if (crlBase !== undefined) checkCrlBase(crlBase);
    if (issuingName !== undefined) checkCommonName(issuingName);
    const key = await newCaKey(keyTypes?.issuing ?? "P-256", options.signers?.issuing);
    const told: Told = {
      name,
      ...(issuingName === undefined ? {} : { issuingName }),
      ...(brokerHosts === undefined ? {} : { brokerHosts }),
      ...(keyTypes === undefined ? {} : { keyTypes }),
      ...(lifetimesMs === undefined ? {} : { lifetimesMs }),
      ...(crlBase === undefined ? {} : { crlBase }),
      ...(registry === undefined ? {} : { registry }),
    };
    const pending: Pending = { told, publicKey: base64(key.publicKey), key: base64(key.secret) };
    const derivation = newKeyDerivation(options.scryptCost);
    const sealed = seal(deriveKey(options.passphrase, derivation), Buffer.from(JSON.stringify(pending)), PURPOSE);
    writeFileAtomic(path, `${JSON.stringify({ v: 1, derivation, sealed: sealed.toString("base64") }, null, 2)}\n`);
    key.secret.fill(0);
  }
  const { told, publicKey, key } = readPending(path, options.passphrase);
  const signer = await signerOfKey(Buffer.from(publicKey, "base64"), Buffer.from(key, "base64"), signerFor);
  return issuingRequest(told.issuingName ?? `${told.name} Issuing CA`, signer);
}

export type FinishOptions = Pick<InitOptions, "passphrase" | "scryptCost" | "now"> & { readonly signerFor: SignerFor };

/**
 * Makes the CA directory, with what the parent sent.
 *
 * @throws HawserError `NOT_PENDING`, `WRONG_PASSPHRASE`, `PARENT_CHAIN_INVALID`, and as `initCa`
 */
export async function finishUnderParent(directory: string, answer: ParentAnswer, { signerFor, ...options }: FinishOptions): Promise<void> {
  if (wasFinished(directory, options.passphrase)) return;
  const path = pendingPath(directory);
  if (!existsSync(path))
    throw new HawserError(
      "NOT_PENDING",
      `no CA is waiting for its parent at ${directory}`,
      "Begin with: hawser ca init --root parent --csr FILE",
    );
  const { told, publicKey, key } = readPending(path, options.passphrase);
  const spki = new Uint8Array(Buffer.from(publicKey, "base64"));
  const secret = Buffer.from(key, "base64");
  const chain = await checkParentChain(answer, spki, (options.now ?? Date.now)());
  const issuingKey = { signer: await signerOfKey(spki, secret, signerFor), publicKey: spki, secret };
  await initCa(directory, { ...told, ...options, underParent: { chain, key: issuingKey } });
  unlinkIfThere(path);
}

/** Whether an earlier run was interrupted when all but this was done: the file of a CA that is there now is removed. */
function wasFinished(directory: string, passphrase: string): boolean {
  if (!existsSync(join(directory, FILES.record))) return false;
  const path = `${realpathSync(directory)}.pending`;
  if (!existsSync(path)) return false;
  const made = new X509Certificate(readFileSync(join(directory, FILES.issuing))).publicKey.export({ format: "der", type: "spki" });
  if (!made.equals(Buffer.from(readPending(path, passphrase).publicKey, "base64"))) return false;
  unlinkIfThere(path);
  return true;
}

function pendingPath(directory: string): string {
  return `${placeFor(directory)}.pending`;
}

function readPending(path: string, passphrase: string): Pending {
  const { derivation, sealed } = parseObject(readFileSync(path, "utf8")) ?? {};
  const known = readKeyDerivation(derivation);
  if (known === undefined || typeof sealed !== "string")
    throw new HawserError("CA_CORRUPT", `${path} is damaged`, "Remove it and begin again: hawser ca init --root parent");
  try {
    return JSON.parse(unseal(deriveKey(passphrase, known), Buffer.from(sealed, "base64"), PURPOSE).toString("utf8")) as Pending;
  } catch {
    throw new HawserError(
      "WRONG_PASSPHRASE",
      `the passphrase does not open ${path}`,
      "Give the one that `ca init --root parent` was given, or remove the file and begin again.",
    );
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
