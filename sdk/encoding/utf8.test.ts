import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeUtf8, encodeUtf8, utf8Length } from "./utf8.js";

test("text becomes the bytes Node makes of it, lone surrogates included", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), fc.array(fc.nat(0xffff), { maxLength: 10 }), (text, units) => {
      const any = text + String.fromCharCode(...units);
      expect(Buffer.from(encodeUtf8(any)).toString("hex")).toBe(Buffer.from(any).toString("hex"));
      expect(utf8Length(any)).toBe(Buffer.byteLength(any));
    }),
  );
});

test("pairs of surrogates stay whole wherever a long text is taken apart", () => {
  for (let offset = 0; offset < 260; offset++) {
    const text = `${"a".repeat(offset)}😀${"ü".repeat(140)}\ud83d`;
    const bytes = encodeUtf8(text);
    expect(Buffer.from(bytes).toString("hex")).toBe(Buffer.from(text).toString("hex"));
    expect(decodeUtf8(bytes)).toBe(`${text.slice(0, -1)}\ufffd`);
  }
});

test("bytes become the text Node makes of them, or undefined exactly where Node's strict decoder throws", () => {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const lead = fc.constantFrom(0x41, 0x80, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff, 0x9f, 0xa0, 0x8f, 0x90);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 600 }),
        fc.array(lead, { maxLength: 6 }).map((list) => Uint8Array.from(list)),
        fc.string({ unit: "binary", maxLength: 40 }).map(encodeUtf8),
      ),
      (bytes) => {
        let expected: string | undefined;
        try {
          expected = strict.decode(bytes);
        } catch {
          expected = undefined;
        }
        expect(decodeUtf8(bytes)).toBe(expected);
      },
    ),
    { numRuns: 1_000 },
  );
});
