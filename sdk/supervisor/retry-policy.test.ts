import { describe, expect, it } from "vitest";
import { failure, type FailureCode } from "../failure.js";
import { minimumDelayMs } from "./retry-policy.js";

const wish = (code: FailureCode): number => minimumDelayMs(failure(code, "in a test"));

describe("minimumDelayMs", () => {
  it.each<FailureCode>(["DNS_FAILED", "CONNECTION_RESET", "TLS_FAILED", "CERTIFICATE_REVOKED", "NOT_AUTHORIZED", "CLOSED_LOCALLY"])(
    "asks for nothing after %s: the backoff alone decides",
    (code) => {
      expect(wish(code)).toBe(0);
    },
  );

  it("lets two holders of one identity not fight", () => {
    expect(wish("SESSION_TAKEN_OVER")).toBeGreaterThanOrEqual(10_000);
  });

  it("asks longer the less is gained by asking soon", () => {
    const codes: FailureCode[] = [
      "ADMINISTRATIVE_ACTION",
      "SERVER_UNAVAILABLE",
      "SERVER_BUSY",
      "CONNECTION_RATE_EXCEEDED",
      "QUOTA_EXCEEDED",
      "BANNED",
    ];
    const wishes = codes.map(wish);
    expect(wishes).toEqual([...wishes].sort((a, b) => a - b));
    expect(new Set(wishes).size).toBe(codes.length);
  });

  it("keeps a device with a wrong password off the broker's lockout", () => {
    for (const code of ["BAD_USERNAME_OR_PASSWORD", "BAD_AUTHENTICATION_METHOD", "CLIENT_ID_REJECTED", "BANNED"] as const)
      expect(wish(code)).toBeGreaterThanOrEqual(60_000);
  });
});
