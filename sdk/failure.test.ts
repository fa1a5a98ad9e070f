import { describe, expect, it } from "vitest";
import { alertFailure, failure, type FailureCode, type Shown } from "./failure.js";

describe("failure", () => {
  it("knows its class by its code, and keeps what the peer said", () => {
    expect(failure("SERVER_BUSY", "busy", { reasonCode: 0x89 })).toEqual({
      code: "SERVER_BUSY",
      class: "broker",
      message: "busy",
      reasonCode: 0x89,
    });
    const classes = (["DNS_FAILED", "SERVER_CA_UNKNOWN", "KEY_MISSING", "PROTOCOL_ERROR", "STORAGE_FAILED"] as const).map(
      (code) => failure(code, "").class,
    );
    expect(classes).toEqual(["network", "server-trust", "credential", "protocol", "local"]);
  });
});

describe("The failure behind a TLS alert", () => {
  it.each<[number, FailureCode]>([
    [41, "CERTIFICATE_REQUIRED"],
    [42, "CERTIFICATE_REJECTED"],
    [43, "CERTIFICATE_REJECTED"],
    [44, "CERTIFICATE_REVOKED"],
    [45, "CERTIFICATE_EXPIRED"],
    [46, "CERTIFICATE_REJECTED"],
    [48, "CERTIFICATE_CA_UNKNOWN"],
    [49, "CERTIFICATE_REJECTED"],
    [116, "CERTIFICATE_REQUIRED"],
  ])("%i speaks of the certificate that was shown: %s", (alert, code) => {
    expect(alertFailure(alert, "certificate", true)).toMatchObject({ code, class: "credential", alert });
  });

  it.each([20, 40, 47, 49, 51, 115])("%i speaks of the pre-shared key that was shown", (alert) => {
    expect(alertFailure(alert, "psk", false)).toMatchObject({ code: "PSK_REJECTED", class: "credential", alert });
  });

  it("40 asks for a certificate where none was shown, and says nothing where one was", () => {
    expect(alertFailure(40, "no-certificate", false).code).toBe("CERTIFICATE_REQUIRED");
    expect(alertFailure(40, "certificate", true).code).toBe("TLS_FAILED");
  });

  it("that says nothing of the credential shown is a network fault, so that it can never lead to PSK", () => {
    const speaks: Record<Shown, number[]> = {
      certificate: [41, 42, 43, 44, 45, 46, 48, 49, 116],
      "no-certificate": [40, 41, 42, 43, 44, 45, 46, 48, 49, 116],
      psk: [20, 40, 47, 49, 51, 115],
    };
    for (const shown of ["certificate", "no-certificate", "psk"] as const) {
      for (let alert = 0; alert < 256; alert++) {
        const isCredential = alertFailure(alert, shown, true).class === "credential";
        expect(isCredential, `${alert} with ${shown}`).toBe(speaks[shown].includes(alert));
      }
    }
  });

  it("is named for people", () => {
    expect(alertFailure(44, "certificate", true).message).toBe("the server ended TLS with alert 44 (certificate_revoked)");
    expect(alertFailure(200, "certificate", true).message).toContain("200 (unknown)");
  });

  it("that nobody vouches for says nothing of a certificate: anybody on the way can send one, as in the handshake of TLS 1.2", () => {
    for (let alert = 0; alert < 256; alert++)
      expect(alertFailure(alert, "certificate", false)).toMatchObject({ code: "TLS_FAILED", class: "network", alert });
    expect(alertFailure(44, "certificate", false).message).toContain("anyone on the network path could have sent");
    expect(alertFailure(40, "certificate", false).message).not.toContain("anybody");
  });
});
