import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { certificateAnswer, MAX_REQUEST_BYTES, readMessage, refusalAnswer } from "./enrolment-messages.js";
import { readAnswer } from "../../sdk/identity/enrolment.js";

const utf8 = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const requestId = "0123456789abcdef0123456789abcdef";
const good = { v: 1, type: "enrol", requestId, csr: Buffer.from([0x30, 0x01, 0x02]).toString("base64") };

describe("readMessage", () => {
  test("reads an enrolment request", () => {
    expect(readMessage(utf8(good))).toEqual({ type: "enrol", requestId, csr: Buffer.from([0x30, 0x01, 0x02]) });
  });

  test("reads a report of the active certificate", () => {
    expect(readMessage(utf8({ v: 1, type: "active", serial: "4f00ab" }))).toEqual({ type: "active", serial: "4f00ab" });
  });

  test("overlooks members it does not know", () => {
    expect(readMessage(utf8({ ...good, battery: 3.6 })).type).toBe("enrol");
  });

  test.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["an array", "[]"],
    ["null", "null"],
    ["another version", { ...good, v: 2 }],
    ["another type", { ...good, type: "hello" }],
    ["no request id", { ...good, requestId: undefined }],
    ["a request id in upper case", { ...good, requestId: requestId.toUpperCase() }],
    ["a short request id", { ...good, requestId: "00" }],
    ["no csr", { ...good, csr: undefined }],
    ["an empty csr", { ...good, csr: "" }],
    ["base64 without padding", { ...good, csr: "MAE" }],
    ["base64url", { ...good, csr: "_-8=" }],
    ["base64 with a line break", { ...good, csr: "MAE=\n" }],
    ["a csr larger than any of a device", { ...good, csr: Buffer.alloc(2049).toString("base64") }],
    ["a serial with leading zeros", { v: 1, type: "active", serial: "04" }],
    ["a serial longer than 20 octets", { v: 1, type: "active", serial: "a".repeat(41) }],
  ])("refuses %s", (_what, value) => {
    expect(readMessage(utf8(value)).type).toBe("unreadable");
  });

  test("refuses bytes that are no UTF-8, and more bytes than allowed", () => {
    expect(readMessage(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)).type).toBe("unreadable");
    expect(readMessage(utf8(JSON.stringify(good) + " ".repeat(MAX_REQUEST_BYTES))).type).toBe("unreadable");
  });

  test("keeps the request id of a bad request, so that the device gets an answer", () => {
    expect(readMessage(utf8({ ...good, csr: "no" }))).toMatchObject({ type: "unreadable", requestId });
  });

  test("never throws, whatever bytes come", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(["enrol", "active", "in-use", "unreadable"]).toContain(readMessage(bytes).type);
      }),
    );
  });

  test("never throws, whatever JSON comes, and lets nothing through but well-formed fields", () => {
    const fields = {
      v: fc.constantFrom(1, 2, "1", null),
      type: fc.constantFrom("enrol", "active", 1),
      requestId: fc.oneof(fc.constant(requestId), fc.jsonValue()),
      csr: fc.oneof(fc.base64String(), fc.jsonValue()),
    };
    fc.assert(
      fc.property(fc.record({ ...fields, serial: fc.oneof(fc.constant("4f"), fc.jsonValue()) }, { requiredKeys: [] }), (value) => {
        const message = readMessage(utf8(value));
        if (message.type === "enrol") expect(Buffer.from(message.csr).toString("base64")).toBe(value.csr);
        if (message.type === "active") expect(message.serial).toMatch(/^[1-9a-f][0-9a-f]*$/);
      }),
    );
  });

  test("is not moved by deep nesting", () => {
    expect(readMessage(utf8("[".repeat(MAX_REQUEST_BYTES))).type).toBe("unreadable");
  });
});

describe("answers", () => {
  test("are what the device reads", () => {
    const chain = [Uint8Array.of(1, 2, 3), Uint8Array.of(4)];
    expect(readAnswer(certificateAnswer(requestId, { chain }))).toEqual({ requestId, chain });
    const refusal = { code: "RATE_LIMITED", message: "too many", retryAfterSeconds: 60 } as const;
    expect(readAnswer(refusalAnswer(requestId, refusal.code, refusal.message, refusal.retryAfterSeconds))).toEqual({
      requestId,
      error: refusal,
    });
  });
});
