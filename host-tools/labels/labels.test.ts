/** Labels: read back by another reader (jsQR), from the pixels of the PNG. */
import { inflateSync } from "node:zlib";
import fc from "fast-check";
import jsQR from "jsqr";
import { describe, expect, it } from "vitest";
import { judgeScan } from "./label-log.js";
import type { LoggedLabel } from "./label-log.js";
import { layOut } from "./layout.js";
import { matterCodes } from "./matter.js";
import { espProvisioning, gs1DigitalLink, idPayload, newLabelSecret, readLabel, sha256Hex } from "./payloads.js";
import { renderLabel } from "./render.js";

const SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const decode = jsQR as unknown as typeof jsQR.default;

/** The pixels of our one-bit PNGs, as RGBA. */
function pixels(png: Buffer): { data: Uint8ClampedArray; width: number; height: number } {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const at = png.indexOf("IDAT");
  const rows = inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4)));
  const stride = 1 + Math.ceil(width / 8);
  const data = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = ((rows[y * stride + 1 + (x >> 3)] ?? 0) >> (7 - (x & 7))) & 1;
      data.fill(bit === 1 ? 255 : 0, (y * width + x) * 4, (y * width + x) * 4 + 3);
    }
  }
  return { data, width, height };
}

const scan = (payload: string, lines = ["sensor-1"], widthMm = 70, heightMm = 40): string | undefined => {
  const { data, width, height } = pixels(renderLabel(layOut({ payload, lines, widthMm, heightMm }), "png"));
  return decode(data, width, height)?.data;
};

describe("a label's code", () => {
  it("is read by another reader as it was written, whatever its payload and size", () => {
    const payloads = [
      "sensor-1",
      "123456",
      "ABC-123",
      idPayload("sensor-1", SECRET),
      gs1DigitalLink({ gtin: "09521234543213", serial: "12345", lot: "A/1" }),
      espProvisioning({ name: "PROV_1A2B3C", pop: SECRET, transport: "ble", username: "wifiprov" }),
      matterCodes({ vendorId: 0xfff1, productId: 0x8000, discriminator: 3840, passcode: 20202021 }).qr,
    ];
    for (const payload of payloads) expect(scan(payload)).toBe(payload);
    expect(scan("sensor-1", ["sensor-1", "a line that has to be broken"], 50, 25)).toBe("sensor-1");
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 60, unit: fc.constantFrom(..."aZ09._-:{}\"'/ %") }), (payload) => {
        expect(scan(payload)).toBe(payload);
      }),
      { numRuns: 8 },
    );
  });

  it("carries 128 bits of secret that are never the same", () => {
    const seen = new Set(Array.from({ length: 100 }, newLabelSecret));
    expect(seen.size).toBe(100);
    for (const secret of seen) expect(secret).toMatch(/^[A-Z2-7]{26}$/);
    expect(readLabel(idPayload("sensor-1", SECRET))).toEqual({ id: "sensor-1", secret: SECRET });
    expect(() => idPayload("sensor-1", "SHORT")).toThrow(expect.objectContaining({ code: "BAD_LABEL" }));
    expect(() => espProvisioning({ name: "PROV_1", pop: "abcd1234", transport: "ble" })).toThrow(
      expect.objectContaining({ code: "BAD_LABEL" }),
    );
  });

  it("follows GS1 and Matter", () => {
    expect(gs1DigitalLink({ gtin: "9521234543213", serial: "12345" })).toBe("https://id.gs1.org/01/09521234543213/21/12345");
    expect(gs1DigitalLink({ domain: "id.example.com", gtin: "09521234543213", serial: "a/b?c", lot: "L#1".replace("#", "%") })).toBe(
      "https://id.example.com/01/09521234543213/10/L%251/21/a%2Fb%3Fc",
    );
    expect(readLabel("https://id.example.com/01/09521234543213/10/L1/21/a%2Fb")).toEqual({ id: "a/b" });
    for (const wrong of [
      { gtin: "09521234543210", serial: "1" },
      { gtin: "123", serial: "1" },
      { gtin: "09521234543213", serial: "x".repeat(21) },
      { gtin: "09521234543213", serial: "#" },
    ]) {
      expect(() => gs1DigitalLink(wrong)).toThrow(expect.objectContaining({ code: "BAD_LABEL" }));
    }
    // The example of the specification's own test vendor.
    expect(matterCodes({ vendorId: 0xfff1, productId: 0x8000, discriminator: 3840, passcode: 20202021 })).toEqual({
      qr: "MT:Y.K9042C00KA0648G00",
      manual: "34970112332",
    });
    expect(matterCodes({ vendorId: 0xfff1, productId: 0x8000, discriminator: 3840, passcode: 20202021, flow: 2 }).manual).toMatch(
      /^749701123365521327687$/,
    );
    for (const passcode of [0, 11111111, 12345678, 99999999]) {
      expect(() => matterCodes({ vendorId: 1, productId: 1, discriminator: 1, passcode })).toThrow(
        expect.objectContaining({ code: "BAD_LABEL" }),
      );
    }
  });
});

describe("a label", () => {
  it.each(["^XZ", "a~JA", "a\nb", "a\u0000", "\u001b@", "ä", "a\u007f", "a\u0085"])(
    "refuses %j, in its code as in its text: a printer may take it as a command",
    (bad) => {
      expect(() => layOut({ payload: `x${bad}`, lines: [] })).toThrow(expect.objectContaining({ code: "BAD_LABEL" }));
      expect(() => layOut({ payload: "x", lines: ["fine", bad] })).toThrow(expect.objectContaining({ code: "BAD_LABEL" }));
    },
  );

  it("is whole in every form", () => {
    const layout = layOut({ payload: "sensor-1", lines: ["sensor-1", "(b) \\ <c>&"] });
    const svg = renderLabel(layout, "svg").toString();
    expect(svg).toMatch(/^<svg [^>]*width="50mm" height="25mm"/);
    expect(svg).toContain("&#60;c&#62;&#38;");
    const zpl = renderLabel(layout, "zpl").toString();
    expect(zpl).toMatch(/^\^XA\n\^CI28\n\^PW591\n\^LL295\n[^]*\^BQN,2,\d+\^FDMA,sensor-1\^FS\n[^]*\^XZ\n$/);
    const pdf = renderLabel(layout, "pdf").toString("latin1");
    expect(pdf).toContain(String.raw`(\(b\) \\ <c>&) Tj`);
    const start = Number(/startxref\n(\d+)\n%%EOF\n$/.exec(pdf)?.[1]);
    expect(pdf.slice(start, start + 4)).toBe("xref");
    for (const [index, entry] of [...pdf.slice(start).matchAll(/^(\d{10}) 00000 n $/gm)].entries())
      expect(pdf.slice(Number(entry[1])).startsWith(`${index + 1} 0 obj`)).toBe(true);
  });

  it("is refused where a scanner or an eye could not read it", () => {
    expect(() => layOut({ payload: "x".repeat(300), lines: [] })).toThrow(/modules of 0\.25 mm/);
    expect(() => layOut({ payload: "x", lines: ["y".repeat(400)] })).toThrow(/does not fit/);
    expect(() => layOut({ payload: "x".repeat(4000), lines: [] })).toThrow(expect.objectContaining({ code: "BAD_LABEL" }));
  });
});

it("a scanned label is the current one, a replaced one, or none of ours", () => {
  const log = (id: string, payload: string, copy: number): LoggedLabel => ({
    id,
    at: "2026-01-01T00:00:00Z",
    kind: "secret",
    payloadSha256: sha256Hex(payload),
    copy,
  });
  const labels = [log("a", "a:ONE", 1), log("b", "b:ONE", 1), log("a", "a:TWO", 2)];
  expect(judgeScan(labels, "a:TWO\r")).toMatchObject({ verdict: "current", label: { id: "a", copy: 2 } });
  expect(judgeScan(labels, "a:ONE")).toMatchObject({ verdict: "replaced", by: { copy: 2 } });
  expect(judgeScan(labels, "b:ONE")).toMatchObject({ verdict: "current" });
  expect(judgeScan(labels, "a")).toEqual({ verdict: "unknown" });
});
