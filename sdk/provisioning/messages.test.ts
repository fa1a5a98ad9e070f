import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { HawserError } from "../errors.js";
import { issueFor } from "../../test/support/device/test-issuer.js";
import { proofInput, readRequest, requestIdOf } from "./messages.js";
import { base64 } from "../../test/support/device/test-station.js";

const requestId = "0123456789abcdef0123456789abcdef";
const nonce = base64(new Uint8Array(32));
const bytesOf = (value: unknown): Uint8Array => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
const read = (fields: object): unknown => readRequest(bytesOf({ v: 1, requestId, ...fields }));
let certificate = "";

beforeAll(async () => {
  const keys = memoryKeyStore();
  keys.generate("key-a");
  certificate = base64(await issueFor(keys.csr("key-a", "sensor-1")));
});

const install = (changes: object = {}): object => ({
  type: "install",
  id: "sensor-1",
  role: "sensor",
  chain: [certificate],
  trustAnchors: [certificate],
  ...changes,
});
const psk = { identity: "sensor-1", key: base64(new Uint8Array(32)) };

describe("a request", () => {
  it("is read with all its fields", () => {
    expect(read({ type: "hello", nonce })).toEqual({ type: "hello", requestId, nonce: new Uint8Array(32) });
    expect(read({ type: "generate", id: "sensor-1" })).toEqual({ type: "generate", requestId, id: "sensor-1", replace: false });
    expect(read({ type: "generate", id: "sensor-1", replace: true })).toMatchObject({ replace: true });
    expect(read(install({ psk }))).toMatchObject({
      type: "install",
      id: "sensor-1",
      role: "sensor",
      psk: { identity: "sensor-1", key: new Uint8Array(32) },
    });
    expect(read(install())).not.toHaveProperty("psk");
    for (const type of ["status", "done"]) expect(read({ type })).toEqual({ type, requestId });
  });

  it("of another version is refused as such, by its id", () => {
    const bytes = bytesOf({ v: 2, requestId, type: "status" });
    expect(() => readRequest(bytes)).toThrow(expect.objectContaining({ code: "UNSUPPORTED_VERSION" }));
    expect(requestIdOf(bytes)).toBe(requestId);
  });

  it.each([
    ["", "form"],
    ["[]", "form"],
    ["null", "form"],
    ["{", "form"],
    ["\ufeff{}", "form"],
    [{ v: 1, type: "status" }, "requestId"],
    [{ v: 1, type: "status", requestId: "0123" }, "requestId"],
    [{ v: 1, type: "status", requestId: requestId.toUpperCase() }, "requestId"],
    [{ v: 1, requestId }, "type"],
    [{ v: 1, requestId, type: "erase" }, "type"],
    [{ v: 1, requestId, type: "toString" }, "type"],
    [{ v: 1, requestId, type: "hello" }, "nonce"],
    [{ v: 1, requestId, type: "hello", nonce: base64(new Uint8Array(31)) }, "nonce"],
    [{ v: 1, requestId, type: "hello", nonce: "?" }, "nonce"],
    [{ v: 1, requestId, type: "generate", id: 5 }, "id"],
    [{ v: 1, requestId, type: "generate", id: "x".repeat(65) }, "id"],
    [{ v: 1, requestId, type: "generate", id: "x", replace: "yes" }, "replace"],
  ])("%j is refused for its %s", (value, field) => {
    expect(() => readRequest(bytesOf(value))).toThrow(
      expect.objectContaining({ code: "BAD_REQUEST", message: expect.stringContaining(field) as string }),
    );
  });

  it("that is much structure and little else is refused unparsed, for on XS it would take all memory or stack", () => {
    const most = Array(4).fill(certificate);
    expect(() => read(install({ chain: most, trustAnchors: most, psk, note: "unknown" }))).not.toThrow();
    for (const unknown of [
      Array(48).fill(0),
      Array(24).fill([]),
      JSON.parse("[".repeat(48) + "]".repeat(48)),
      Object.fromEntries(
        Array(48)
          .fill(0)
          .map((_, i) => [i, 0]),
      ),
    ]) {
      expect(() => read({ type: "status", unknown })).toThrow(
        expect.objectContaining({ code: "BAD_REQUEST", message: expect.stringContaining("form") as string }),
      );
      expect(requestIdOf(bytesOf({ v: 1, requestId, type: "status", unknown }))).toBe("");
    }
  });

  it("to install is refused for each field that is not as it should be", () => {
    const bad = [
      { role: "" },
      { role: "x".repeat(65) },
      { chain: [] },
      { chain: certificate },
      { chain: [1] },
      { trustAnchors: [] },
      { trustAnchors: Array(5).fill(certificate) },
      { psk: null },
      { psk: {} },
      { psk: { ...psk, key: base64(new Uint8Array(15)) } },
      { psk: { ...psk, key: base64(new Uint8Array(65)) } },
      { psk: { ...psk, identity: "" } },
    ];
    for (const change of bad) expect(() => read(install(change))).toThrow(expect.objectContaining({ code: "BAD_REQUEST" }));
    for (const change of [{ chain: [nonce] }, { trustAnchors: [certificate, nonce] }])
      expect(() => read(install(change))).toThrow(expect.objectContaining({ code: "BAD_CERTIFICATE" }));
    for (const id of ["a/b", "..", ""]) expect(() => read(install({ id }))).toThrow(HawserError);
  });

  it("of any bytes is a request or a typed error", () => {
    const valid = bytesOf({ v: 1, requestId, ...install({ psk }) });
    const damaged = fc
      .tuple(fc.nat(valid.length - 1), fc.nat(255))
      .map(([at, byte]) => Uint8Array.from(valid, (old, index) => (index === at ? byte : old)));
    const shaped = fc
      .record(
        {
          v: fc.constantFrom(1, 2),
          requestId: fc.constantFrom(requestId, ""),
          type: fc.constantFrom("hello", "generate", "install", "status", 1),
          nonce: fc.jsonValue(),
          id: fc.jsonValue(),
          chain: fc.jsonValue(),
          psk: fc.jsonValue(),
        },
        { requiredKeys: [] },
      )
      .map(bytesOf);
    fc.assert(
      fc.property(fc.oneof(damaged, shaped, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        try {
          expect(readRequest(bytes).requestId).toMatch(/^[0-9a-f]{32}$/);
        } catch (error) {
          expect(error).toBeInstanceOf(HawserError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

it("a proof signs what nothing else that a device's key signs begins with", () => {
  const input = proofInput(new Uint8Array(32).fill(5));
  expect(Buffer.from(input).toString("latin1")).toBe(`hawser provisioning\n${"\u0005".repeat(32)}`);
});
