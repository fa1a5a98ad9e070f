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
  /** Of the chip, as the board says: 12 lower-case hexadecimal digits. */
  readonly mac?: string;
  /** As the board says. */
  readonly firmware?: string;
}

/** @throws HawserError `BAD_ANSWER`, `BAD_PROOF` */
export function readState(answer: Answer, nonce: Uint8Array): DeviceState {
  const { state, id, serial, publicKey, proof } = answer;
  const board = boardFacts(answer);
  if (state === "empty") return { isProvisioned: false, ...board };
  if (state !== "provisioned") throw badAnswer("state");
  if (publicKey === undefined) return { isProvisioned: true, ...(typeof id === "string" && { id }), ...board };
  const key = binary(publicKey, "publicKey");
  checkProof(key, binary(proof, "proof"), nonce);
  if (typeof id !== "string" || typeof serial !== "string") throw badAnswer("id or serial");
  return { isProvisioned: true, id, serial, publicKeyHash: hashOfPublicKey(key), ...board };
}

function boardFacts({ mac, firmware }: Answer): Pick<DeviceState, "mac" | "firmware"> {
  if (firmware !== undefined && (typeof firmware !== "string" || !/^[\x21-\x7e]{1,128}$/.test(firmware))) throw badAnswer("firmware");
  return { ...(mac !== undefined && { mac: readMac(mac) }), ...(firmware !== undefined && { firmware }) };
}

/**
 * A MAC address as 12 lower-case hexadecimal digits. All zeros or all ones, and group addresses, are nobody's: an erased eFuse reads like
 * that.
 * @throws HawserError `BAD_ANSWER`
 */
export function readMac(value: unknown): string {
  const mac =
    typeof value === "string" && /^[0-9a-f]{2}([:-]?)(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(value)
      ? value.replace(/[:-]/g, "").toLowerCase()
      : "";
  if (mac === "" || /^0+$/.test(mac) || (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1) throw badAnswer("MAC address");
  return mac;
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
  throw new HawserError(
    "BAD_PROOF",
    "the device failed to prove that it holds its key",
    "Do not trust this device. Check what is connected.",
  );
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
