import { describe, expect, it } from "vitest";
import { HawserError } from "../../sdk/errors.js";
import { linkFailure, localFailure } from "./tls-failure.js";

const context = { address: "broker.example:8883", shown: "certificate" as const, opened: false, isServerProved: false };

function systemError(code: string, syscall: string): Error {
  return Object.assign(new Error(`${syscall} ${code}`), { code, syscall });
}

function coded(code: string, message = "what Node says"): Error {
  return Object.assign(new Error(message), { code });
}

describe("what Node says of a failed link", () => {
  it.each([
    ["ENOTFOUND", "getaddrinfo", "DNS_FAILED"],
    ["EAI_AGAIN", "getaddrinfo", "DNS_FAILED"],
    ["EAI_FAIL", "getaddrinfo", "DNS_FAILED"],
    ["ENODATA", "queryA", "DNS_FAILED"],
    ["ECONNREFUSED", "connect", "CONNECTION_REFUSED"],
    ["EHOSTUNREACH", "connect", "HOST_UNREACHABLE"],
    ["ENETUNREACH", "connect", "HOST_UNREACHABLE"],
    ["EADDRNOTAVAIL", "connect", "HOST_UNREACHABLE"],
    ["EMFILE", "connect", "HOST_UNREACHABLE"],
    ["ETIMEDOUT", "connect", "CONNECT_TIMEOUT"],
    ["ETIMEDOUT", "read", "CONNECTION_RESET"],
    ["ECONNRESET", "read", "CONNECTION_RESET"],
    ["EPIPE", "write", "CONNECTION_RESET"],
  ])("%s of %s is %s, a fault of the network", (code, syscall, expected) => {
    const found = linkFailure(systemError(code, syscall), context);
    expect(found).toMatchObject({ code: expected, class: "network" });
    expect(found.message).toContain("broker.example:8883");
    expect(found.message).toContain(code);
  });

  it.each([
    ["CERT_HAS_EXPIRED", "SERVER_CERTIFICATE_EXPIRED"],
    ["CERT_NOT_YET_VALID", "SERVER_CERTIFICATE_NOT_YET_VALID"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SERVER_CA_UNKNOWN"],
    ["SELF_SIGNED_CERT_IN_CHAIN", "SERVER_CA_UNKNOWN"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "SERVER_CA_UNKNOWN"],
    ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "SERVER_CA_UNKNOWN"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "SERVER_NAME_MISMATCH"],
    ["INVALID_PURPOSE", "SERVER_CERTIFICATE_INVALID"],
    ["CERT_SIGNATURE_FAILURE", "SERVER_CA_UNKNOWN"],
  ])("%s is %s, never a network fault and never ours", (code, expected) => {
    expect(linkFailure(coded(code), context)).toMatchObject({ code: expected, class: "server-trust" });
  });

  it("of several addresses, the one that answered tells most", () => {
    const refused = systemError("ECONNREFUSED", "connect");
    const unreachable = systemError("ENETUNREACH", "connect");
    const late = systemError("ETIMEDOUT", "connect");
    expect(linkFailure(new AggregateError([unreachable, late, refused]), context).code).toBe("CONNECTION_REFUSED");
    expect(linkFailure(new AggregateError([unreachable, late]), context).code).toBe("CONNECT_TIMEOUT");
    expect(linkFailure(new AggregateError([unreachable]), context).code).toBe("HOST_UNREACHABLE");
  });

  it("reads alerts by number, whatever name OpenSSL gives them, and by what was shown", () => {
    const alerts = [
      coded(
        "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
        "80CC:error:0A000410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:rec_layer_s3.c:1601:SSL alert number 40\n",
      ),
      coded(
        "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE",
        "C0AC:error:0A000410:SSL routines:ssl3_read_bytes:ssl/tls alert handshake failure:rec_layer_s3.c:918:SSL alert number 40\n",
      ),
      coded("ERR_SSL_SOMETHING_ELSE", "00:error:0A000410:SSL routines::words of a later OpenSSL"),
    ];
    for (const alert of alerts) {
      expect(linkFailure(alert, context)).toMatchObject({ code: "TLS_FAILED", class: "network", alert: 40 });
      expect(linkFailure(alert, { ...context, shown: "psk" })).toMatchObject({ code: "PSK_REJECTED", class: "credential", alert: 40 });
      expect(linkFailure(alert, { ...context, shown: "no-certificate" })).toMatchObject({ code: "CERTIFICATE_REQUIRED", alert: 40 });
    }
    for (const other of [
      "error:0A0001BB:SSL routines::bad record type",
      "error:06000410:public key routines::SSL alert number 45",
      "a message with 0A000415",
    ]) {
      expect(linkFailure(coded("ERR_SSL", other), context).alert).toBeUndefined();
    }
  });

  it("never takes what it does not know for a fault of the credential", () => {
    for (const error of [coded("ERR_SSL_WRONG_VERSION_NUMBER"), new Error("odd"), "odd", undefined, new AggregateError([])]) {
      expect(linkFailure(error, context)).toMatchObject({ code: "TLS_FAILED", class: "network" });
    }
  });

  it("stays on one line of bounded length", () => {
    const { message } = linkFailure(coded("ODD", `first\nsecond ${"x".repeat(1_000)}`), context);
    expect(message).not.toContain("\n");
    expect(message.length).toBeLessThan(400);
  });
});

describe("what was thrown before dialling", () => {
  it("keeps the codes that are failures, and no others", () => {
    expect(localFailure(new HawserError("KEY_MISSING", "no key"), context)).toMatchObject({
      code: "KEY_MISSING",
      class: "credential",
      message: "no key",
    });
    expect(localFailure(new HawserError("STORAGE_FAILED", "disk"), context)).toMatchObject({
      code: "TLS_FAILED",
      class: "network",
      message: "disk",
    });
    expect(localFailure(coded("ERR_SOCKET_BAD_PORT"), context).code).toBe("HOST_UNREACHABLE");
    expect(localFailure(new Error("odd"), context).code).toBe("TLS_FAILED");
  });
});
