/**
 * How long a certificate has been refused, and whether that is reason enough to leave it. The rules are written down here a second time on
 * purpose.
 */
import type { FailureCode } from "../../../sdk/failure.js";

/** Refusals of a broker that may be at fault itself have to last so long, milliseconds, and to be so many. */
const LEAST_MS = 180_000;
const LEAST_REFUSALS = 3;
/** What nobody signed for, milliseconds. */
const LEAST_SUSPICION_MS = 1_800_000;

/** Needs no broker. */
export const KNOWN_HERE: ReadonlySet<FailureCode> = new Set<FailureCode>(["KEY_MISSING", "KEY_MISMATCH", "CERTIFICATE_REQUIRED"]);
/** About this certificate and no other. */
const NAMED: ReadonlySet<FailureCode> = new Set<FailureCode>(["CERTIFICATE_REVOKED", "CERTIFICATE_EXPIRED"]);
const LOGIN: readonly FailureCode[] = ["NOT_AUTHORIZED", "BAD_USERNAME_OR_PASSWORD"];
export const TOLD_BY_CONNACK: ReadonlySet<FailureCode> = new Set(LOGIN);
export const LOGIN_CODES: ReadonlySet<FailureCode> = new Set<FailureCode>([...LOGIN, "BAD_AUTHENTICATION_METHOD"]);

export class PatienceWatch {
  #refusals = 0;
  #named = 0;
  #sinceMs = 0;
  #troubleSinceMs: number | undefined;
  /** It was left before, and has not been accepted since. */
  #wasLeft = false;

  /** The certificate is accepted again, or the device knows nothing of before. */
  clear(): void {
    this.#refusals = 0;
    this.#named = 0;
    this.#troubleSinceMs = undefined;
    this.#wasLeft = false;
  }

  refused(code: FailureCode, nowMs: number): void {
    this.#troubleSinceMs ??= nowMs;
    if (NAMED.has(code)) this.#named++;
    if (!REFUSALS.has(code)) return;
    if (this.#refusals++ === 0) this.#sinceMs = nowMs;
  }

  /** The device turned to its pre-shared key. @returns what speaks against it */
  left(code: FailureCode, nowMs: number): string | undefined {
    const forMs = nowMs - this.#sinceMs;
    const isEnough =
      this.#wasLeft ||
      KNOWN_HERE.has(code) ||
      this.#named >= 2 ||
      (this.#refusals >= LEAST_REFUSALS && forMs >= LEAST_MS) ||
      (this.#troubleSinceMs !== undefined && nowMs - this.#troubleSinceMs >= LEAST_SUSPICION_MS);
    this.#wasLeft = true;
    return isEnough ? undefined : `down to PSK because of ${code}, after ${this.#refusals} refusals in ${forMs} ms`;
  }
}

const REFUSALS: ReadonlySet<FailureCode> = new Set<FailureCode>([
  ...LOGIN,
  "CERTIFICATE_CA_UNKNOWN",
  "CERTIFICATE_REJECTED",
  "CERTIFICATE_REVOKED",
  "CERTIFICATE_EXPIRED",
]);
