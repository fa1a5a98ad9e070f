import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ByteWriter } from "./byte-writer.js";
import type { Properties } from "./packet-types.js";
import { propertiesSize, varintSize, writeProperties } from "./properties.js";

function written(properties: Properties): Uint8Array {
  const writer = new ByteWriter(64);
  writer.reserve(4_096);
  writeProperties(writer, properties);
  return writer.take();
}

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const anyProperties = fc.record<Properties>(
  {
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: fc.nat(0xffff_ffff),
    contentType: text,
    responseTopic: text,
    correlationData: fc.uint8Array({ maxLength: 20 }),
    subscriptionIdentifiers: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { maxLength: 3 }),
    userProperties: fc.array(fc.tuple(text, text), { maxLength: 3 }),
    topicAlias: fc.integer({ min: 1, max: 65_535 }),
    maximumQoS: fc.constantFrom(0, 1),
  } as never,
  { requiredKeys: [] },
);

describe("properties", () => {
  test("take exactly the bytes that were reckoned", () => {
    fc.assert(
      fc.property(anyProperties, (properties) => {
        expect(written(properties).length).toBe(propertiesSize(properties));
      }),
    );
  });

  test("that are not given, or that nobody knows, take none", () => {
    const properties = { contentType: undefined, userProperties: [], madeUp: "x" } as unknown as Properties;
    expect([propertiesSize(properties), written(properties).length]).toEqual([0, 0]);
  });

  test("carry numbers of one to four bytes", () => {
    for (const [value, size] of [
      [0, 1],
      [0x7f, 1],
      [0x80, 2],
      [0x3fff, 2],
      [0x4000, 3],
      [0x1f_ffff, 3],
      [0x20_0000, 4],
      [268_435_455, 4],
    ] as const) {
      expect(varintSize(value), String(value)).toBe(size);
      expect(written({ subscriptionIdentifiers: [value] } as Properties).length, String(value)).toBe(1 + size);
    }
  });
});
