/**
 * Which credential to show next: mutual TLS with the active certificate, with a new one to be proved, or the pre-shared key of the recovery
 * scope. Plain state: what happened goes in, what follows comes out.
 *
 * The rung goes down (mtls -> psk) on one condition only: the broker refused the certificate, or there is none to show, and a recovery endpoint is
 * configured. It never goes down on a fault of the network or of the server's own identity.
 */
import type { Failure, FailureCode } from "../failure.js";

export type Rung = "mtls" | "psk";
export type Attempt = { rung: "mtls"; identity: "active" | "pending" } | { rung: "psk" };

/** What the identity store holds at the moment. */
export interface Holdings {
  active: boolean;
  pending: boolean;
}

export type LadderEffect =
  | { type: "rung-changed"; from: Rung; to: Rung; reason: Failure }
  /** The pending identity was refused: give it up. */
  | { type: "drop-pending"; reason: Failure }
  /** The pending identity failed while the network was there: count it. */
  | { type: "count-failed-proof"; reason: Failure };

/** Refusals that a new certificate can mend; the others of class `credential` (a wrong password, a ban) it cannot. */
const MENDED_BY_ENROLMENT: ReadonlySet<FailureCode> = new Set<FailureCode>([
  "CERTIFICATE_EXPIRED",
  "CERTIFICATE_REVOKED",
  "CERTIFICATE_CA_UNKNOWN",
  "CERTIFICATE_REQUIRED",
  "CERTIFICATE_REJECTED",
  "KEY_MISSING",
  "KEY_MISMATCH",
  "NOT_AUTHORIZED",
]);

/**
 * Refusals that are about the certificate shown and nothing else. A plain "not authorized" is not: the broker may not have heard yet of what the authority
 * just issued.
 */
function isVerdict(code: FailureCode): boolean {
  return code !== "NOT_AUTHORIZED" && MENDED_BY_ENROLMENT.has(code);
}

/** So many recoveries may fail before the certificate is tried once more: whatever refused it may have been mended meanwhile. */
const RECOVERY_TRIES = 3;
/** During recovery, so many proofs of a new certificate may fail for any reason before the pre-shared key is asked again. */
const PROOF_TRIES_IN_RECOVERY = 5;

export class CredentialLadder {
  #rung: Rung = "mtls";
  #recoveryFailures = 0;
  #proofFailures = 0;
  /** The pending identity failed for a reason that may be the network's: let the active one tell. */
  #doubted: Failure | undefined;

  /** @param recoverable a recovery endpoint is configured and the device has a pre-shared key */
  constructor(private readonly recoverable: boolean) {}

  get rung(): Rung {
    return this.#rung;
  }

  /** What to show at the next attempt; undefined when the device has nothing at all to show. */
  next(holdings: Holdings): Attempt | undefined {
    if (holdings.pending && !this.#doubted) return { rung: "mtls", identity: "pending" };
    if (this.#rung === "psk") return { rung: "psk" };
    if (holdings.active) return { rung: "mtls", identity: "active" };
    if (holdings.pending) return { rung: "mtls", identity: "pending" };
    return undefined;
  }

  /** An attempt, or the connection it made, ended in a failure. */
  failed(attempt: Attempt, reason: Failure, holdings: Holdings): LadderEffect[] {
    if (attempt.rung === "psk") return this.#recoveryFailed(reason, holdings);
    if (attempt.identity === "pending") return this.#proofFailed(reason, holdings);
    return this.#goDown(reason);
  }

  /** The broker accepted the attempt: CONNACK, and for a pending identity one SUBACK. Call it before the identity is committed. */
  accepted(attempt: Attempt): LadderEffect[] {
    const doubted = this.#doubted;
    this.#doubted = undefined;
    this.#recoveryFailures = 0;
    if (attempt.rung === "psk") {
      this.#proofFailures = 0;
      return doubted ? [{ type: "drop-pending", reason: doubted }] : [];
    }
    if (attempt.identity === "active" && doubted) return [{ type: "count-failed-proof", reason: doubted }];
    this.#proofFailures = 0;
    this.#rung = "mtls";
    return [];
  }

  #goDown(reason: Failure): LadderEffect[] {
    if (!this.recoverable || this.#rung === "psk" || !MENDED_BY_ENROLMENT.has(reason.code)) return [];
    this.#rung = "psk";
    this.#recoveryFailures = 0;
    this.#doubted = undefined;
    return [{ type: "rung-changed", from: "mtls", to: "psk", reason }];
  }

  #recoveryFailed(reason: Failure, holdings: Holdings): LadderEffect[] {
    this.#recoveryFailures++;
    const refused = reason.class === "credential";
    if (!holdings.active || (!refused && this.#recoveryFailures < RECOVERY_TRIES)) return [];
    this.#rung = "mtls";
    this.#recoveryFailures = 0;
    return [{ type: "rung-changed", from: "psk", to: "mtls", reason }];
  }

  #proofFailed(reason: Failure, holdings: Holdings): LadderEffect[] {
    if (isVerdict(reason.code)) {
      this.#proofFailures = 0;
      return [{ type: "drop-pending", reason }];
    }
    this.#proofFailures++;
    const otherWay = this.#rung === "mtls" ? holdings.active : this.#proofFailures >= PROOF_TRIES_IN_RECOVERY;
    if (otherWay) {
      this.#doubted = reason;
      this.#proofFailures = 0;
    }
    return [];
  }
}
