import { X509Certificate } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { HawserError } from "../errors.js";
import { readCertificate } from "./certificate.js";
import { issueFor } from "../../test/support/device/test-issuer.js";

const keyStore = memoryKeyStore();
keyStore.generate("key-a");
const csr = keyStore.csr("key-a", "sensor-1");
const certificate = await issueFor(csr);

describe("readCertificate", () => {
  it("reads what Node reads", () => {
    const node = new X509Certificate(certificate);
    const own = readCertificate(certificate);
    expect(own.commonName).toBe("sensor-1");
    expect(own.serial).toBe(node.serialNumber.toLowerCase().replace(/^0+/, ""));
    expect(own.notBeforeMs).toBe(Date.parse(node.validFrom));
    expect(own.notAfterMs).toBe(Date.parse(node.validTo));
    expect([...own.publicKey]).toEqual([...keyStore.publicKey("key-a")]);
  });

  it("reads dates before 2000 and after 2049, where the encoding changes", async () => {
    const notBefore = new Date("1999-12-31T23:59:58Z");
    const notAfter = new Date("2050-01-01T00:00:01Z");
    const own = readCertificate(await issueFor(csr, { notBefore, notAfter }));
    expect([own.notBeforeMs, own.notAfterMs]).toEqual([notBefore.getTime(), notAfter.getTime()]);
  });

  it("keeps a serial's inner zeros and drops its leading ones", async () => {
    expect(readCertificate(await issueFor(csr, { serialNumber: "00a001" })).serial).toBe("a001");
  });

  it("has no common name where the subject has none", async () => {
    expect(readCertificate(await issueFor(csr, { subject: "O=Nobody" })).commonName).toBe("");
    expect(readCertificate(await issueFor(csr, { subject: "C=DE, O=Factory, CN=ünique" })).commonName).toBe("ünique");
  });

  it("refuses a certificate that is cut short at any byte", () => {
    for (let length = 0; length < certificate.length; length++) {
      expect(() => readCertificate(certificate.slice(0, length)), `cut at ${length}`).toThrow(
        expect.objectContaining({ code: "BAD_CERTIFICATE" }),
      );
    }
  });

  it("answers any damage with a value or a typed error, never anything else", () => {
    const damaged = fc.tuple(fc.nat(certificate.length - 1), fc.nat(255), fc.nat(certificate.length - 1), fc.nat(255));
    fc.assert(
      fc.property(damaged, ([first, one, second, two]) => {
        const bytes = certificate.slice();
        bytes[first] = one;
        bytes[second] = two;
        try {
          expect(typeof readCertificate(bytes).serial).toBe("string");
        } catch (error) {
          expect(error).toBeInstanceOf(HawserError);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it("refuses what no certificate of a device is: larger than 16 KiB, with bytes after its end, of another form", () => {
    const refused = [
      new Uint8Array(16_385),
      Uint8Array.of(...certificate, 0),
      Uint8Array.of(0x31, ...certificate.subarray(1)),
      Uint8Array.of(0x30, 0x80),
      Uint8Array.of(0x30, 0x84, 0, 0, 0, 0),
    ];
    for (const bytes of refused) expect(() => readCertificate(bytes)).toThrow(expect.objectContaining({ code: "BAD_CERTIFICATE" }));
  });

  it("refuses dates in a form that certificates do not have", () => {
    const at = Buffer.from(certificate).indexOf(Buffer.from([0x17, 0x0d]));
    expect(at).toBeGreaterThan(0);
    for (const [offset, byte] of [
      [0, 0x18],
      [0, 0x04],
      [14, 0x30],
      [2, 0x20],
    ] as const) {
      const bytes = certificate.slice();
      bytes[at + offset] = byte;
      expect(() => readCertificate(bytes)).toThrow(expect.objectContaining({ code: "BAD_CERTIFICATE" }));
    }
  });
});
