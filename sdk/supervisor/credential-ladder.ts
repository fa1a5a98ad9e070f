/**
 * Which credential to show next: mutual TLS with the active certificate, with a new one to be proved, or the pre-shared key of the recovery
 * scope. Plain state: what happened and when goes in, what follows comes out.
 *
 * The credential goes down (mtls -> psk) only when the certificate is the likeliest explanation: it is known here to be unusable, a broker
 * that proved itself said so twice, or refusals lasted for minutes. How many minutes each device draws for itself, so that a fleet whose
 * broker is at fault does not leave mutual TLS together. It never goes down on a fault of the network or of the server's own identity.
 */
import type { Evidence } from "./evidence.js";
import type { Rung } from "../events.js";
import type { Failure, FailureCode } from "../failure.js";

export type Attempt = { rung: "mtls"; identity: "active" | "pending" } | { rung: "psk" } | { rung: "password" };

/** What the identity store holds at the moment. */
export interface Holdings {
  active: boolean;
  pending: boolean;
}

export type LadderEffect =
  | { type: "credential-changed"; from: Rung; to: Rung; reason: Failure }
  /** The pending identity was refused: give it up. */
  | { type: "drop-pending"; reason: Failure }
  /** The pending identity failed while the network was there: count it. */
  | { type: "count-failed-proof"; reason: Failure }
  /** A new certificate changed nothing: no further one is asked for. */
  | { type: "stop-enrolling"; reason: Failure; retryMs: number };

/** How long a certificate has to be refused before the pre-shared key is used. */
export interface RecoveryPatience {
  /** So many refusals at the least; default 3. */
  refusals: number;
  /** They have lasted at least so long, milliseconds; default 180,000. */
  minimumMs: number;
  /** Each device draws its own time between `minimumMs` and this, milliseconds; default 900,000. */
  maximumMs: number;
  /**
   * The same for ends that somebody on the way could have forged: this to twice as long, milliseconds; default 3,600,000. They count when
   * the certificate has ended by the wall clock, or with `believeUnprotected`.
   */
  suspicionMs: number;
  /**
   * Whether refusals of TLS 1.2, which are not protected, count at all; default false. Set it only for a broker that has no TLS 1.3:
   * without it a device whose certificate such a broker refuses has to be provisioned again, with it whoever blocks the way for hours can
   * drive a device to its pre-shared key.
   */
  believeUnprotected: boolean;
}

export const DEFAULT_PATIENCE: RecoveryPatience = {
  refusals: 3,
  minimumMs: 180_000,
  maximumMs: 900_000,
  suspicionMs: 3_600_000,
  believeUnprotected: false,
};

/** So often a broker has to repeat a verdict. */
const VERDICTS = 2;
const SUSPICIONS = 10;
/** Refusals with more time between them do not belong together, milliseconds. */
const LONGEST_GAP_MS = 1_800_000;
/** So many recoveries may fail before the certificate is tried once more: whatever refused it may have been mended meanwhile. */
const RECOVERY_TRIES = 3;
/** During recovery, so many proofs of a new certificate may fail for any reason before the pre-shared key is asked again. */
const PROOF_TRIES_IN_RECOVERY = 5;
/** So many new certificates of one recovery may be given up before no more are asked for. */
const USELESS_CERTIFICATES = 3;
/**
 * After a new certificate changed nothing, none is asked for so long, milliseconds, plus up to half as much; twice as long each time, up to
 * {@link MOST_DOUBLINGS} times. A fleet that a broker refuses for days costs its authority few certificates, and a device whose own
 * certificate ends meanwhile comes back in about the time that it has been away.
 */
const STOPPED_MS = 20 * 60_000;
const MOST_DOUBLINGS = 5;
/** Over PSK without a new certificate, the old one is shown again after this to twice as long, and later each time, milliseconds. */
const SHOW_AGAIN_MS = 120_000;
const SHOW_AGAIN_CAP_MS = 3_600_000;

/** Failures of one sort in a row. */
class Run {
  #count = 0;
  #sinceMs = 0;
  #lastMs = 0;
  #patienceMs = 0;

  /** Counts one. @param patienceMs draws how long the run has to last. @returns whether it has lasted long enough */
  add(nowMs: number, least: number, patienceMs: () => number): boolean {
    if (this.#count === 0 || nowMs - this.#lastMs > LONGEST_GAP_MS) {
      this.#count = 0;
      this.#sinceMs = nowMs;
      this.#patienceMs = patienceMs();
    }
    this.#count++;
    this.#lastMs = nowMs;
    return this.#count >= least && nowMs - this.#sinceMs >= this.#patienceMs;
  }

  end(): void {
    this.#count = 0;
  }
}

export interface LadderParts {
  /** A recovery endpoint is configured and the device has a pre-shared key. */
  recoverable: boolean;
  /** The device signs in by password alone: there is nothing to change to. */
  passwordOnly?: boolean;
  patience: RecoveryPatience;
  /** On the monotonic clock. */
  nowMs: () => number;
  /** Uniform in [0, 1). */
  fraction: () => number;
}

export class CredentialLadder {
  #rung: Rung = "mtls";
  #recoveryFailures = 0;
  #proofFailures = 0;
  #useless = 0;
  #timesShown = 0;
  /** PSK was accepted since the certificate was left: a new certificate is one of this recovery. */
  #isAnswered = false;
  readonly #verdicts = new Run();
  readonly #refusals = new Run();
  readonly #suspicions = new Run();
  readonly #proofRefusals = new Run();
  /** The certificate was found unusable, and has not been accepted since: one more refusal leads back to PSK. */
  #isCondemned = false;
  /**
   * Until then, on the monotonic clock, no new certificate is asked for because of refusals. A lost key or a revocation is another matter.
   */
  #stoppedUntilMs: number | undefined;
  #stops = 0;
  /** Identities that were lost or revoked meanwhile. */
  readonly #gone = new Set<"active" | "pending">();
  /** The pending identity failed for a reason that may not be its own: let the active one tell. */
  #doubted: Failure | undefined;

  constructor(private readonly parts: LadderParts) {}

  get rung(): Rung {
    return this.#rung;
  }

  /** What to show at the next attempt; undefined when the device has nothing at all to show. */
  next(holdings: Holdings): Attempt | undefined {
    if (this.parts.passwordOnly === true) return { rung: "password" };
    if (holdings.pending && !this.#doubted) return { rung: "mtls", identity: "pending" };
    if (this.#rung === "psk") return { rung: "psk" };
    if (holdings.active) return { rung: "mtls", identity: "active" };
    if (holdings.pending) return { rung: "mtls", identity: "pending" };
    return undefined;
  }

  /** An attempt, or the connection it made, ended in a failure. */
  failed(attempt: Attempt, reason: Failure, evidence: Evidence, holdings: Holdings): LadderEffect[] {
    if (attempt.rung === "password") return [];
    if (attempt.rung === "psk") return this.#recoveryFailed(reason, holdings);
    if (attempt.identity === "pending") return this.#proofFailed(reason, evidence, holdings);
    if (this.#stoppedUntilMs !== undefined) return this.#stillStopped(attempt.identity, reason, evidence, holdings);
    // With nothing else to show, both are shown in turns: the active one may have expired.
    if (!this.parts.recoverable) this.#doubted = undefined;
    return this.#isEnough(evidence) ? this.#goDown(reason, holdings) : [];
  }

  /** The broker accepted the attempt: CONNACK, and for a pending identity one SUBACK. Call it before the identity is committed. */
  accepted(attempt: Attempt): LadderEffect[] {
    if (attempt.rung === "password") return [];
    const doubted = this.#doubted;
    this.#doubted = undefined;
    this.#recoveryFailures = 0;
    if (attempt.rung === "psk") {
      this.#isAnswered = true;
      this.#endProof();
      if (!doubted) return [];
      this.#useless++;
      return [{ type: "drop-pending", reason: doubted }];
    }
    this.#acquit();
    if (attempt.identity === "active" && doubted) return [{ type: "count-failed-proof", reason: doubted }];
    this.#endProof();
    this.#rung = "mtls";
    return [];
  }

  /** How long a recovery may stay without a new certificate before {@link showAgain}, milliseconds. Longer each time it was in vain. */
  get showAgainMs(): number {
    const windowMs = Math.min(SHOW_AGAIN_CAP_MS, SHOW_AGAIN_MS * 2 ** Math.min(this.#timesShown, 10));
    return Math.round(windowMs * (1 + this.parts.fraction()));
  }

  /** The recovery stalls: shows the certificate again, in case what refused it was mended meanwhile. */
  showAgain(reason: Failure, holdings: Holdings): LadderEffect[] {
    if (this.#rung !== "psk" || !holdings.active) return [];
    this.#timesShown++;
    return this.#goUp(reason);
  }

  #isEnough(evidence: Evidence): boolean {
    const { patience, nowMs, fraction } = this.parts;
    const { refusals, minimumMs, maximumMs, suspicionMs } = patience;
    switch (evidence) {
      case "certain":
        return true;
      case "verdict":
        return this.#verdicts.add(nowMs(), VERDICTS, () => 0) || this.#isCondemned;
      case "refusal":
        return this.#refusals.add(nowMs(), refusals, () => minimumMs + fraction() * (maximumMs - minimumMs)) || this.#isCondemned;
      case "suspicion":
        return this.#suspicions.add(nowMs(), SUSPICIONS, () => suspicionMs * (1 + fraction())) || this.#isCondemned;
      case "none":
        return false;
    }
  }

  #goDown(reason: Failure, holdings: Holdings): LadderEffect[] {
    if (!this.parts.recoverable || this.#rung === "psk") return [];
    const unused: LadderEffect[] = this.#stoppedUntilMs !== undefined && holdings.pending ? [{ type: "drop-pending", reason }] : [];
    this.#stoppedUntilMs = undefined;
    this.#isCondemned = true;
    this.#isAnswered = false;
    this.#rung = "psk";
    this.#recoveryFailures = 0;
    this.#doubted = undefined;
    return [...unused, { type: "credential-changed", from: "mtls", to: "psk", reason }];
  }

  #goUp(reason: Failure): LadderEffect[] {
    this.#rung = "mtls";
    this.#recoveryFailures = 0;
    return [{ type: "credential-changed", from: "psk", to: "mtls", reason }];
  }

  get #isStopped(): boolean {
    return this.#stoppedUntilMs !== undefined && this.parts.nowMs() < this.#stoppedUntilMs;
  }

  /** Mutual TLS works: whatever spoke against the certificate is over. */
  #acquit(): void {
    for (const run of [this.#verdicts, this.#refusals, this.#suspicions]) run.end();
    this.#isCondemned = false;
    this.#stoppedUntilMs = undefined;
    this.#stops = 0;
    this.#useless = 0;
    this.#timesShown = 0;
  }

  #endProof(): void {
    this.#proofFailures = 0;
    this.#proofRefusals.end();
  }

  #recoveryFailed(reason: Failure, holdings: Holdings): LadderEffect[] {
    this.#recoveryFailures++;
    const refused = reason.class === "credential";
    if (!holdings.active || (!refused && this.#recoveryFailures < RECOVERY_TRIES)) return [];
    return this.#goUp(reason);
  }

  #proofFailed(reason: Failure, evidence: Evidence, holdings: Holdings): LadderEffect[] {
    if (this.#stoppedUntilMs !== undefined) return this.#stillStopped("pending", reason, evidence, holdings);
    // One of before: the device was shut out while it waited to be proved, and this recovery has not asked for any yet.
    const isOfBefore = this.#rung === "psk" && !this.#isAnswered && (evidence === "refusal" || evidence === "verdict");
    if (isOfBefore || evidence === "certain" || isAboutTheNewOne(reason.code, this.#rung)) {
      if (this.#rung === "psk" && this.#useless >= USELESS_CERTIFICATES) return this.#stop(reason);
      this.#endProof();
      this.#useless++;
      return [{ type: "drop-pending", reason }];
    }
    this.#proofFailures++;
    if (this.#rung === "mtls") {
      if (holdings.active) this.#doubt(reason);
      return [];
    }
    const { refusals, minimumMs } = this.parts.patience;
    const isRefused =
      (evidence === "refusal" || evidence === "verdict") && this.#proofRefusals.add(this.parts.nowMs(), refusals, () => minimumMs);
    const isGivenUp = evidence !== "refusal" && evidence !== "verdict" && this.#proofFailures >= PROOF_TRIES_IN_RECOVERY;
    if (isRefused || (isGivenUp && this.#useless >= USELESS_CERTIFICATES)) return this.#stop(reason);
    if (isGivenUp) this.#doubt(reason);
    return [];
  }

  #doubt(reason: Failure): void {
    this.#doubted = reason;
    this.#proofFailures = 0;
  }

  /** A new certificate fares as the old one did: whatever is wrong, it is not the certificate. From now on both are shown in turns. */
  #stop(reason: Failure): LadderEffect[] {
    const { nowMs, fraction } = this.parts;
    const retryMs = Math.round(STOPPED_MS * 2 ** Math.min(this.#stops++, MOST_DOUBLINGS) * (1 + fraction() / 2));
    this.#stoppedUntilMs = nowMs() + retryMs;
    this.#gone.clear();
    this.#endProof();
    this.#doubt(reason);
    return [{ type: "stop-enrolling", reason, retryMs }, ...this.#goUp(reason)];
  }

  /**
   * Both are shown in turns. What refused the one and the other may be mended; only when neither can be accepted any more is a third of use
   * before its time.
   */
  #stillStopped(identity: "active" | "pending", reason: Failure, evidence: Evidence, holdings: Holdings): LadderEffect[] {
    this.#doubted = undefined;
    if (identity === "pending" && holdings.active) this.#doubt(reason);
    if (!this.#isStopped) return this.#doubted === undefined && this.#isEnough(evidence) ? this.#goDown(reason, holdings) : [];
    if (this.#isFinal(evidence)) this.#gone.add(identity);
    const isAnyLeft = (["active", "pending"] as const).some((one) => holdings[one] && !this.#gone.has(one));
    return isAnyLeft ? [] : this.#goDown(reason, holdings);
  }

  /** Speaks of this one certificate, and of nothing that both have in common. */
  #isFinal(evidence: Evidence): boolean {
    return evidence === "certain" || evidence === "verdict" || (evidence === "suspicion" && this.#isEnough(evidence));
  }
}

/**
 * Whether a refusal is about the new certificate and nothing else. During recovery only its revocation is: anything else befell the old one
 * as well. A plain
 * "not authorized" never is: the broker may not have heard yet of what the authority just issued.
 */
function isAboutTheNewOne(code: FailureCode, rung: Rung): boolean {
  if (code === "CERTIFICATE_REVOKED") return true;
  return (
    rung === "mtls" &&
    (code === "CERTIFICATE_CA_UNKNOWN" ||
      code === "CERTIFICATE_EXPIRED" ||
      code === "CERTIFICATE_REQUIRED" ||
      code === "CERTIFICATE_REJECTED")
  );
}
