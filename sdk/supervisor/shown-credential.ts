/** What an attempt shows of the device, and what is known to be wrong with it before it is shown. */
import { errorMessage } from "../errors.js";
import { failure, type Failure } from "../failure.js";
import type { IdentityStore } from "../identity/store.js";
import type { Credential } from "../platform.js";
import type { Attempt } from "./credential-ladder.js";

export function credentialOf(attempt: Attempt, store: IdentityStore): Credential {
  if (attempt.rung === "psk") return { kind: "psk", slot: store.readyPsk(), identity: store.device.pskIdentity ?? store.device.id };
  if (attempt.rung === "password") return { kind: "server-auth", trustAnchors: store.trustAnchors };
  const identity = store[attempt.identity];
  return {
    kind: "mtls",
    slot: identity?.keySlot ?? "",
    chain: identity?.chain ?? [],
    trustAnchors: attempt.identity === "pending" ? store.provingAnchors : store.trustAnchors,
  };
}

/** Why the attempt cannot be made; undefined when nothing is known against it. */
export function unfitness(attempt: Attempt | undefined, store: IdentityStore): Failure | undefined {
  if (attempt !== undefined && attempt.rung !== "mtls") return undefined;
  const identity = attempt && store[attempt.identity];
  if (!identity) return failure("CERTIFICATE_REQUIRED", "this device has no certificate to show");
  try {
    if (!store.hasKey(identity))
      return failure("KEY_MISSING", `the key of certificate ${identity.certificate.serial} is missing from the key store`);
  } catch (error) {
    return failure("STORAGE_FAILED", `the key store does not answer: ${errorMessage(error)}`);
  }
  return undefined;
}
