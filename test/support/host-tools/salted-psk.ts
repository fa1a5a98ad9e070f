/** A device's half of changing its pre-shared key, for tests that play the device. */
import { createHmac } from "node:crypto";
import { saltedKeyInput, saltProofInput } from "../../../sdk/identity/psk-salt.js";

const mac = (key: Uint8Array, data: Uint8Array): Buffer => createHmac("sha256", key).update(data).digest();

/** The key that brokers take. */
export function saltedPsk(psk: Uint8Array, salt: string): Buffer {
  return mac(psk, saltedKeyInput(salt));
}

/** Base64. */
export function saltProof(psk: Uint8Array, by: "device" | "authority", salt: string): string {
  return mac(psk, saltProofInput(by, salt)).toString("base64");
}

/** What the device says in its report. */
export function toldSalt(psk: Uint8Array, text: string): { text: string; proof: string } {
  return { text, proof: saltProof(psk, "device", text) };
}
