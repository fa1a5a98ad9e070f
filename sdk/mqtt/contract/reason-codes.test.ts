import { describe, expect, test } from "vitest";
import { connackFailure, disconnectFailure, reasonErrorCode, reasonName, shownText } from "./reason-codes.js";

describe("the table of reason codes", () => {
  test("has every code of MQTT 5.0, table 2-6, that means a failure", () => {
    const codes = [...Array.from({ length: 0xa3 - 0x80 }, (_, n) => 0x80 + n)];
    for (const code of codes) expect(reasonName(code)).not.toMatch(/^reason code/);
    expect(reasonName(0xee)).toBe("reason code 0xee");
  });

  test.each([
    [0x86, "credential"],
    [0x87, "credential"],
    [0x85, "credential"],
    [0x8a, "credential"],
    [0x8c, "credential"],
    [0x88, "broker"],
    [0x89, "broker"],
    [0x97, "broker"],
    [0x9c, "broker"],
    [0x9d, "broker"],
    [0x9f, "broker"],
    [0x84, "protocol"],
    [0x81, "protocol"],
    [0x95, "protocol"],
    [0x9a, "protocol"],
  ])("CONNACK 0x%s belongs to the class %s", (code, expected) => {
    expect(connackFailure(code, 5, false).class).toBe(expected);
  });

  test("what cannot lead to another credential does not: unknown and unspecified codes are the broker's", () => {
    for (const code of [0x80, 0x83, 0xee]) {
      expect(connackFailure(code, 5, false).class).toBe("broker");
      expect(disconnectFailure(code).class).toBe("broker");
    }
  });

  test("a DISCONNECT says what it says in every class", () => {
    expect(disconnectFailure(0x00).code).toBe("DISCONNECTED_BY_SERVER");
    expect(disconnectFailure(0x8e).code).toBe("SESSION_TAKEN_OVER");
    expect(disconnectFailure(0x8d).code).toBe("KEEPALIVE_TIMEOUT");
    expect(disconnectFailure(0x87).code).toBe("NOT_AUTHORIZED");
    expect(disconnectFailure(0x9c, { serverReference: "a:1" })).toMatchObject({ code: "USE_ANOTHER_SERVER", serverReference: "a:1" });
  });

  test("each reason means a failure that has a class", () => {
    for (let code = 0; code <= 0xff; code++) expect(disconnectFailure(code).class).toBeDefined();
    expect(disconnectFailure(0x97)).toMatchObject({ code: "QUOTA_EXCEEDED", class: "broker" });
  });

  test("an error code is the reason's name in upper case", () => {
    expect([reasonErrorCode(0x97), reasonErrorCode(0xee)]).toEqual(["QUOTA_EXCEEDED", "REFUSED_BY_BROKER"]);
  });

  test("a broker's words come on one line and cut short", () => {
    expect(shownText("a\u001b[31m\r\nb\u007f")).toBe("a [31m  b ");
    expect(shownText("x".repeat(1_000))).toBe(`${"x".repeat(120)}...`);
  });
});
