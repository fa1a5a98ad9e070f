import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HawserError } from "../errors.js";
import { createPublicKey, verify } from "node:crypto";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { enrolmentMessage, MAX_MESSAGE_BYTES, newRequestId, readAnswer } from "./enrolment.js";
import { enrolmentBackoff, renewAtMs } from "./renewal.js";

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const parse = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

describe("enrolment messages", () => {
  it("ask with the request's id and the CSR in base64", () => {
    const request = { type: "enrol", requestId: "00ff", csr: "AQIDBA==" } as const;
    expect(parse(enrolmentMessage(request, memoryKeyStore()))).toEqual({ v: 1, ...request });
  });

  it("end with a proof of the certificate's key, and have none where the key is lost", () => {
    const keys = memoryKeyStore();
    keys.generate("key-a");
    const publicKey = keys.publicKey("key-a");
    const report = { type: "active", serial: "a1" } as const;
    const text = new TextDecoder().decode(enrolmentMessage(report, keys, { keySlot: "key-a", certificate: { publicKey } }));
    const [, signed = "", proof = ""] = /^(.*),"proof":"([^"]*)"\}$/.exec(text) ?? [];
    const key = { key: createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" }), dsaEncoding: "ieee-p1363" } as const;
    expect(verify("sha256", Buffer.from(`${signed}}`), key, Buffer.from(proof, "base64"))).toBe(true);
    expect(parse(utf8(`${signed}}`))).toEqual({ v: 1, ...report, key: Buffer.from(publicKey).toString("base64") });

    const lost = enrolmentMessage(report, keys, { keySlot: "key-b", certificate: { publicKey } });
    expect(parse(lost)).not.toHaveProperty("proof");
  });

  it("read a chain and an error", () => {
    const answer = readAnswer(json({ v: 1, requestId: "r", chain: ["AQI=", "Aw=="] }));
    expect(answer).toEqual({ requestId: "r", chain: [Uint8Array.of(1, 2), Uint8Array.of(3)] });
    const refused = readAnswer(json({ v: 1, requestId: "r", error: { code: "RATE_LIMITED", message: "later", retryAfterSeconds: 60 } }));
    expect(refused).toEqual({ requestId: "r", error: { code: "RATE_LIMITED", message: "later", retryAfterSeconds: 60 } });
  });

  it("carry an id of 128 random bits, in hex", () => {
    expect(newRequestId({ bytes: (sizeBytes) => new Uint8Array(sizeBytes).fill(0xa5), fraction: () => 0 })).toBe("a5".repeat(16));
  });

  it("bound what an authority says of itself", () => {
    const answer = readAnswer(
      json({ v: 1, requestId: "r", error: { code: "C".repeat(500), message: "m".repeat(5_000), retryAfterSeconds: -1 } }),
    );
    expect(answer).toEqual({ requestId: "r", error: { code: "C".repeat(40), message: "m".repeat(200) } });
    expect(readAnswer(json({ v: 1, requestId: "r", error: { code: "C", message: 5, retryAfterSeconds: "60" } }))).toEqual({
      requestId: "r",
      error: { code: "C", message: "5" },
    });
  });

  it("refuse a chain of more than four certificates, and what is no base64", () => {
    for (const chain of [["AQI=", "AQI=", "AQI=", "AQI=", "AQI="], ["?"]]) {
      expect(() => readAnswer(json({ v: 1, requestId: "r", chain }))).toThrow(expect.objectContaining({ name: "HawserError" }));
    }
  });

  it("does not let an authority put a device to sleep for ever", () => {
    const answer = readAnswer(json({ v: 1, requestId: "r", error: { code: "X", retryAfterSeconds: 1e12 } }));
    expect(answer).toEqual({ requestId: "r", error: { code: "X", message: "" } });
  });

  it.each([
    {},
    [],
    null,
    { v: 2, requestId: "r", chain: ["AQI="] },
    { v: 1, requestId: "r" },
    { v: 1, requestId: "r", chain: [] },
    { v: 1, requestId: "r", chain: [1] },
    { v: 1, requestId: 5, chain: ["AQI="] },
  ])("refuse %j", (value) => {
    expect(() => readAnswer(json(value))).toThrow(expect.objectContaining({ code: "BAD_ANSWER" }));
  });

  it("refuse what is too large, unread", () => {
    expect(() => readAnswer(new Uint8Array(MAX_MESSAGE_BYTES + 1))).toThrow(expect.objectContaining({ code: "BAD_ANSWER" }));
  });

  it("refuse what is much structure and little else, unparsed: on XS it would take all memory", () => {
    const unknown = JSON.parse("[".repeat(48) + "]".repeat(48)) as unknown;
    expect(() => readAnswer(json({ v: 1, requestId: "r", chain: ["AQI="], unknown }))).toThrow(
      expect.objectContaining({ code: "BAD_ANSWER" }),
    );
  });

  it("answer any bytes with a value or a typed error", () => {
    const valid = json({ v: 1, requestId: "r", chain: ["AQI=", "Aw=="] });
    const damaged = fc
      .tuple(fc.nat(valid.length - 1), fc.nat(255))
      .map(([at, byte]) => valid.map((old, index) => (index === at ? byte : old)));
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 64 })), (bytes) => {
        try {
          expect(readAnswer(bytes).requestId).toBeTypeOf("string");
        } catch (error) {
          expect(error).toBeInstanceOf(HawserError);
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

describe("the renewal schedule", () => {
  const certificate = {
    serial: "1",
    commonName: "d",
    notBeforeMs: 1_000_000,
    notAfterMs: 1_000_000 + 60_000_000,
    publicKey: new Uint8Array(),
  };

  it("renews at two thirds of the lifetime less at most a twentieth", () => {
    expect(renewAtMs(certificate, 0)).toBeCloseTo(1_000_000 + 40_000_000, 0);
    expect(renewAtMs(certificate, 0.999_999)).toBeCloseTo(1_000_000 + 37_000_000, -2);
  });

  it("tries again soon at first, later every hundredth of the lifetime, within two seconds and an hour", () => {
    expect(enrolmentBackoff(certificate)).toMatchObject({ baseMs: 5_000, capMs: 600_000, floorMs: 1_000 });
    expect(enrolmentBackoff({ ...certificate, notAfterMs: certificate.notBeforeMs + 60_000 })).toMatchObject({
      baseMs: 2_000,
      capMs: 2_000,
    });
    expect(enrolmentBackoff({ ...certificate, notAfterMs: 1e15 }).capMs).toBe(3_600_000);
    expect(enrolmentBackoff(undefined).capMs).toBe(3_600_000);
  });
});
