/**
 * NVS images: against golden hashes (compared once with Espressif's generator, as were 2,100 random tables a form: plain, encrypted, HMAC
 * scheme), against their own reader, and with every byte damaged.
 */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseNvsCsv } from "./nvs-csv.js";
import { espCrc32, INTEGERS, isIntegerType, PAGE_BYTES } from "./nvs-format.js";
import type { IntegerType, NvsItem } from "./nvs-format.js";
import { newNvsKeys, nvsKeysFromHmac, nvsKeysPartition, readNvsKeysPartition } from "./nvs-keys.js";
import { readNvsImage } from "./nvs-reader.js";
import { buildNvsImage } from "./nvs-writer.js";

/** More for the long form: HAWSER_IMAGE_CASES=2000. */
const CASES = Number(process.env["HAWSER_IMAGE_CASES"] ?? 25);
const COUNTING = Buffer.from(Array.from({ length: 64 }, (_, index) => index));
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const noFiles = (path: string): Buffer => {
  throw new Error(`no file ${path}`);
};

const TABLE = [
  "key,type,encoding,value",
  "# a comment",
  "factory,namespace,,",
  'serial,data,string,"A-7, ""x"""',
  "count,data,u8,255",
  "delta,data,i64,-9223372036854775808",
  "cal,data,hex2bin,0102ff",
  `big,data,base64,${Buffer.alloc(9000, 7).toString("base64")}`,
  "pad,data,blob_sz_fill(8;0x5a),abc",
  "none,data,hex2bin,",
  "wifi,namespace,,",
  "ssid,data,string,plant",
  "n,data,u32,4294967295",
].join("\n");

const items = fc
  .uniqueArray(
    fc.record({
      namespace: fc.constantFrom("factory", "wifi", "a"),
      key: fc.string({ minLength: 1, maxLength: 15, unit: fc.constantFrom(..."abcxyz019_.-") }),
      value: fc.oneof(
        fc.tuple(fc.constantFrom(...(Object.keys(INTEGERS) as IntegerType[])), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
        fc.tuple(fc.constant("string" as const), fc.string({ unit: "grapheme", maxLength: 900 })),
        fc.tuple(
          fc.constant("blob" as const),
          fc.oneof(
            fc.uint8Array({ maxLength: 100 }),
            fc.integer({ min: 0, max: 9000 }).map((size) => new Uint8Array(size).fill(size)),
          ),
        ),
      ),
    }),
    { maxLength: 60, selector: ({ namespace, key }) => `${namespace} ${key}` },
  )
  .map((list) => list.map(({ namespace, key, value }) => ({ namespace, key, ...valueOf(value[0], value[1]) }) as NvsItem));

function valueOf(type: string, value: bigint | string | Uint8Array): object {
  if (!isIntegerType(type)) return { type, value: typeof value === "string" ? value.replaceAll("\0", "") : value };
  const bits = INTEGERS[type].bytes * 8;
  return { type, value: INTEGERS[type].signed ? BigInt.asIntN(bits, value as bigint) : BigInt.asUintN(bits, value as bigint) };
}

const plain = (list: readonly NvsItem[]): unknown =>
  list.map(({ value, ...rest }) => ({ ...rest, value: typeof value === "object" ? Buffer.from(value).toString("hex") : value }));

describe("an NVS image", () => {
  it("is byte for byte the one of Espressif's generator, plain, encrypted and by the HMAC scheme", () => {
    const table = parseNvsCsv(TABLE, noFiles);
    expect(sha256(buildNvsImage({ sizeBytes: 0x5000, items: table }))).toBe(
      "f04d2ecc12ceb84fafb3d4c22d2c987bf1ece39e7700b274c8feefd0ef8b9c6a",
    );
    expect(sha256(buildNvsImage({ sizeBytes: 0x5000, items: table, keys: COUNTING }))).toBe(
      "52d66841f442b224dc25daf0525ac085d382e8734d89017e79754ee9d9c110a0",
    );
    expect(espCrc32(Buffer.from("123456789")).toString(16)).toBe("d202d277");
    const partition = nvsKeysPartition(nvsKeysFromHmac(COUNTING.subarray(0, 32)));
    expect([partition.length, readNvsKeysPartition(partition).equals(nvsKeysFromHmac(COUNTING.subarray(0, 32)))]).toEqual([
      PAGE_BYTES,
      true,
    ]);
  });

  it("reads back to what went in, with keys and without", () => {
    fc.assert(
      fc.property(items, fc.boolean(), (list, encrypted) => {
        const keys = encrypted ? newNvsKeys() : undefined;
        const image = buildNvsImage({ sizeBytes: 0x100000, items: list, ...(keys && { keys }) });
        const { items: back, problems } = readNvsImage(image, keys);
        expect([problems, plain(back)]).toEqual([[], plain(list)]);
      }),
      { numRuns: CASES },
    );
  });

  it("puts the keys of a namespace that is opened again where they belong, and gives a string a page to itself", () => {
    const value = "x".repeat(3999);
    const list: NvsItem[] = [
      { namespace: "a", key: "one", type: "u8", value: 1n },
      { namespace: "b", key: "one", type: "u8", value: 2n },
      { namespace: "a", key: "two", type: "u8", value: 3n },
      { namespace: "b", key: "long", type: "string", value },
    ];
    expect(readNvsImage(buildNvsImage({ sizeBytes: 0x4000, items: list })).items).toEqual(list);
  });

  it("is named at the byte that is wrong, whichever byte that is", () => {
    const image = buildNvsImage({
      sizeBytes: 0x4000,
      items: parseNvsCsv(TABLE, noFiles).map((item) =>
        item.key === "big" ? ({ ...item, value: Buffer.alloc(4500, 7) } as NvsItem) : item,
      ),
    });
    const used = readNvsImage(image).pages.filter(({ state }) => state !== "empty").length * PAGE_BYTES;
    let exact = 0;
    let looked = 0;
    for (let at = 0; at < image.length; at += at < used ? 17 : 331) {
      const damaged = Buffer.from(image);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      const { problems } = readNvsImage(damaged);
      // An entry that is marked erased, or a page that is marked full, is what a device may have left.
      const isState = at % PAGE_BYTES < 64 && (at % PAGE_BYTES < 4 || at % PAGE_BYTES >= 32);
      if (!isState) expect(problems, `byte ${at}`).not.toEqual([]);
      if (isState) continue;
      looked++;
      if (problems.some(({ offset }) => offset === at)) exact++;
      else expect(Math.min(...problems.map(({ offset }) => Math.abs(offset - at)))).toBeLessThan(64);
    }
    // A CRC that is wrong itself is named at the start of its entry.
    expect(exact / looked).toBeGreaterThan(0.9);
  });

  it("says that it is encrypted, or that other keys belong to it, once and not for every entry", () => {
    const image = buildNvsImage({ sizeBytes: 0x5000, items: parseNvsCsv(TABLE, noFiles), keys: COUNTING });
    for (const keys of [undefined, newNvsKeys()])
      expect(() => readNvsImage(image, keys)).toThrow(expect.objectContaining({ code: "BAD_IMAGE_KEY" }));
    // Damaged, it is still read: 16 bytes are one block of the cipher.
    image[0x50] = (image[0x50] ?? 0) ^ 1;
    expect(readNvsImage(image, COUNTING).problems[0]).toMatchObject({ offset: 0x40 });
  });

  it.each([
    ["a size that is not a multiple of pages", 0x3001, [], "BAD_IMAGE"],
    ["more than fits", 0x3000, [{ namespace: "a", key: "b", type: "blob", value: new Uint8Array(9000) }], "IMAGE_FULL"],
    ["a number out of range", 0x3000, [{ namespace: "a", key: "b", type: "u8", value: 256n }], "BAD_IMAGE"],
    ["a key of 16 characters", 0x3000, [{ namespace: "a", key: "b".repeat(16), type: "u8", value: 1n }], "BAD_IMAGE"],
    ["a key beyond ASCII", 0x3000, [{ namespace: "a", key: "ä", type: "u8", value: 1n }], "BAD_IMAGE"],
    [
      "a key that is there twice",
      0x3000,
      [
        { namespace: "a", key: "b", type: "u8", value: 1n },
        { namespace: "a", key: "b", type: "i8", value: 1n },
      ],
      "BAD_IMAGE",
    ],
    ["a string that is too long", 0x3000, [{ namespace: "a", key: "b", type: "string", value: "x".repeat(4000) }], "BAD_IMAGE"],
  ] as [string, number, NvsItem[], string][])("is not made of %s", (_, sizeBytes, list, code) => {
    expect(() => buildNvsImage({ sizeBytes, items: list })).toThrow(expect.objectContaining({ code }));
  });

  it.each([
    ["no header", "a,b\n", /line 1/],
    ["a key before any namespace", "key,type,encoding,value\nx,data,u8,1\n", /line 2.*before any namespace/],
    ["an unknown encoding", "key,type,encoding,value\n\n# c\nn,namespace,,\nx,data,u9,1\n", /line 5.*"u9"/],
    ["half a byte", "key,type,encoding,value\nn,namespace,,\nx,data,hex2bin,abc\n", /line 3/],
    ["an open quote", 'key,type,encoding,value\nn,namespace,,\nx,data,string,"abc\n', /line 3.*does not end/],
  ])("is not made of a table with %s, and the line is named", (_, text, message) => {
    expect(() => parseNvsCsv(text, noFiles)).toThrow(
      expect.objectContaining({ code: "BAD_TABLE", message: expect.stringMatching(message) as string }),
    );
  });
});
