/**
 * Pre-shared keys in the registry, sealed under the CA's key: the key that the device was provisioned with, and behind it the salt that the
 * device last told. Brokers take the key that is made of both.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { saltedKeyInput, saltProofInput } from "../../sdk/identity/psk-salt.js";
import type { ToldSalt } from "../../sdk/identity/psk-salt.js";
import { seal, unseal } from "../../sim/node/vault/sealed.js";
import { corrupt, SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import type { NameSummary } from "../ca-directory/registry-entry.js";
import type { CaKeys } from "./context.js";

const PSK_BYTES = 32;

/** A key for a device that is being provisioned, and what the registry keeps of it. The key is the caller's to wipe. */
export function newPsk(keys: CaKeys, name: string): { readonly psk: Buffer; readonly sealed: string } {
  const psk = randomBytes(PSK_BYTES);
  return { psk, sealed: sealed(keys, name, psk) };
}

/** The key that brokers take from a device that may use it: in use, or in recovery. Throws `CA_CORRUPT`. */
export function activePsk(keys: CaKeys, entry: NameSummary | undefined): Buffer | undefined {
  return entry?.state === "active" || entry?.state === "certificate-revoked" ? anyActivePsk(keys, entry) : undefined;
}

/** The same of a device in whatever state. Throws `CA_CORRUPT`. */
export function anyActivePsk(keys: CaKeys, entry: NameSummary): Buffer | undefined {
  const kept = unsealed(keys, entry);
  if (kept?.salt === undefined) return kept?.psk;
  const salted = mac(kept.psk, saltedKeyInput(kept.salt));
  kept.psk.fill(0);
  return salted;
}

/** The key that the device was provisioned with. Throws `CA_CORRUPT`. */
export function provisionedPsk(keys: CaKeys, entry: NameSummary): Buffer | undefined {
  return unsealed(keys, entry)?.psk;
}

/** What the registry keeps of the key from now on; undefined where the salt is known or not proved. Throws `CA_CORRUPT`. */
export function withSalt(keys: CaKeys, entry: NameSummary, { text, proof }: ToldSalt): string | undefined {
  const kept = unsealed(keys, entry);
  if (kept === undefined) return undefined;
  const shown = Buffer.from(proof, "base64");
  const expected = mac(kept.psk, saltProofInput("device", text));
  const isProved = shown.length === expected.length && timingSafeEqual(shown, expected);
  const isNews = isProved && kept.salt !== text;
  const next = isNews ? sealed(keys, entry.name, Buffer.concat([kept.psk, Buffer.from(text)])) : undefined;
  kept.psk.fill(0);
  return next;
}

/** Shows the device, and nobody else, which salt is active; undefined before the first. Base64. Throws `CA_CORRUPT`. */
export function saltProof(keys: CaKeys, entry: NameSummary): string | undefined {
  const kept = unsealed(keys, entry);
  if (kept?.salt === undefined) return undefined;
  const proof = mac(kept.psk, saltProofInput("authority", kept.salt)).toString("base64");
  kept.psk.fill(0);
  return proof;
}

function sealed(keys: CaKeys, name: string, secret: Buffer): string {
  return seal(keys.sealing, secret, SEAL_PURPOSE.psk(name)).toString("base64");
}

function unsealed(keys: CaKeys, entry: NameSummary): { readonly psk: Buffer; readonly salt?: string } | undefined {
  if (entry.psk === undefined) return undefined;
  try {
    const secret = unseal(keys.sealing, Buffer.from(entry.psk, "base64"), SEAL_PURPOSE.psk(entry.name));
    const salt = secret.subarray(PSK_BYTES).toString();
    return { psk: secret.subarray(0, PSK_BYTES), ...(salt !== "" && { salt }) };
  } catch {
    throw corrupt(`the registry entry of ${entry.name}`, "the seal of its PSK is broken");
  }
}

function mac(key: Buffer, data: Uint8Array): Buffer {
  return createHmac("sha256", key).update(data).digest();
}
