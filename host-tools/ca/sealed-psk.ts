/** Pre-shared keys in the registry, sealed under the CA's key. */
import { unseal } from "../../sim/node/vault/sealed.js";
import { corrupt, SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import type { NameSummary } from "../ca-directory/registry-entry.js";
import type { CaKeys } from "./context.js";

/** The PSK of a device that may use it: in use, or in recovery. Throws `CA_CORRUPT`. */
export function unsealPsk(keys: CaKeys, entry: NameSummary | undefined): Buffer | undefined {
  return entry?.state === "active" || entry?.state === "certificate-revoked" ? unsealAnyPsk(keys, entry) : undefined;
}

/** The PSK of a device in whatever state. Throws `CA_CORRUPT`. */
export function unsealAnyPsk(keys: CaKeys, entry: NameSummary): Buffer | undefined {
  if (entry.psk === undefined) return undefined;
  try {
    return unseal(keys.sealing, Buffer.from(entry.psk, "base64"), SEAL_PURPOSE.psk(entry.name));
  } catch {
    throw corrupt(`the registry entry of ${entry.name}`, "the seal of its PSK is broken");
  }
}
