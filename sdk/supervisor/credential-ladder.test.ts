import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { failure, type FailureCode } from "../failure.js";
import { CredentialLadder, DEFAULT_PATIENCE, type Attempt, type Holdings, type LadderEffect } from "./credential-ladder.js";
import type { Evidence } from "./evidence.js";

const BOTH = { active: true, pending: true };
const ACTIVE = { active: true, pending: false };
const NOTHING = { active: false, pending: false };
const ACTIVE_TRY: Attempt = { rung: "mtls", identity: "active" };
const PENDING_TRY: Attempt = { rung: "mtls", identity: "pending" };
const PSK_TRY: Attempt = { rung: "psk" };
const MINUTE_MS = 60_000;
const because = (code: FailureCode): ReturnType<typeof failure> => failure(code, "in a test");
const changed = (from: "mtls" | "psk", to: "mtls" | "psk", code: FailureCode): LadderEffect => ({
  type: "credential-changed",
  from,
  to,
  reason: because(code),
});

/** A ladder in time that passes when told to, with a random number that stays the same. */
class Climb {
  nowMs = 0;
  readonly ladder: CredentialLadder;

  constructor(recoverable = true, fraction = 0.5, patience = DEFAULT_PATIENCE) {
    this.ladder = new CredentialLadder({ recoverable, patience, nowMs: () => this.nowMs, fraction: () => fraction });
  }

  /** One that has gone down to PSK, and was let in by it. */
  static down(code: FailureCode = "KEY_MISSING", holdings: Holdings = ACTIVE): Climb {
    const climb = new Climb();
    climb.fails(ACTIVE_TRY, code, "certain", holdings);
    climb.ladder.accepted(PSK_TRY);
    return climb;
  }

  fails(attempt: Attempt, code: FailureCode, evidence: Evidence, holdings: Holdings = ACTIVE): LadderEffect[] {
    return this.ladder.failed(attempt, because(code), evidence, holdings);
  }

  /** The same failure every `everyMs`, until something follows. @returns how long it took, and what followed */
  failsUntil(
    attempt: Attempt,
    code: FailureCode,
    evidence: Evidence,
    holdings: Holdings = ACTIVE,
    everyMs = MINUTE_MS,
  ): [tookMs: number, effects: LadderEffect[]] {
    for (let tookMs = 0; tookMs < 2 * 86_400_000; tookMs += everyMs) {
      const effects = this.fails(attempt, code, evidence, holdings);
      if (effects.length > 0) return [tookMs, effects];
      this.nowMs += everyMs;
    }
    return [Infinity, []];
  }
}

describe("A refused certificate", () => {
  it("leads to PSK at once when this side knows that it cannot be shown", () => {
    const climb = new Climb();
    expect(climb.fails(ACTIVE_TRY, "KEY_MISSING", "certain")).toEqual([changed("mtls", "psk", "KEY_MISSING")]);
    expect(climb.ladder.next(ACTIVE)).toEqual(PSK_TRY);
  });

  it("leads to PSK when a proved broker has named it twice", () => {
    const climb = new Climb();
    expect(climb.fails(ACTIVE_TRY, "CERTIFICATE_REVOKED", "verdict")).toEqual([]);
    expect(climb.ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
    climb.nowMs += 1_000;
    expect(climb.fails(ACTIVE_TRY, "CERTIFICATE_REVOKED", "verdict")).toEqual([changed("mtls", "psk", "CERTIFICATE_REVOKED")]);
  });

  it("leads to PSK only after refusals that lasted for minutes, where the broker may be at fault", () => {
    expect(new Climb(true, 0).failsUntil(ACTIVE_TRY, "NOT_AUTHORIZED", "refusal", ACTIVE, 1_000)).toEqual([
      180_000,
      [changed("mtls", "psk", "NOT_AUTHORIZED")],
    ]);
    expect(new Climb(true, 0.999).failsUntil(ACTIVE_TRY, "CERTIFICATE_CA_UNKNOWN", "refusal")[0]).toBe(15 * MINUTE_MS);
    // Few refusals are not enough, however long they take.
    expect(new Climb(true, 0).failsUntil(ACTIVE_TRY, "NOT_AUTHORIZED", "refusal", ACTIVE, 20 * MINUTE_MS)[0]).toBe(40 * MINUTE_MS);
  });

  it("is forgiven what was said against it once it is accepted", () => {
    const climb = new Climb(true, 0);
    for (let i = 0; i < 50; i++) {
      expect(climb.fails(ACTIVE_TRY, "NOT_AUTHORIZED", "refusal")).toEqual([]);
      expect(climb.fails(ACTIVE_TRY, "CERTIFICATE_REVOKED", "verdict")).toEqual([]);
      climb.nowMs += 5 * MINUTE_MS;
      climb.ladder.accepted(ACTIVE_TRY);
    }
  });

  it("is not refused for long by refusals that lie far apart", () => {
    expect(new Climb(true, 0).failsUntil(ACTIVE_TRY, "NOT_AUTHORIZED", "refusal", ACTIVE, 31 * MINUTE_MS)[0]).toBe(Infinity);
  });

  it("is suspected for an hour at least when anybody on the way could have refused it", () => {
    expect(new Climb(true, 0).failsUntil(ACTIVE_TRY, "CONNECTION_RESET", "suspicion")[0]).toBe(60 * MINUTE_MS);
    expect(new Climb(true, 0.5).failsUntil(ACTIVE_TRY, "CONNECTION_RESET", "suspicion")[0]).toBe(90 * MINUTE_MS);
  });

  it("stays in use for what says nothing against it, however often", () => {
    const climb = new Climb();
    for (let i = 0; i < 1_000; i++) {
      expect(climb.fails(ACTIVE_TRY, "CONNECTION_RESET", "none")).toEqual([]);
      climb.nowMs += MINUTE_MS;
    }
    expect(climb.ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
  });

  it("stays in use where no recovery is configured", () => {
    const climb = new Climb(false);
    for (let i = 0; i < 10; i++) expect(climb.fails(ACTIVE_TRY, "CERTIFICATE_REVOKED", "verdict")).toEqual([]);
    expect(climb.ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
  });

  it("is left by a fleet one by one: of a hundred devices no more than ten within a minute", () => {
    const minutes = Array.from({ length: 100 }, (_, index) => {
      const [tookMs] = new Climb(true, index / 100).failsUntil(ACTIVE_TRY, "NOT_AUTHORIZED", "refusal", ACTIVE, 1_000);
      return Math.floor(tookMs / MINUTE_MS);
    });
    expect(Math.min(...minutes)).toBeGreaterThanOrEqual(3);
    const busiest = Math.max(...minutes.map((minute) => minutes.filter((other) => other === minute).length));
    expect(busiest).toBeLessThanOrEqual(10);
  });
});

describe("A pending identity", () => {
  it("is shown first, and dropped when it is refused for itself", () => {
    const climb = new Climb();
    expect(climb.ladder.next(BOTH)).toEqual(PENDING_TRY);
    expect(climb.fails(PENDING_TRY, "CERTIFICATE_CA_UNKNOWN", "refusal", BOTH)).toEqual([
      { type: "drop-pending", reason: because("CERTIFICATE_CA_UNKNOWN") },
    ]);
    expect(climb.ladder.rung).toBe("mtls");
    expect(climb.ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
  });

  it("that failed lets the active one tell whether that was the network's fault", () => {
    const climb = new Climb();
    climb.fails(PENDING_TRY, "CONNECTION_CLOSED", "none", BOTH);
    expect(climb.ladder.next(BOTH)).toEqual(ACTIVE_TRY);
    expect(climb.fails(ACTIVE_TRY, "CONNECTION_REFUSED", "none", BOTH)).toEqual([]);
    expect(climb.ladder.next(BOTH)).toEqual(ACTIVE_TRY);
    expect(climb.ladder.accepted(ACTIVE_TRY)).toEqual([{ type: "count-failed-proof", reason: because("CONNECTION_CLOSED") }]);
    expect(climb.ladder.next(BOTH)).toEqual(PENDING_TRY);
  });

  it("is not dropped for a plain refusal: the broker may not know of it yet", () => {
    const climb = Climb.down();
    expect(climb.fails(PENDING_TRY, "NOT_AUTHORIZED", "refusal", BOTH)).toEqual([]);
    expect(climb.ladder.next(BOTH)).toEqual(PENDING_TRY);
  });

  it("that recovery brought leads back to mutual TLS", () => {
    const { ladder } = Climb.down();
    expect(ladder.accepted(PSK_TRY)).toEqual([]);
    expect(ladder.next(BOTH)).toEqual(PENDING_TRY);
    expect(ladder.accepted(PENDING_TRY)).toEqual([]);
    expect(ladder.rung).toBe("mtls");
  });

  it("that keeps failing during recovery has the pre-shared key asked again, and is then dropped", () => {
    const climb = Climb.down();
    for (let i = 0; i < 5; i++) {
      expect(climb.ladder.next(BOTH)).toEqual(PENDING_TRY);
      climb.fails(PENDING_TRY, "CONNECTION_CLOSED", "none", BOTH);
    }
    expect(climb.ladder.next(BOTH)).toEqual(PSK_TRY);
    expect(climb.ladder.accepted(PSK_TRY)).toEqual([{ type: "drop-pending", reason: because("CONNECTION_CLOSED") }]);
  });

  it("is shown rather than nothing when it is doubted, and for as long as it is all there is", () => {
    const climb = new Climb(false);
    climb.fails(PENDING_TRY, "CONNECTION_CLOSED", "none", BOTH);
    expect(climb.ladder.next({ active: false, pending: true })).toEqual(PENDING_TRY);
    const alone = new Climb();
    for (let i = 0; i < 20; i++) {
      expect(alone.fails(PENDING_TRY, "CONNECTION_RESET", "none", { active: false, pending: true })).toEqual([]);
      expect(alone.ladder.next({ active: false, pending: true })).toEqual(PENDING_TRY);
    }
  });
});

describe("A new certificate of before the recovery", () => {
  /** Shut out between the issuing of the new certificate and its proof: both are refused alike. */
  function shutOutInRotation(): Climb {
    const climb = new Climb();
    climb.fails(PENDING_TRY, "NOT_AUTHORIZED", "refusal", BOTH);
    expect(climb.failsUntil(ACTIVE_TRY, "NOT_AUTHORIZED", "refusal", BOTH)[1]).toEqual([changed("mtls", "psk", "NOT_AUTHORIZED")]);
    return climb;
  }

  it("is given up when it is refused as well, and PSK asks for another", () => {
    const climb = shutOutInRotation();
    expect(climb.ladder.next(BOTH)).toEqual(PENDING_TRY);
    expect(climb.fails(PENDING_TRY, "NOT_AUTHORIZED", "refusal", BOTH)).toEqual([
      { type: "drop-pending", reason: because("NOT_AUTHORIZED") },
    ]);
    expect(climb.ladder.next(ACTIVE)).toEqual(PSK_TRY);
  });

  it("is kept while only the network is against it", () => {
    const climb = shutOutInRotation();
    expect(climb.fails(PENDING_TRY, "CONNECT_TIMEOUT", "none", BOTH)).toEqual([]);
    expect(climb.ladder.next(BOTH)).toEqual(PENDING_TRY);
  });
});

describe("A new certificate that changed nothing", () => {
  const STOPPED: LadderEffect[] = [
    { type: "stop-enrolling", reason: because("NOT_AUTHORIZED"), retryMs: 25 * MINUTE_MS },
    changed("psk", "mtls", "NOT_AUTHORIZED"),
  ];

  it("ends the enrolling, and both certificates are shown in turns", () => {
    const climb = Climb.down();
    expect(climb.failsUntil(PENDING_TRY, "NOT_AUTHORIZED", "refusal", BOTH)).toEqual([180_000, STOPPED]);
    const shown = Array.from({ length: 6 }, () => {
      const attempt = climb.ladder.next(BOTH)!;
      expect(climb.fails(attempt, "NOT_AUTHORIZED", "refusal", BOTH)).toEqual([]);
      climb.nowMs += 4 * MINUTE_MS;
      return attempt;
    });
    expect(shown).toEqual([ACTIVE_TRY, PENDING_TRY, ACTIVE_TRY, PENDING_TRY, ACTIVE_TRY, PENDING_TRY]);
  });

  it("is replaced at once when neither can be accepted any more: lost, or revoked", () => {
    const climb = Climb.down();
    climb.failsUntil(PENDING_TRY, "NOT_AUTHORIZED", "refusal", BOTH);
    expect(climb.fails(ACTIVE_TRY, "KEY_MISSING", "certain", BOTH)).toEqual([]);
    expect(climb.fails(PENDING_TRY, "NOT_AUTHORIZED", "refusal", BOTH)).toEqual([]);
    expect(climb.fails(ACTIVE_TRY, "KEY_MISSING", "certain", BOTH)).toEqual([]);
    const effects = climb.fails(PENDING_TRY, "CERTIFICATE_REVOKED", "verdict", BOTH);
    expect(effects).toEqual([
      { type: "drop-pending", reason: because("CERTIFICATE_REVOKED") },
      changed("mtls", "psk", "CERTIFICATE_REVOKED"),
    ]);
    expect(climb.ladder.next(ACTIVE)).toEqual(PSK_TRY);
  });

  it("is replaced by another one after 20 to 30 minutes, and twice as late each time, at most 11 to 16 hours", () => {
    const climb = Climb.down();
    const waits = Array.from({ length: 7 }, () => {
      climb.ladder.accepted(PSK_TRY);
      climb.failsUntil(PENDING_TRY, "NOT_AUTHORIZED", "refusal", BOTH);
      const [tookMs, effects] = climb.failsUntil(ACTIVE_TRY, "NOT_AUTHORIZED", "refusal", BOTH);
      expect(effects).toEqual([{ type: "drop-pending", reason: because("NOT_AUTHORIZED") }, changed("mtls", "psk", "NOT_AUTHORIZED")]);
      return tookMs / MINUTE_MS;
    });
    expect(waits).toEqual([25, 50, 100, 200, 400, 800, 800]);
    expect(climb.ladder.accepted(ACTIVE_TRY)).toEqual([]);
  });

  it("is replaced by another one as soon where the old one is lost", () => {
    const climb = Climb.down();
    climb.failsUntil(PENDING_TRY, "CERTIFICATE_REJECTED", "refusal", BOTH);
    climb.nowMs += 26 * MINUTE_MS;
    expect(climb.fails(PENDING_TRY, "CERTIFICATE_REJECTED", "refusal", BOTH)).toEqual([]);
    expect(climb.fails(ACTIVE_TRY, "KEY_MISSING", "certain", BOTH)).toEqual([
      { type: "drop-pending", reason: because("KEY_MISSING") },
      changed("mtls", "psk", "KEY_MISSING"),
    ]);
  });

  it("is all there is on a device that had none: it stays in use", () => {
    const onlyPending = { active: false, pending: true };
    const climb = Climb.down("CERTIFICATE_REQUIRED", NOTHING);
    expect(climb.failsUntil(PENDING_TRY, "NOT_AUTHORIZED", "refusal", onlyPending)[1]).toEqual(STOPPED);
    expect(climb.ladder.next(onlyPending)).toEqual(PENDING_TRY);
    expect(climb.failsUntil(PENDING_TRY, "NOT_AUTHORIZED", "refusal", onlyPending)[0]).toBe(25 * MINUTE_MS);
  });

  it("is forgotten as soon as mutual TLS works", () => {
    const climb = Climb.down();
    climb.failsUntil(PENDING_TRY, "NOT_AUTHORIZED", "refusal", BOTH);
    expect(climb.ladder.accepted(ACTIVE_TRY)).toEqual([{ type: "count-failed-proof", reason: because("NOT_AUTHORIZED") }]);
    expect(climb.fails(ACTIVE_TRY, "KEY_MISSING", "certain")).toEqual([changed("mtls", "psk", "KEY_MISSING")]);
  });

  it("three times, revoked each time, ends the enrolling as well", () => {
    const climb = Climb.down("CERTIFICATE_REVOKED");
    for (let i = 0; i < 3; i++)
      expect(climb.fails(PENDING_TRY, "CERTIFICATE_REVOKED", "verdict", BOTH)).toMatchObject([{ type: "drop-pending" }]);
    expect(climb.fails(PENDING_TRY, "CERTIFICATE_REVOKED", "verdict", BOTH)).toMatchObject([
      { type: "stop-enrolling" },
      { type: "credential-changed", to: "mtls" },
    ]);
  });
});

describe("A recovery", () => {
  it("tries the certificate once more when PSK is refused as well, or stays out of reach", () => {
    const refused = Climb.down();
    expect(refused.fails(PSK_TRY, "PSK_REJECTED", "none")).toHaveLength(1);
    expect(refused.ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
    const unreachable = Climb.down();
    expect([1, 2, 3].map(() => unreachable.fails(PSK_TRY, "CONNECT_TIMEOUT", "none").length)).toEqual([0, 0, 1]);
    expect(unreachable.ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
  });

  it("without an answer shows the certificate again after two to four minutes, and later each time", () => {
    const climb = Climb.down();
    const waits = Array.from({ length: 8 }, () => {
      const delayMs = climb.ladder.showAgainMs;
      expect(climb.ladder.showAgain(because("RECOVERY_STALLED"), ACTIVE)).toEqual([changed("psk", "mtls", "RECOVERY_STALLED")]);
      expect(climb.ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
      // Refused again: there is no need to wait for minutes a second time.
      expect(climb.fails(ACTIVE_TRY, "NOT_AUTHORIZED", "refusal")).toEqual([changed("mtls", "psk", "NOT_AUTHORIZED")]);
      return delayMs / MINUTE_MS;
    });
    expect(waits).toEqual([3, 6, 12, 24, 48, 90, 90, 90]);
  });

  it("has nothing to show again on a device without a certificate, and keeps to PSK", () => {
    const climb = Climb.down("CERTIFICATE_REQUIRED", NOTHING);
    expect(climb.ladder.showAgain(because("RECOVERY_STALLED"), NOTHING)).toEqual([]);
    for (let i = 0; i < 10; i++) expect(climb.fails(PSK_TRY, "PSK_REJECTED", "none", NOTHING)).toEqual([]);
    expect(climb.ladder.next(NOTHING)).toEqual(PSK_TRY);
  });

  it("is not possible on a device that has nothing at all", () => {
    expect(new Climb(false).ladder.next(NOTHING)).toBeUndefined();
  });

  it("counts its own failures, not those of one before", () => {
    const climb = Climb.down();
    for (const count of [1, 2]) expect(climb.fails(PSK_TRY, "DNS_FAILED", "none"), `failure ${count}`).toEqual([]);
    climb.ladder.accepted(PSK_TRY);
    for (const count of [1, 2]) expect(climb.fails(PSK_TRY, "DNS_FAILED", "none"), `failure ${count}`).toEqual([]);
    expect(climb.fails(PSK_TRY, "DNS_FAILED", "none")).toHaveLength(1);
  });
});

describe("In every history of failures", () => {
  const KINDS: readonly (Evidence | "accepted")[] = ["certain", "verdict", "refusal", "suspicion", "none", "accepted"];

  it("PSK is reached only through evidence against the certificate", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...KINDS), fc.nat(20 * MINUTE_MS)), { maxLength: 80 }), (history) => {
        const climb = new Climb();
        let holdings: Holdings = { ...BOTH };
        for (const [what, passedMs] of history) {
          climb.nowMs += passedMs;
          const attempt = climb.ladder.next(holdings);
          if (!attempt) break;
          const effects = what === "accepted" ? climb.ladder.accepted(attempt) : climb.fails(attempt, "CONNECTION_RESET", what, holdings);
          for (const effect of effects) {
            if (effect.type === "credential-changed" && effect.to === "psk") expect(what).not.toBe("none");
            if (effect.type === "drop-pending") holdings = { ...holdings, pending: false };
          }
        }
      }),
    );
  });
});
