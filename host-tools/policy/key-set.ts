/** The public keys by which names sign their tokens, as JSON Web Keys (RFC 7517). */
import { createPublicKey } from "node:crypto";
import type { Principal } from "./policy-model.js";

/**
 * A key of P-256. `kid` is the name that the key belongs to: whoever judges a token by a set of several names has to take the keys whose
 * `kid` is the name that signs in, and no other. While a name has two certificates, for instance during a renewal, two keys have its `kid`.
 */
export interface TokenKey {
  readonly kty: "EC";
  readonly crv: "P-256";
  /** base64url */
  readonly x: string;
  /** base64url */
  readonly y: string;
  readonly use: "sig";
  readonly alg: "ES256";
  readonly kid: string;
}

/** The keys of one name; none while it is shut out. */
export function keysOf({ name, active, publicKeyPems }: Principal): TokenKey[] {
  if (!active) return [];
  return (publicKeyPems?.() ?? []).flatMap((pem) => {
    const { crv, x, y } = createPublicKey(pem).export({ format: "jwk" });
    return crv === "P-256" && x !== undefined && y !== undefined
      ? [{ kty: "EC" as const, crv, x, y, use: "sig" as const, alg: "ES256" as const, kid: name }]
      : [];
  });
}
