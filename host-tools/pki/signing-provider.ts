/**
 * Lends a {@link Signer} to @peculiar/x509, which knows WebCrypto only: a provider that is Node's own but for one key, a marker, for which
 * it asks the signer. (Two providers would not do: the generator exports public keys through the one it signs with.)
 */
import { createPublicKey, verify } from "node:crypto";
import type { webcrypto } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { CURVES, keyTypeOf, nodeCrypto } from "./signer.js";
import type { Signer } from "./signer.js";

export interface SigningProvider {
  readonly crypto: webcrypto.Crypto;
  readonly signingKey: webcrypto.CryptoKey;
  readonly signingAlgorithm: { readonly name: "ECDSA"; readonly hash: "SHA-256" | "SHA-384" };
}

/** @param spki the public key that its signatures must verify with: that of the CA's certificate */
export function signingProvider(signer: Signer, spki: Uint8Array): SigningProvider {
  const type = keyTypeOf(spki);
  const { hash } = CURVES[type];
  const signingKey = {
    type: "private",
    extractable: false,
    algorithm: { name: "ECDSA", namedCurve: type },
    usages: ["sign"],
  } as unknown as webcrypto.CryptoKey;
  const subtle = new Proxy(nodeCrypto.subtle, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      const ask = value.bind(target) as (...parameters: unknown[]) => unknown;
      if (name !== "sign") return ask;
      return (algorithm: unknown, key: unknown, data: ArrayBuffer) =>
        key === signingKey ? provenSignature(signer, spki, new Uint8Array(data)) : ask(algorithm, key, data);
    },
  });
  const crypto = { subtle, getRandomValues: nodeCrypto.getRandomValues.bind(nodeCrypto) } as unknown as webcrypto.Crypto;
  return { crypto, signingKey, signingAlgorithm: { name: "ECDSA", hash } };
}

/**
 * Tokens have many keys, and tools pick the wrong one without a word: what does not verify is never used.
 *
 * @throws HawserError `SIGNATURE_WRONG`, and what the signer throws
 */
export async function provenSignature(signer: Signer, spki: Uint8Array, data: Uint8Array): Promise<ArrayBuffer> {
  const { node, sizeBytes } = CURVES[keyTypeOf(spki)];
  const signature = await signer.sign(data);
  const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  if (signature.length === 2 * sizeBytes && verify(node, data, { key, dsaEncoding: "ieee-p1363" }, signature))
    return new Uint8Array(signature).buffer;
  const message = `${signer.describe()} signed with another key than the one in the CA's certificate`;
  throw new HawserError(
    "SIGNATURE_WRONG",
    message,
    "Check that the token and the key's label are the ones that `ca init` or `ca rollover` was given.",
  );
}
