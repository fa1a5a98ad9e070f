import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { failure, type FailureCode } from "../failure.js";
import { CredentialLadder, type Attempt } from "./credential-ladder.js";

const BOTH = { active: true, pending: true };
const ACTIVE = { active: true, pending: false };
const ACTIVE_TRY: Attempt = { rung: "mtls", identity: "active" };
const PENDING_TRY: Attempt = { rung: "mtls", identity: "pending" };
const PSK_TRY: Attempt = { rung: "psk" };
const because = (code: FailureCode): ReturnType<typeof failure> => failure(code, "in a test");

const NETWORK: FailureCode[] = ["DNS_FAILED", "CONNECTION_REFUSED", "CONNECT_TIMEOUT", "CONNECTION_RESET", "CONNECTION_CLOSED", "KEEPALIVE_TIMEOUT", "TLS_FAILED"];
const OTHERS: FailureCode[] = ["SERVER_CA_UNKNOWN", "SERVER_NAME_MISMATCH", "SERVER_CERTIFICATE_EXPIRED", "SERVER_BUSY", "PROTOCOL_ERROR", "SESSION_TAKEN_OVER", "BAD_USERNAME_OR_PASSWORD", "BANNED"];
const REFUSALS: FailureCode[] = ["CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "CERTIFICATE_CA_UNKNOWN", "CERTIFICATE_REQUIRED", "CERTIFICATE_REJECTED", "KEY_MISSING", "KEY_MISMATCH", "NOT_AUTHORIZED"];

describe("CredentialLadder", () => {
  it.each(REFUSALS)("goes down to PSK when the certificate is refused: %s", (code) => {
    const ladder = new CredentialLadder(true);
    expect(ladder.failed(ACTIVE_TRY, because(code), ACTIVE)).toEqual([{ type: "rung-changed", from: "mtls", to: "psk", reason: because(code) }]);
    expect(ladder.next(ACTIVE)).toEqual(PSK_TRY);
  });

  it.each([...NETWORK, ...OTHERS])("stays on mutual TLS for %s, however often", (code) => {
    const ladder = new CredentialLadder(true);
    for (let i = 0; i < 100; i++) {
      expect(ladder.failed(ACTIVE_TRY, because(code), ACTIVE)).toEqual([]);
      expect(ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
    }
  });

  it("never goes to PSK where no recovery is configured", () => {
    const ladder = new CredentialLadder(false);
    expect(ladder.failed(ACTIVE_TRY, because("CERTIFICATE_REVOKED"), ACTIVE)).toEqual([]);
    expect(ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
  });

  it("shows a pending identity first, and drops it when it is refused", () => {
    const ladder = new CredentialLadder(true);
    expect(ladder.next(BOTH)).toEqual(PENDING_TRY);
    expect(ladder.failed(PENDING_TRY, because("CERTIFICATE_CA_UNKNOWN"), BOTH)).toEqual([{ type: "drop-pending", reason: because("CERTIFICATE_CA_UNKNOWN") }]);
    expect(ladder.rung).toBe("mtls");
    expect(ladder.next(ACTIVE)).toEqual(ACTIVE_TRY);
  });

  it("lets the active identity tell whether a failed proof was the network's fault", () => {
    const ladder = new CredentialLadder(true);
    ladder.failed(PENDING_TRY, because("CONNECTION_CLOSED"), BOTH);
    expect(ladder.next(BOTH)).toEqual(ACTIVE_TRY);
    expect(ladder.failed(ACTIVE_TRY, because("CONNECTION_REFUSED"), BOTH)).toEqual([]);
    expect(ladder.next(BOTH)).toEqual(ACTIVE_TRY);
    expect(ladder.accepted(ACTIVE_TRY)).toEqual([{ type: "count-failed-proof", reason: because("CONNECTION_CLOSED") }]);
    expect(ladder.next(BOTH)).toEqual(PENDING_TRY);
  });

  it("does not drop a pending identity for a plain refusal: the broker may not know of it yet", () => {
    const ladder = new CredentialLadder(true);
    ladder.failed(ACTIVE_TRY, because("CERTIFICATE_REVOKED"), ACTIVE);
    expect(ladder.failed(PENDING_TRY, because("NOT_AUTHORIZED"), BOTH)).toEqual([]);
    expect(ladder.next(BOTH)).toEqual(PENDING_TRY);
  });

  it("comes back to mutual TLS with the certificate that recovery brought", () => {
    const ladder = new CredentialLadder(true);
    ladder.failed(ACTIVE_TRY, because("CERTIFICATE_REVOKED"), ACTIVE);
    expect(ladder.accepted(PSK_TRY)).toEqual([]);
    expect(ladder.next(BOTH)).toEqual(PENDING_TRY);
    expect(ladder.accepted(PENDING_TRY)).toEqual([]);
    expect(ladder.rung).toBe("mtls");
  });

  it("tries the certificate once more when PSK is refused as well, or recovery stays out of reach", () => {
    const refused = new CredentialLadder(true);
    refused.failed(ACTIVE_TRY, because("CERTIFICATE_REVOKED"), ACTIVE);
    expect(refused.failed(PSK_TRY, because("PSK_REJECTED"), ACTIVE)).toHaveLength(1);
    expect(refused.next(ACTIVE)).toEqual(ACTIVE_TRY);

    const unreachable = new CredentialLadder(true);
    unreachable.failed(ACTIVE_TRY, because("CERTIFICATE_EXPIRED"), ACTIVE);
    const effects = [1, 2, 3].map(() => unreachable.failed(PSK_TRY, because("CONNECT_TIMEOUT"), ACTIVE).length);
    expect(effects).toEqual([0, 0, 1]);
    expect(unreachable.next(ACTIVE)).toEqual(ACTIVE_TRY);
  });

  it("asks the pre-shared key again when a new certificate keeps failing during recovery, and then drops it", () => {
    const ladder = new CredentialLadder(true);
    ladder.failed(ACTIVE_TRY, because("KEY_MISSING"), ACTIVE);
    for (let i = 0; i < 5; i++) {
      expect(ladder.next(BOTH)).toEqual(PENDING_TRY);
      ladder.failed(PENDING_TRY, because("CONNECTION_CLOSED"), BOTH);
    }
    expect(ladder.next(BOTH)).toEqual(PSK_TRY);
    expect(ladder.accepted(PSK_TRY)).toEqual([{ type: "drop-pending", reason: because("CONNECTION_CLOSED") }]);
  });

  it("has nothing to show when the device holds nothing and cannot recover", () => {
    const nothing = { active: false, pending: false };
    expect(new CredentialLadder(false).next(nothing)).toBeUndefined();
    const ladder = new CredentialLadder(true);
    ladder.failed(ACTIVE_TRY, because("CERTIFICATE_REQUIRED"), nothing);
    expect(ladder.next(nothing)).toEqual(PSK_TRY);
  });

  it("shows a doubted identity rather than nothing", () => {
    const ladder = new CredentialLadder(false);
    ladder.failed(PENDING_TRY, because("CONNECTION_CLOSED"), BOTH);
    expect(ladder.next({ active: false, pending: true })).toEqual(PENDING_TRY);
  });

  it("stays where it is while a proof that may have failed for the network's sake is all there is", () => {
    const ladder = new CredentialLadder(true);
    for (let i = 0; i < 20; i++) {
      expect(ladder.failed(PENDING_TRY, because("CONNECTION_RESET"), { active: false, pending: true })).toEqual([]);
      expect(ladder.next({ active: false, pending: true })).toEqual(PENDING_TRY);
    }
  });

  it("keeps to PSK when that is refused and there is no certificate to go back to", () => {
    const nothing = { active: false, pending: false };
    const ladder = new CredentialLadder(true);
    ladder.failed(ACTIVE_TRY, because("CERTIFICATE_REQUIRED"), nothing);
    for (let i = 0; i < 10; i++) expect(ladder.failed(PSK_TRY, because("PSK_REJECTED"), nothing)).toEqual([]);
    expect(ladder.next(nothing)).toEqual(PSK_TRY);
  });

  it("counts the failures of one recovery, not of those before", () => {
    const ladder = new CredentialLadder(true);
    ladder.failed(ACTIVE_TRY, because("CERTIFICATE_EXPIRED"), ACTIVE);
    for (const count of [1, 2]) expect(ladder.failed(PSK_TRY, because("DNS_FAILED"), ACTIVE), `failure ${count}`).toEqual([]);
    ladder.accepted(PSK_TRY);
    for (const count of [1, 2]) expect(ladder.failed(PSK_TRY, because("DNS_FAILED"), ACTIVE), `failure ${count}`).toEqual([]);
    expect(ladder.failed(PSK_TRY, because("DNS_FAILED"), ACTIVE)).toHaveLength(1);
  });

  it("reaches PSK only through a refusal, in every history of failures", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...NETWORK, ...OTHERS, ...REFUSALS, "OK" as const), { maxLength: 60 }), (history) => {
        const ladder = new CredentialLadder(true);
        let holdings = { ...BOTH };
        for (const what of history) {
          const attempt = ladder.next(holdings);
          if (!attempt) break;
          const effects = what === "OK" ? ladder.accepted(attempt) : ladder.failed(attempt, because(what), holdings);
          for (const effect of effects) {
            if (effect.type === "rung-changed" && effect.to === "psk") expect(REFUSALS).toContain(effect.reason.code);
            if (effect.type === "drop-pending") holdings = { ...holdings, pending: false };
          }
        }
      }),
    );
  });
});
