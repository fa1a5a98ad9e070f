/** What a device said, with every field checked: it may be anything that was plugged in. */
import { createPublicKey, verify } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { proofInput } from "../../sdk/provisioning/messages.js";
import { hashOfPublicKey } from "../pki/certificate-request.js";
import type { Answer } from "./station-link.js";

/** A device as it describes itself; key and serial only with a proof that it holds the key. */
export interface DeviceState {
  readonly isProvisioned: boolean;
  readonly id?: string;
  readonly serial?: string;
  /** SHA-256 of its DER SubjectPublicKeyInfo, lower-case hex. */
  readonly publicKeyHash?: string;
}

/** @throws HawserError `BAD_ANSWER`, `BAD_PROOF` */
export function readState(answer: Answer, nonce: Uint8Array): DeviceState {
  const { state, id, serial, publicKey, proof } = answer;
  if (state === "empty") return { isProvisioned: false };
  if (state !== "provisioned") throw badAnswer("state");
  if (publicKey === undefined) return { isProvisioned: true, ...(typeof id === "string" && { id }) };
  const key = binary(publicKey, "publicKey");
  checkProof(key, binary(proof, "proof"), nonce);
  if (typeof id !== "string" || typeof serial !== "string") throw badAnswer("id or serial");
  return { isProvisioned: true, id, serial, publicKeyHash: hashOfPublicKey(key) };
}

/** @throws HawserError `BAD_ANSWER` */
export function binary(value: unknown, field: string): Uint8Array {
  if (typeof value !== "string" || !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value)) throw badAnswer(field);
  return new Uint8Array(Buffer.from(value, "base64"));
}

/**
 * @param publicKey DER SubjectPublicKeyInfo
 * @throws HawserError `BAD_PROOF` when this nonce was not signed by that key
 */
export function checkProof(publicKey: Uint8Array, proof: Uint8Array, nonce: Uint8Array): void {
  if (isSignedBy(publicKey, proof, nonce)) return;
  throw new HawserError("BAD_PROOF", "the device failed to prove that it holds its key", "Do not trust this device. Check what is connected.");
}

function isSignedBy(publicKey: Uint8Array, proof: Uint8Array, nonce: Uint8Array): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    return verify("sha256", proofInput(nonce), { key, dsaEncoding: "ieee-p1363" }, proof);
  } catch {
    return false;
  }
}

function badAnswer(field: string): HawserError {
  return new HawserError("BAD_ANSWER", `the device's answer has no usable ${field}`, "Use the hawser version that matches the firmware.");
}
