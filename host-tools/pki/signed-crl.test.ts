import "reflect-metadata";
import { execFileSync } from "node:child_process";
import { randomBytes, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { RevocationLists } from "../../sim/brokers/crl-verdict.js";
import { KnownCas } from "../../sim/brokers/known-cas.js";
import { makeRoot, validityFrom, type Issuer } from "./certificate-profiles.js";
import { issuingDistributionPoint } from "./crl-distribution-points.js";
import { fromPem, toPem } from "./pem.js";
import { REVOCATION_REASONS } from "./revocation-reasons.js";
import { makeCrl, openCrl, type RevokedSerial } from "./signed-crl.js";
import { generateKey, nodeCrypto, type KeyType } from "./signer.js";

const DAY_MS = 86_400_000;
const THIS_UPDATE_MS = Math.floor(Date.now() / 1000) * 1000 - 1000;
const NEXT_UPDATE_MS = THIS_UPDATE_MS + 30 * DAY_MS;
const UNTIL_2050_MS = Date.UTC(2050, 0, 1);

const room = mkdtempSync(join(tmpdir(), "hawser-signed-crl-"));
afterAll(() => rmSync(room, { recursive: true, force: true }));

async function ca(type: KeyType): Promise<Issuer> {
  const key = await generateKey(type);
  const spki = new Uint8Array(await nodeCrypto.subtle.exportKey("spki", key.publicKey));
  const root = await makeRoot("Test, Root = CA", spki, key.signer, validityFrom(Date.now(), 7305 * DAY_MS));
  return { signer: key.signer, certificate: root.der };
}

function serials(count: number): string[] {
  return Array.from({ length: count }, () => {
    const bytes = randomBytes(16);
    bytes[0] = (bytes[0] ?? 0) & 0x7f;
    return bytes.toString("hex").replace(/^0+(?=.)/, "");
  });
}

function revoked(count: number): RevokedSerial[] {
  return serials(count).map((serial, index) => ({
    serial,
    revokedAtMs: index % 50 === 0 ? UNTIL_2050_MS + index * 1000 : THIS_UPDATE_MS - index * 1000,
    reason: REVOCATION_REASONS[index % REVOCATION_REASONS.length] ?? "unspecified",
  }));
}

const derOfPem = (pem: string): Uint8Array => new Uint8Array(fromPem("X509 CRL", pem)[0] ?? []);

function openssl(...args: string[]): string {
  return execFileSync("openssl", args, { cwd: room, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 28 });
}

let p256: Issuer;
let p384: Issuer;
beforeAll(async () => {
  [p256, p384] = [await ca("P-256"), await ca("P-384")];
  writeFileSync(join(room, "p256.pem"), toPem("CERTIFICATE", p256.certificate));
  writeFileSync(join(room, "p384.pem"), toPem("CERTIFICATE", p384.certificate));
});

describe("a revocation list of a CA", () => {
  test.each([0, 1, 300])("of %i entries is signed over the bytes that a general writer makes", async (count) => {
    // Where no reason is given, the general writer adds an empty list of extensions, which RFC 5280 does not allow.
    const entries = revoked(count).map((entry): RevokedSerial => ({
      ...entry,
      reason: entry.reason === "unspecified" ? "superseded" : entry.reason,
    }));
    const crlBases = ["http://ca.example:8080/crl"];
    const request = { number: 0x8123, thisUpdateMs: THIS_UPDATE_MS, nextUpdateMs: NEXT_UPDATE_MS, revoked: entries, crlBases };
    const certificate = new x509.X509Certificate(Uint8Array.from(p256.certificate));
    const keys = await nodeCrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
    const byLibrary = await x509.X509CrlGenerator.create(
      {
        issuer: certificate.subjectName,
        thisUpdate: new Date(THIS_UPDATE_MS),
        nextUpdate: new Date(NEXT_UPDATE_MS),
        signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
        signingKey: keys.privateKey,
        extensions: [
          await x509.AuthorityKeyIdentifierExtension.create(certificate.publicKey, false, nodeCrypto),
          new x509.Extension("2.5.29.20", false, Uint8Array.from([2, 3, 0, 0x81, 0x23])),
          new x509.Extension(new Uint8Array(issuingDistributionPoint(crlBases, p256.certificate))),
        ],
        entries: entries.map(({ serial, revokedAtMs, reason }) => ({
          serialNumber: serial,
          revocationDate: new Date(revokedAtMs),
          reason: x509.X509CrlReason[reason],
        })),
      },
      nodeCrypto,
    );
    const signedPart = (der: Uint8Array): string => {
      const text = Buffer.from(der).toString("hex");
      return text.slice(text.indexOf("020101"), text.lastIndexOf("300a06082a8648ce3d040302"));
    };
    expect(signedPart(derOfPem(await makeCrl(p256, request)))).toBe(signedPart(new Uint8Array(byLibrary.rawData)));
  });

  test.each(["P-256", "P-384"] as const)("of 30,000 entries (%s) is whole for OpenSSL, for us and for a broker", async (type) => {
    const issuer = type === "P-256" ? p256 : p384;
    const entries = revoked(30_000);
    const pem = await makeCrl(issuer, { number: 7, thisUpdateMs: THIS_UPDATE_MS, nextUpdateMs: NEXT_UPDATE_MS, revoked: entries });
    writeFileSync(join(room, "list.pem"), pem);
    const anchor = type === "P-256" ? "p256.pem" : "p384.pem";
    const text = openssl("crl", "-in", "list.pem", "-CAfile", anchor, "-noout", "-text", "-nameopt", "RFC2253");
    const read = [...text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, serial = ""]) => serial.toLowerCase().replace(/^0+/, ""));
    expect(read).toEqual(entries.map(({ serial }) => serial));
    expect(openCrl(derOfPem(pem), [p256.certificate, p384.certificate])).toEqual({ number: 7, revoked: entries });
    const cas = new KnownCas(toPem("CERTIFICATE", issuer.certificate), "");
    const lists = new RevocationLists(pem, cas, THIS_UPDATE_MS);
    const listed = lists.listed(new X509Certificate(issuer.certificate));
    for (const { serial } of entries) expect(lists.judge({ ...listed, serial }, THIS_UPDATE_MS)).toBe("CERTIFICATE_REVOKED");
    for (const serial of serials(100)) expect(lists.judge({ ...listed, serial }, THIS_UPDATE_MS)).toBe("good");
  });

  test("of 350,000 entries, more than 16 MiB, is made and read back", async () => {
    const serial = (index: number): string => `7${index.toString(16).padStart(31, "0")}`;
    const revokedAtMs = THIS_UPDATE_MS;
    const entries = Array.from({ length: 350_000 }, (_, index) => ({ serial: serial(index), revokedAtMs, reason: "superseded" as const }));
    const pem = await makeCrl(p256, { number: 7, thisUpdateMs: THIS_UPDATE_MS, nextUpdateMs: NEXT_UPDATE_MS, revoked: entries });
    const der = derOfPem(pem);
    expect(der.length).toBeGreaterThan(1 << 24);
    const read = new RevocationList(der).serials();
    expect([read.size, entries.every((entry) => read.has(entry.serial))]).toEqual([350_000, true]);
  });

  test("says each serial once", async () => {
    const [first, second] = revoked(2);
    const entries = [first, second, first].filter((one) => one !== undefined);
    const pem = await makeCrl(p256, { number: 1, thisUpdateMs: THIS_UPDATE_MS, nextUpdateMs: NEXT_UPDATE_MS, revoked: entries });
    expect(new RevocationList(derOfPem(pem)).entries()).toHaveLength(2);
  });

  test("is nobody's when another CA signed it, or a byte of it was changed", async () => {
    const der = derOfPem(
      await makeCrl(p256, { number: 1, thisUpdateMs: THIS_UPDATE_MS, nextUpdateMs: NEXT_UPDATE_MS, revoked: revoked(3) }),
    );
    expect(openCrl(der, [p384.certificate])).toBeUndefined();
    expect(openCrl(der, [p384.certificate, p256.certificate])).toBeDefined();
    // In a serial number, and in the signature.
    for (const at of [der.length - 5, Buffer.from(der).indexOf(Buffer.of(0x02, 0x10)) + 9]) {
      const changed = Uint8Array.from(der);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(openCrl(changed, [p256.certificate])).toBeUndefined();
    }
  });
});

describe("a list that another PKI signed", () => {
  const CONFIG = `[ca]\ndefault_ca = d\n[d]\ndatabase = index\ncrlnumber = number\ndefault_crl_days = 30\ndefault_md = default\n`;
  const RSA_PSS = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];

  test.each<[name: string, key: string[], signs: string[], isBelieved: boolean]>([
    ["RSA with SHA-256", ["rsa:2048"], ["-md", "sha256"], true],
    ["RSA with SHA-384", ["rsa:2048"], ["-md", "sha384"], true],
    ["RSA with SHA-1", ["rsa:2048"], ["-md", "sha1"], false],
    ["RSA-PSS with SHA-256", ["rsa:2048"], ["-md", "sha256", ...RSA_PSS], true],
    ["RSA-PSS with SHA-1", ["rsa:2048"], ["-md", "sha1", ...RSA_PSS], false],
    ["ECDSA on P-521", ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], ["-md", "sha512"], true],
    ["Ed25519", ["ed25519"], [], true],
  ])("%s is believed: %#", (_name, key, signs, isBelieved) => {
    openssl("req", "-x509", "-newkey", ...key, "-nodes", "-keyout", "o.key", "-out", "o.pem", "-subj", "/CN=Other/O=PKI", "-days", "9");
    writeFileSync(join(room, "ca.cnf"), CONFIG);
    writeFileSync(join(room, "index"), `R\t350101000000Z\t260101000000Z,keyCompromise\t0A\tunknown\t/CN=x\n`);
    writeFileSync(join(room, "number"), "1F\n");
    openssl("ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "o.key", "-cert", "o.pem", "-out", "o.crl", ...signs);
    const [der = new Uint8Array()] = fromPem("X509 CRL", openssl("crl", "-in", "o.crl"));
    const [certificate = new Uint8Array()] = fromPem("CERTIFICATE", openssl("x509", "-in", "o.pem"));
    const read = { number: 0x1f, revoked: [{ serial: "a", revokedAtMs: Date.UTC(2026, 0, 1), reason: "keyCompromise" }] };
    expect(openCrl(der, [certificate])).toEqual(isBelieved ? read : undefined);
    expect(openCrl(der, [p256.certificate])).toBeUndefined();
  });
});
