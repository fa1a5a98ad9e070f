import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeFrame } from "./frames.js";
import { ACK, MAX_REQUEST_BYTES, PART_BYTES, RequestAssembler } from "./parts.js";
import { partsOf } from "../../test/support/device/test-station.js";

/** What the UART of an ESP32 holds when nobody reads. */
const FIFO_BYTES = 128;

const request = (sizeBytes: number): Uint8Array => Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 7) & 0xff);

describe("requests in parts", () => {
  it("fit into the FIFO of a UART one by one, whatever is in them", () => {
    for (const byte of [0, 1, 255])
      for (const part of partsOf(new Uint8Array(400).fill(byte))) expect(encodeFrame(part).length).toBeLessThanOrEqual(FIFO_BYTES);
  });

  it.each([1, PART_BYTES, PART_BYTES + 1, 1_000, MAX_REQUEST_BYTES])(
    "of %i bytes are acknowledged part by part and come out whole",
    (size) => {
      const assembler = new RequestAssembler();
      const parts = partsOf(request(size), 9);
      for (const [i, part] of parts.entries()) {
        const end = Math.min(size, (i + 1) * PART_BYTES);
        const isLast = end === size;
        expect(assembler.take(part)).toEqual(isLast ? { request: request(size) } : { reply: Uint8Array.of(ACK, 9, end >> 8, end & 0xff) });
      }
    },
  );

  it("are acknowledged again when a part comes again, and hold it once", () => {
    const assembler = new RequestAssembler();
    const parts = partsOf(request(300));
    for (const part of parts.slice(0, -1)) expect(assembler.take(part)).toEqual(assembler.take(part));
    expect(assembler.take(parts[0]!)).toBeDefined();
    expect(
      parts
        .slice(1)
        .map((part) => assembler.take(part))
        .at(-1),
    ).toEqual({ request: request(300) });
    expect(assembler.take(parts.at(-1)!)).toBeUndefined();
  });

  it("can be begun again anywhere; a part that is early, or of another attempt, is passed over", () => {
    const assembler = new RequestAssembler();
    const [one, two, three] = [partsOf(request(300), 1), partsOf(request(300), 2), partsOf(request(500), 3)];
    assembler.take(one[0]!);
    expect(assembler.take(one[2]!)).toBeUndefined();
    expect(assembler.take(two[1]!)).toBeUndefined();
    expect(assembler.take(three[1]!)).toBeUndefined();
    assembler.take(two[0]!);
    expect(assembler.take(one[1]!)).toBeUndefined();
    assembler.take(two[1]!);
    expect(assembler.take(two[2]!)).toEqual({ request: request(300) });
  });

  it("larger than the device takes, or larger than they say, are passed over", () => {
    const assembler = new RequestAssembler();
    expect(assembler.take(partsOf(request(MAX_REQUEST_BYTES + 1))[0]!)).toBeUndefined();
    expect(assembler.take(Uint8Array.of(1, 1, 0, 0, 0, 1, 65, 66))).toBeUndefined();
    expect(assembler.take(Uint8Array.of(1, 1, 0, 0, 0, 0))).toBeUndefined();
    expect(assembler.take(new Uint8Array(PART_BYTES + 7).fill(1))).toBeUndefined();
  });

  it("answer any payload with nothing, an acknowledgement or a request within the bound", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 130 }),
            fc
              .tuple(fc.nat(3), fc.nat(400), fc.nat(400), fc.uint8Array({ minLength: 1, maxLength: 120 }))
              .map(([transfer, offset, size, data]) =>
                Uint8Array.of(1, transfer, offset >> 8, offset & 0xff, size >> 8, size & 0xff, ...data),
              ),
          ),
          { maxLength: 30 },
        ),
        (payloads) => {
          const assembler = new RequestAssembler();
          for (const payload of payloads) {
            const taken = assembler.take(payload);
            if (taken && "request" in taken) expect(taken.request.length).toBeLessThanOrEqual(MAX_REQUEST_BYTES);
            else if (taken) expect(taken.reply).toHaveLength(4);
          }
        },
      ),
    );
  });
});
