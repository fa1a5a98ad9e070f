import "reflect-metadata";
import { randomBytes, randomInt, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { beforeAll, describe, expect, test } from "vitest";
import { certificateParts } from "../../sdk/identity/certificate.js";
import { derNameKey, RevocationList, type RevokedEntry } from "./revocation-list.js";

let keys: webcrypto.CryptoKeyPair;
let certificate: Uint8Array;
const NUMBER = 0x1234;
const ISSUER = "CN=Issuing CA, O=Müller & Söhne, C=DE";

beforeAll(async () => {
  x509.cryptoProvider.set(webcrypto as never);
  keys = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const made = await x509.X509CertificateGenerator.createSelfSigned({ name: ISSUER, keys: keys as never, serialNumber: "01" });
  certificate = new Uint8Array(made.rawData);
});

interface Content {
  readonly serials: readonly string[];
  readonly issuer?: string;
  readonly nextUpdate?: Date;
}

async function listOf({ serials, issuer = ISSUER, nextUpdate }: Content): Promise<Uint8Array> {
  const list = await x509.X509CrlGenerator.create({
    issuer,
    thisUpdate: new Date("2026-01-02T03:04:05Z"),
    ...(nextUpdate === undefined ? {} : { nextUpdate }),
    extensions: [new x509.Extension("2.5.29.20", false, Uint8Array.from([2, 2, NUMBER >> 8, NUMBER & 0xff]))],
    signingKey: keys.privateKey as never,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    entries: serials.map((serialNumber, index) => ({
      serialNumber,
      revocationDate: new Date(1_700_000_000_000 + index * 1000),
      ...(index % 3 === 0 ? { reason: x509.X509CrlReason.keyCompromise } : {}),
    })),
  });
  return new Uint8Array(list.rawData);
}

const bySerial = (one: RevokedEntry, other: RevokedEntry): number => (one.serial < other.serial ? -1 : 1);

/** As a general reader of ASN.1 sees it. */
function byLibrary(der: Uint8Array): { thisUpdateMs: number; nextUpdateMs: number; number: number; entries: RevokedEntry[] } {
  const list = new x509.X509Crl(Uint8Array.from(der));
  return {
    thisUpdateMs: list.thisUpdate.getTime(),
    nextUpdateMs: list.nextUpdate?.getTime() ?? Infinity,
    number: NUMBER,
    entries: list.entries
      .map(({ serialNumber, revocationDate, reason }) => ({
        serial: serialNumber.toLowerCase().replace(/^0+(?=.)/, ""),
        revokedAtMs: revocationDate.getTime(),
        reasonCode: reason ?? 0,
      }))
      .sort(bySerial),
  };
}

function byReader(der: Uint8Array): ReturnType<typeof byLibrary> {
  const list = new RevocationList(der);
  return { thisUpdateMs: list.thisUpdateMs, nextUpdateMs: list.nextUpdateMs, number: list.number, entries: list.entries().sort(bySerial) };
}

/** Hex of a positive number of 1 to 20 bytes, with a leading zero byte where DER needs one. */
const randomSerial = (): string => {
  const bytes = randomBytes(randomInt(1, 21));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 1;
  return bytes.toString("hex");
};

describe("a revocation list", () => {
  test.each([0, 1, 2, 127, 128, 1000])("of %i entries reads as a general reader reads it", async (count) => {
    const serials = [...new Set(Array.from({ length: 2 * count }, randomSerial))].slice(0, count);
    const der = await listOf({ serials, nextUpdate: new Date("2049-12-31T23:59:59Z") });
    expect(byReader(der)).toEqual(byLibrary(der));
    expect(byReader(der).entries).toHaveLength(count);
  });

  test("may end beyond 2050", async () => {
    const der = await listOf({ serials: ["7f"], nextUpdate: new Date("2050-01-01T00:00:00Z") });
    expect(byReader(der)).toEqual(byLibrary(der));
  });

  test("may say of no end: its entries count (@peculiar/x509 2.2.0 finds none of them)", async () => {
    const der = await listOf({ serials: ["7f"] });
    expect(byReader(der)).toMatchObject({ nextUpdateMs: Infinity, entries: [{ serial: "7f" }] });
  });

  test("is matched with a certificate of its issuer, however their names are encoded", async () => {
    const { issuer } = new RevocationList(await listOf({ serials: [] }));
    const named = certificateParts(certificate).issuer;
    expect(derNameKey(certificate, named)).toBe(issuer);
    // PrintableString instead of UTF8String, as other tools write it.
    const recoded = Uint8Array.from(certificate);
    for (let at = named.start; at < named.end; at++) if (recoded[at] === 0x0c && recoded[at - 1] === 0x03) recoded[at] = 0x13;
    expect(derNameKey(recoded, named)).toBe(issuer);
  });

  test("of another name is another issuer's: more, fewer, other order, a value that goes on as the next type", async () => {
    const names = [
      ISSUER,
      "CN=Issuing CA",
      "O=Müller & Söhne, CN=Issuing CA, C=DE",
      "CN=Issuing CA, O=Müller & Söhne, C=AT",
      "CN=Issuing CA+O=x",
    ];
    const keysOfNames = await Promise.all(names.map(async (issuer) => new RevocationList(await listOf({ serials: [], issuer })).issuer));
    expect(new Set(keysOfNames).size).toBe(names.length);
  });

  test("that was cut off anywhere is refused", async () => {
    const der = await listOf({ serials: ["01", "02", "03"], nextUpdate: new Date("2030-01-01T00:00:00Z") });
    for (let length = 0; length < der.length; length++)
      expect(() => new RevocationList(der.subarray(0, length))).toThrow(expect.objectContaining({ code: "BAD_CERTIFICATE" }));
  });

  test("with any bit turned is refused or read, and never anything else", async () => {
    const der = await listOf({ serials: ["01", "02", "03"], nextUpdate: new Date("2030-01-01T00:00:00Z") });
    let refused = 0;
    for (let bit = 0; bit < der.length * 8; bit++) {
      const turned = Uint8Array.from(der);
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      try {
        byReader(turned);
      } catch (error) {
        expect(error).toMatchObject({ code: "BAD_CERTIFICATE" });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });
});
