/** The key of a device's first identity, made where it stays. */
import { HawserError } from "../../sdk/errors.js";
import { keySlot } from "../../sdk/identity/store.js";
import type { KeyStore, Storage } from "../../sdk/platform.js";

/**
 * A request (PKCS#10, DER) for the key of a first identity. A key that an earlier try has left in the vault is used again.
 * @throws HawserError `ALREADY_PROVISIONED`, and what the vault throws
 */
export function firstRequest({ keyStore, storage }: { keyStore: KeyStore; storage: Storage }, id: string): Uint8Array {
  if (storage.get("identity"))
    throw new HawserError("ALREADY_PROVISIONED", "there is an identity already", "Renew it, or choose another vault.");
  const slot = keySlot("a");
  if (!keyStore.has(slot)) keyStore.generate(slot);
  return keyStore.csr(slot, id);
}
