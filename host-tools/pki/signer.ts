/**
 * How a CA signs: a WebCrypto provider with a handle on the key. A key in a file is a handle of Node's own WebCrypto; a key in a PKCS#11 token
 * is one of a provider over the token (node-webcrypto-p11). Nothing else of the CA knows the difference.
 */
import { webcrypto } from "node:crypto";

export interface Signer {
  readonly crypto: webcrypto.Crypto;
  /** An ECDSA P-256 key that may sign. */
  readonly privateKey: webcrypto.CryptoKey;
}

/** A signer whose key is in memory only while it runs, with the same key once as the bytes to seal. */
export interface NewKey {
  readonly signer: Signer;
  readonly publicKey: webcrypto.CryptoKey;
  /** PKCS#8, DER: the caller seals or delivers it and then wipes it. */
  readonly pkcs8: Uint8Array;
}

export const nodeCrypto: webcrypto.Crypto = webcrypto;

const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;

export async function generateKey(): Promise<NewKey> {
  const pair = await nodeCrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const pkcs8 = new Uint8Array(await nodeCrypto.subtle.exportKey("pkcs8", pair.privateKey));
  return { signer: await signerFromPkcs8(pkcs8), publicKey: pair.publicKey, pkcs8 };
}

/** @throws Error when the bytes are no P-256 key */
export async function signerFromPkcs8(pkcs8: Uint8Array): Promise<Signer> {
  const privateKey = await nodeCrypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), P256, false, ["sign"]);
  return { crypto: nodeCrypto, privateKey };
}
