/**
 * esp_secure_cert images: against a golden hash (compared once with Espressif's tool, as were 2,100 random tables), their own reader, and
 * with every byte damaged.
 */
import { createHash, createPublicKey, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { GOLDEN_FILES, GOLDEN_SHA256, GOLDEN_TABLE } from "../../test/support/host-tools/secure-cert-golden.js";
import { parseSecureCertCsv } from "./secure-cert-csv.js";
import { TLV_TYPES } from "./secure-cert-format.js";
import { deriveHmacEcdsaKey, plainKeyEntry, saltEntry } from "./secure-cert-keys.js";
import { readSecureCert } from "./secure-cert-reader.js";
import { buildSecureCert, certificateEntry, keyMarkerEntry, securityConfigEntry } from "./secure-cert-writer.js";

const counting = (size: number): Buffer => Buffer.from(Array.from({ length: size }, (_, index) => index));
const readFile = (path: string): Buffer => (path === "g.hmac" ? counting(32) : Buffer.from(GOLDEN_FILES[path] ?? ""));
const golden = (): Buffer =>
  buildSecureCert({ entries: parseSecureCertCsv(GOLDEN_TABLE, { chip: "esp32c3", readFile, iv: counting(16) }) });
const file = (name: string): Buffer => readFile(name);

describe("an esp_secure_cert image", () => {
  it("is byte for byte the one of Espressif's tool, with a plain key and one for the DS peripheral", () => {
    expect(createHash("sha256").update(golden()).digest("hex")).toBe(GOLDEN_SHA256);
  });

  it("reads back to what went in, also with erased flash or an end marker after it", () => {
    const { entries, problems } = readSecureCert(golden());
    expect([problems, entries.map(({ type }) => type)]).toEqual([[], [3, 4, 0, 1, 2, 51, 52, 9]]);
    for (const rest of [Buffer.alloc(100, 0xff), Buffer.from("ffff0000ffff", "hex")])
      expect(readSecureCert(Buffer.concat([golden(), rest])).problems).toEqual([]);
    expect(readSecureCert(Buffer.concat([golden(), Buffer.from("ff00", "hex")])).problems).toMatchObject([{ offset: golden().length + 1 }]);
  });

  it("is named at the byte that is wrong, whichever byte that is", () => {
    const image = golden();
    let exact = 0;
    let looked = 0;
    for (let at = 0; at < image.length; at += 13) {
      looked++;
      const damaged = Buffer.from(image);
      damaged[at] = (damaged[at] ?? 0) ^ 0x41;
      const { problems } = readSecureCert(damaged);
      expect(problems, `byte ${at}`).not.toEqual([]);
      if (problems.some(({ offset }) => offset === at)) exact++;
    }
    expect(exact / looked).toBeGreaterThan(0.95);
  });

  it("shows an entry that was taken out or changed with a right CRC, and a key that belongs to another certificate", () => {
    const [certificate, key] = [certificateEntry("device-certificate", file("g.crt")), plainKeyEntry(file("g.key"))];
    const whole = readSecureCert(buildSecureCert({ entries: [certificate, key] }));
    const integrity = whole.entries.at(-1)!;
    const without = buildSecureCert({ entries: [certificate, { ...integrity, data: integrity.data }], integrity: false });
    expect(readSecureCert(without).problems).toMatchObject([{ problem: expect.stringContaining("SHA-256") as string }]);
    expect(readSecureCert(buildSecureCert({ entries: [certificate, plainKeyEntry(file("g.rsa"))] })).problems).toMatchObject([
      { problem: expect.stringContaining("does not belong") as string },
    ]);
  });

  it("holds no private key where the chip has it or derives it", () => {
    const entries = [
      saltEntry(randomBytes(32)),
      keyMarkerEntry("hmac-derived-ecdsa"),
      keyMarkerEntry("ecdsa-peripheral", 1),
      securityConfigEntry(2, 1),
    ];
    const read = readSecureCert(buildSecureCert({ entries })).entries;
    expect(read.filter(({ type }) => type === TLV_TYPES["private-key"]).map(({ flags, data }) => [flags, data.length])).toEqual([
      [0x40, 0],
      [0x08, 0],
    ]);
    expect(read.find(({ type }) => type === TLV_TYPES["security-config"])?.data[0]).toBe(6);
    const table =
      "tlv_type,tlv_subtype,data_value,data_type,priv_key_type,algorithm,key_size,efuse_id,efuse_key\n2,0,g.key,file,ecdsa_peripheral,ECDSA,256,1,\n";
    expect(parseSecureCertCsv(table, { chip: "esp32h2", readFile }).map(({ type, data }) => [type, data.length])).toEqual([
      [6, 40],
      [2, 0],
    ]);
  });

  it("derives the key that the chip derives: PBKDF2 with 2,048 rounds, and the same each time", () => {
    const [one, again] = [deriveHmacEcdsaKey(counting(32), counting(32)), deriveHmacEcdsaKey(counting(32), counting(32))];
    expect(createPublicKey(one).export({ format: "jwk" })).toMatchObject({ crv: "P-256" });
    expect(one.equals(again)).toBe(true);
    expect(deriveHmacEcdsaKey(counting(32), randomBytes(32)).equals(one)).toBe(false);
  });

  it.each([
    ["a certificate that is none", () => [certificateEntry("ca-certificate", Buffer.from("nonsense"))], "BAD_CERTIFICATE"],
    ["a key that is none", () => [plainKeyEntry(Buffer.from("nonsense"))], "BAD_IMAGE_KEY"],
    ["two entries of one type and subtype", () => [saltEntry(counting(4)), saltEntry(counting(5))], "BAD_IMAGE"],
    ["more than fits", () => [saltEntry(Buffer.alloc(8200))], "IMAGE_FULL"],
    ["nothing", () => [], "BAD_IMAGE"],
  ])("is not made of %s", (_, entries, code) => {
    expect(() => buildSecureCert({ entries: entries() })).toThrow(expect.objectContaining({ code }));
  });
});
