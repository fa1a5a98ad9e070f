/** Keys of a CA as they are made and sealed: one that is kept elsewhere is sealed as its reference. */
import { seal } from "../../sim/node/vault/sealed.js";
import { SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import { generateKey } from "../pki/signer.js";
import type { ExternalKey, KeyType, Signer } from "../pki/signer.js";

/** A key made or taken, and not sealed yet. */
export interface CaKey {
  readonly signer: Signer;
  /** DER SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** PKCS#8, or a reference; wiped by {@link sealedKey}. */
  readonly secret: Uint8Array;
}

/** @param elsewhere makes the key in another place */
export async function newCaKey(type: KeyType, elsewhere?: () => Promise<ExternalKey>): Promise<CaKey> {
  if (elsewhere === undefined) {
    const { signer, pkcs8 } = await generateKey(type);
    return { signer, publicKey: await signer.publicKey(), secret: pkcs8 };
  }
  const { signer, reference } = await elsewhere();
  return { signer, publicKey: await signer.publicKey(), secret: Buffer.from(reference, "utf8") };
}

/** What the key file is to hold; the key is wiped. */
export function sealedKey(sealing: Uint8Array, key: CaKey, file: string): Buffer {
  const sealed = seal(sealing, key.secret, SEAL_PURPOSE.key(file));
  key.secret.fill(0);
  return sealed;
}
