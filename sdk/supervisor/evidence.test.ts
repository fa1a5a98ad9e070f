import { describe, expect, it } from "vitest";
import { alertFailure, failure, type Failure, type FailureCode } from "../failure.js";
import { judge, type Circumstances, type Evidence } from "./evidence.js";

const NOW_MS = Date.UTC(2026, 5, 1);
const certificate = {
  serial: "4f",
  commonName: "sensor-1",
  notBeforeMs: NOW_MS - 1_000_000,
  notAfterMs: NOW_MS + 1_000_000,
  publicKey: new Uint8Array(),
};
const ENDED = { nowMs: () => NOW_MS + 2_000_000, provedMs: () => NOW_MS + 2_000_000 };
const ENDED_BY_CLOCK = { nowMs: () => NOW_MS + 2_000_000, provedMs: () => NOW_MS };
const USUAL: Circumstances = {
  certificate,
  usesLogin: false,
  wasInUse: false,
  isServerProved: true,
  time: { nowMs: () => NOW_MS, provedMs: () => NOW_MS },
  believeUnprotected: false,
};

const of = (code: FailureCode): Failure => failure(code, "in a test");
const protectedAlert = (alert: number): Failure => alertFailure(alert, "certificate", true);
const anybodysAlert = (alert: number): Failure => alertFailure(alert, "certificate", false);

describe("What a failure says against the certificate", () => {
  it.each<[string, Failure, Partial<Circumstances>, Evidence]>([
    ["a key that is gone", of("KEY_MISSING"), {}, "certain"],
    ["a key of another certificate", of("KEY_MISMATCH"), {}, "certain"],
    ["no certificate at all", of("CERTIFICATE_REQUIRED"), { certificate: undefined }, "certain"],
    ["a revocation by a proved broker", protectedAlert(44), {}, "verdict"],
    ["an expiry by a proved broker that this side can see", protectedAlert(45), { time: ENDED_BY_CLOCK }, "verdict"],
    ["an expiry that this side cannot see: the broker's clock may be wrong", protectedAlert(45), {}, "refusal"],
    ["an unknown CA: the broker's list may be wrong", protectedAlert(48), {}, "refusal"],
    ["a certificate not yet valid: a clock may be wrong", protectedAlert(42), {}, "refusal"],
    ["a missing certificate that was shown", protectedAlert(116), {}, "refusal"],
    ["a plain refusal: a backend may be away", of("NOT_AUTHORIZED"), {}, "refusal"],
    ["a refused password that nobody sent", of("BAD_USERNAME_OR_PASSWORD"), {}, "refusal"],
    ["a refusal of a certificate that has ended", of("NOT_AUTHORIZED"), { time: ENDED }, "verdict"],
    ["a refusal of one that has ended by a clock which may be forged", of("NOT_AUTHORIZED"), { time: ENDED_BY_CLOCK }, "refusal"],
    ["a reset where the certificate has ended", of("CONNECTION_RESET"), { time: ENDED }, "verdict"],
    ["a reset where the clock says that it has ended", of("CONNECTION_RESET"), { time: ENDED_BY_CLOCK }, "suspicion"],
    ["a reset", of("CONNECTION_RESET"), {}, "none"],
    ["an alert in the clear", anybodysAlert(44), {}, "none"],
    ["an alert in the clear where the owner chose to believe them", anybodysAlert(44), { believeUnprotected: true }, "suspicion"],
    ["an alert in the clear about something else", anybodysAlert(80), { believeUnprotected: true }, "none"],
    ["a refusal by a server whose certificate is no server's", of("NOT_AUTHORIZED"), { isServerProved: false }, "suspicion"],
    ["a revocation by such a server", protectedAlert(44), { isServerProved: false }, "suspicion"],
    ["a server of an unknown CA", of("SERVER_CA_UNKNOWN"), { time: ENDED }, "none"],
    ["a name that cannot be resolved", of("DNS_FAILED"), { time: ENDED }, "none"],
    ["a busy broker", of("SERVER_BUSY"), {}, "none"],
    ["a ban", of("BANNED"), {}, "none"],
    ["whatever ends a connection that was accepted", of("NOT_AUTHORIZED"), { wasInUse: true, time: ENDED }, "none"],
  ])("%s", (_, given, circumstances, evidence) => {
    expect(judge(given, { ...USUAL, ...circumstances }).evidence).toBe(evidence);
  });

  it.each<FailureCode>(["NOT_AUTHORIZED", "BAD_USERNAME_OR_PASSWORD", "BAD_AUTHENTICATION_METHOD"])(
    "is nothing while a login is sent, which is blamed for %s",
    (code) => {
      expect(judge(of(code), { ...USUAL, usesLogin: true })).toEqual({ reason: of(code), evidence: "none", isLoginRefused: true });
    },
  );

  it("is not the login's where the certificate was named, or has certainly ended", () => {
    expect(judge(protectedAlert(44), { ...USUAL, usesLogin: true })).toMatchObject({ evidence: "verdict", isLoginRefused: false });
    expect(judge(of("NOT_AUTHORIZED"), { ...USUAL, usesLogin: true, time: ENDED })).toMatchObject({
      reason: { code: "CERTIFICATE_EXPIRED" },
      evidence: "verdict",
      isLoginRefused: false,
    });
  });
});
