/** What a message of a device proves of its sender: that it holds the key of a certificate (docs/protocol.md, "Enrolment messages"). */
import { createPublicKey, verify } from "node:crypto";
import { hashOfPublicKey } from "../pki/certificate-request.js";

/** A P-256 SubjectPublicKeyInfo has 91 bytes, r and s 64. */
const KEY = /^[A-Za-z0-9+/]{122}==$/;
const PROVED = /^(\{.*),"proof":"([A-Za-z0-9+/]{86}==)"\}$/s;

/**
 * @param key member of the message: a DER SubjectPublicKeyInfo, base64
 * @returns SHA-256 of the key that signed the message, lower-case hex; undefined where nothing is proved
 */
export function signerOf(text: string, key: unknown): string | undefined {
  const [, signed, signature] = PROVED.exec(text) ?? [];
  if (signed === undefined || signature === undefined || typeof key !== "string" || !KEY.test(key)) return undefined;
  const spki = Buffer.from(key, "base64");
  try {
    const publicKey = createPublicKey({ key: spki, format: "der", type: "spki" });
    const isGood = verify(
      "sha256",
      Buffer.from(`${signed}}`),
      { key: publicKey, dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64"),
    );
    return isGood ? hashOfPublicKey(spki) : undefined;
  } catch {
    return undefined;
  }
}
