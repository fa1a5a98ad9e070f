/**
 * The pre-shared key changes with each certificate: the key that a device was provisioned with stays in the key store, and what it shows to
 * brokers is made of that key and a salt. The authority makes the same one. Whoever copies the one or the other is shut out by the next
 * salt, which the device draws itself and tells the authority over mutual TLS (docs/protocol.md).
 */
import { utf8Encode } from "../encoding/text.js";

/** A salt that a device tells. */
export interface ToldSalt {
  readonly text: string;
  /** Made with the provisioned key, base64: who has nothing but the device's certificate cannot take its way back away. */
  readonly proof: string;
}

/** What the provisioned key authenticates (HMAC-SHA256); the result is the key of that salt. */
export function saltedKeyInput(salt: string): Uint8Array {
  return utf8Encode(`hawser psk\n${salt}`);
}

/** The same for a proof that the device, or the authority, says it: whoever knows a salted key alone can make none. */
export function saltProofInput(by: "device" | "authority", salt: string): Uint8Array {
  return utf8Encode(`hawser psk ${by}\n${salt}`);
}
