import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32, encodeFrame, FRAME_OVERHEAD_BYTES, FrameDecoder, MAX_PAYLOAD_BYTES, type Frame } from "./frames.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const join = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));
const payloads = (frames: readonly Frame[]): number[][] => frames.flatMap((frame) => ("payload" in frame ? [[...frame.payload]] : []));
const faults = (frames: readonly Frame[]): string[] => frames.flatMap((frame) => ("fault" in frame ? [frame.fault] : []));

/** Feeds `bytes` in pieces of the sizes given, over and over. */
function feedInPieces(decoder: FrameDecoder, bytes: Uint8Array, sizes: readonly number[]): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    frames.push(...decoder.feed(bytes.subarray(at, at + size)));
    at += size;
  }
  return frames;
}

const BOOT_LOG = text(
  "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\nload:0x3fff0030,len:1184\r\n",
);

describe("CRC-32", () => {
  it("is the one of IEEE 802.3", () => {
    expect(crc32(text("123456789"))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array())).toBe(0);
    expect(crc32(text("The quick brown fox jumps over the lazy dog"))).toBe(0x414fa339);
  });
});

describe("frames", () => {
  it("look as written down: borders, COBS, CRC", () => {
    expect([...encodeFrame(text("123456789"))]).toEqual([0, 14, ...text("123456789"), 0xcb, 0xf4, 0x39, 0x26, 0]);
    expect([...encodeFrame(new Uint8Array())]).toEqual([0, 1, 1, 1, 1, 1, 0]);
    // CRC-32 of one zero byte is D202EF8D.
    expect([...encodeFrame(Uint8Array.of(0))]).toEqual([0, 1, 5, 0xd2, 0x02, 0xef, 0x8d, 0]);
  });

  it("come back as they went, in any pieces", () => {
    const payload = fc.oneof(
      fc.uint8Array({ maxLength: 700 }),
      fc.array(fc.constantFrom(0, 1, 255), { maxLength: 600 }).map((list) => Uint8Array.from(list)),
    );
    fc.assert(
      fc.property(
        fc.array(payload, { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 5 }),
        (list, sizes) => {
          const frames = feedInPieces(new FrameDecoder(), join(...list.map(encodeFrame)), sizes);
          expect(payloads(frames)).toEqual(list.map((one) => [...one]));
          expect(faults(frames)).toEqual([]);
        },
      ),
    );
  });

  it("hold at every length around COBS's groups, with one zero anywhere", () => {
    for (const length of [249, 250, 251, 253, 254, 255, 503, 504, 505, 508, 509]) {
      for (const zeroAt of [-1, 0, length - 255, length - 5, length - 1]) {
        const payload = new Uint8Array(length).map((_, i) => (i === zeroAt ? 0 : (i % 255) + 1));
        const frame = encodeFrame(payload);
        expect(frame.subarray(1, -1)).not.toContain(0);
        expect(payloads(new FrameDecoder().feed(frame))).toEqual([[...payload]]);
      }
    }
  });

  it("cost what is promised", () => {
    for (const byte of [0, 7]) expect(encodeFrame(new Uint8Array(249).fill(byte)).length).toBe(249 + FRAME_OVERHEAD_BYTES);
  });

  it("are found after the text of a boot loader, and between pieces of it", () => {
    const frames = new FrameDecoder().feed(join(BOOT_LOG, encodeFrame(text("one")), BOOT_LOG, encodeFrame(text("two"))));
    expect(payloads(frames)).toEqual([[...text("one")], [...text("two")]]);
    expect(faults(frames)).toHaveLength(2);
  });

  it("are found after a frame that lost its end, and after one that lost its beginning", () => {
    const good = encodeFrame(text("good"));
    for (let cut = 2; cut < good.length - 1; cut++) {
      expect(payloads(new FrameDecoder().feed(join(good.subarray(0, cut), good)))).toEqual([[...text("good")]]);
      expect(payloads(new FrameDecoder().feed(join(good.subarray(cut), good)))).toEqual([[...text("good")]]);
    }
    // The border before a frame is for what came before; without it the frame is whole.
    expect(payloads(new FrameDecoder().feed(good.subarray(1)))).toEqual([[...text("good")]]);
  });

  it("with any one byte changed are refused, or fall apart into nothing", () => {
    const whole = encodeFrame(text("the payload"));
    for (let at = 1; at < whole.length - 1; at++) {
      for (const flip of [1, 0x80, whole[at] ?? 0]) {
        const damaged = whole.slice();
        damaged[at] = (damaged[at] ?? 0) ^ flip;
        expect(payloads(new FrameDecoder().feed(damaged))).toEqual([]);
      }
    }
  });

  it("say what was wrong with them", () => {
    const decoder = new FrameDecoder(8);
    expect(faults(decoder.feed(Uint8Array.of(0, 6, 1, 2, 3, 4, 5, 0)))).toEqual(["BAD_CRC"]);
    expect(faults(decoder.feed(Uint8Array.of(0, 9, 1, 2, 3, 4, 5, 0)))).toEqual(["MALFORMED"]);
    expect(faults(decoder.feed(Uint8Array.of(0, 3, 1, 2, 0)))).toEqual(["MALFORMED"]);
    expect(faults(decoder.feed(encodeFrame(new Uint8Array(9))))).toEqual(["TOO_LONG"]);
    expect(payloads(decoder.feed(encodeFrame(new Uint8Array(8))))).toEqual([[0, 0, 0, 0, 0, 0, 0, 0]]);
  });

  it("of the largest size pass; a larger one is neither sent nor taken", () => {
    const largest = new Uint8Array(MAX_PAYLOAD_BYTES).fill(7);
    expect(payloads(new FrameDecoder().feed(encodeFrame(largest)))).toEqual([[...largest]]);
    expect(() => encodeFrame(new Uint8Array(MAX_PAYLOAD_BYTES + 1))).toThrow(expect.objectContaining({ code: "FRAME_TOO_LONG" }));
    const decoder = new FrameDecoder();
    for (let i = 0; i < 300; i++) expect(decoder.feed(new Uint8Array(1_000).fill(65))).toEqual([]);
    expect(faults(decoder.feed(Uint8Array.of(0)))).toEqual(["TOO_LONG"]);
    expect(payloads(decoder.feed(encodeFrame(text("after"))))).toEqual([[...text("after")]]);
  });

  it("are never made of noise, whatever its pieces, and a frame after it is found", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), (noise) => {
        const decoder = new FrameDecoder(128);
        const frames = noise.flatMap((piece) => decoder.feed(piece));
        expect(payloads(frames)).toEqual([]);
        expect(payloads(decoder.feed(encodeFrame(text("found"))))).toEqual([[...text("found")]]);
      }),
      { numRuns: 2_000 },
    );
  });

  it("given out are the receiver's own: later bytes do not change them", () => {
    const decoder = new FrameDecoder();
    const [first] = decoder.feed(encodeFrame(text("first")));
    decoder.feed(encodeFrame(text("xxxxx")));
    expect(payloads(first ? [first] : [])).toEqual([[...text("first")]]);
  });
});
