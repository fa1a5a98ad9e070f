/** JSON Web Tokens in the password's place: ES256 by the device's own key (RFC 7519, RFC 7518 section 3.4). */
import { createPublicKey, verify } from "node:crypto";

/** Clocks of devices and brokers differ a little. */
const SKEW_MS = 60_000;
/** A longer one is no short-lived proof any more. */
const MAX_LIFETIME_MS = 25 * 3_600_000;
const MAX_CHARACTERS = 4096;

/**
 * Why a token does not prove `name`, in words; undefined when it does. `sub` and `kid`, where they are given, have to be the name.
 *
 * @param publicKeyPems of `name` and of nobody else: one of them has to have signed
 */
export function tokenFault(token: string, name: string, publicKeyPems: readonly string[], atMs: number): string | undefined {
  const parts = token.length > MAX_CHARACTERS ? [] : token.split(".");
  const [header = "", payload = "", signature = ""] = parts;
  const head = parts.length === 3 ? objectOf(header) : undefined;
  const claims = head === undefined ? undefined : objectOf(payload);
  if (head === undefined || claims === undefined) return "it is not a token";
  if (head["alg"] !== "ES256") return "it is not signed with ES256";
  if (!publicKeyPems.some((pem) => isSigned(`${header}.${payload}`, signature, pem))) return "its signature is not by the device's key";
  const { sub, exp, iat, nbf } = claims;
  if ([sub, head["kid"]].some((claimed) => claimed !== undefined && claimed !== name)) return "it is somebody else's";
  if (typeof exp !== "number" || exp * 1000 + SKEW_MS <= atMs) return "it has expired";
  if (typeof iat === "number" && (exp - iat) * 1000 > MAX_LIFETIME_MS) return "it lives too long";
  if (exp * 1000 - atMs > MAX_LIFETIME_MS + SKEW_MS) return "it lives too long";
  const startsMs = typeof nbf === "number" ? nbf * 1000 : 0;
  return startsMs - SKEW_MS > atMs ? "it is not valid yet" : undefined;
}

function objectOf(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isSigned(text: string, signature: string, publicKeyPem: string): boolean {
  try {
    const key = createPublicKey(publicKeyPem);
    if (key.asymmetricKeyType !== "ec") return false;
    return verify("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"));
  } catch {
    return false;
  }
}
