import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { base64Decode, base64Encode, base64UrlEncode, hexEncode, utf8Decode, utf8Encode } from "./text.js";

describe("text encodings without an engine's help", () => {
  it("agree with Node on every string's UTF-8", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const expected = new TextEncoder().encode(text);
        expect([...utf8Encode(text)]).toEqual([...expected]);
        expect(utf8Decode(expected)).toBe(new TextDecoder("utf-8", { ignoreBOM: true }).decode(expected));
      }),
    );
  });

  it("refuse exactly the bytes Node refuses as UTF-8", () => {
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const outcome = (decode: () => string): string => {
      try {
        return `ok ${decode()}`;
      } catch {
        return "refused";
      }
    };
    const byte = fc.oneof(fc.nat(255), fc.constantFrom(0xc0, 0xc2, 0xe0, 0xed, 0xf0, 0xf4, 0x80, 0xbf, 0x9f, 0xa0, 0x90, 0x8f));
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 8 }), (bytes) => {
        const data = Uint8Array.from(bytes);
        expect(outcome(() => utf8Decode(data))).toBe(outcome(() => strict.decode(data)));
      }),
      { numRuns: 5_000 },
    );
  });

  it("replace a lone surrogate as the Encoding standard says", () => {
    expect([...utf8Encode("a\ud800b")]).toEqual([...new TextEncoder().encode("a\ud800b")]);
  });

  it("agree with Node on base64, base64url and hex", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const node = Buffer.from(bytes);
        expect(base64Encode(bytes)).toBe(node.toString("base64"));
        expect(base64UrlEncode(bytes)).toBe(node.toString("base64url"));
        expect(hexEncode(bytes)).toBe(node.toString("hex"));
        expect([...base64Decode(node.toString("base64"))]).toEqual([...bytes]);
      }),
    );
  });

  it.each(["A", "AA", "AAA", "A===", "AAA!", "AB==", "AAB=", "AA=A", " AAA"])("refuse %j as base64", (text) => {
    expect(() => base64Decode(text)).toThrow(expect.objectContaining({ code: "BAD_ENCODING" }));
  });
});
