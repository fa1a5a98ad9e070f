/** A message of enrolment as whoever has a key of this world says it. */
import { enrolmentMessage, type EnrolmentMessage } from "../../../sdk/identity/enrolment.js";
import { publicKeyOf, signatureOf } from "../pki/world-certificates.js";

/** @param secret the key that signs; nothing is proved without one */
export function said(message: EnrolmentMessage, secret?: string): Uint8Array {
  const publicKey = publicKeyOf(secret ?? "");
  const sign = (_slot: string, data: Uint8Array): Uint8Array => signatureOf(publicKey, data);
  return enrolmentMessage(message, { sign }, secret === undefined ? undefined : { keySlot: "", certificate: { publicKey } });
}
