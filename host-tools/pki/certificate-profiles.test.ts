import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCertificate, makeRoot, validityFrom } from "./certificate-profiles.js";
import type { Issued, Issuer, Profile } from "./certificate-profiles.js";
import { fromPem, toPem } from "./pem.js";
import { generateKey, nodeCrypto } from "./signer.js";
import type { NewKey } from "./signer.js";
import { makeCrl } from "./signed-crl.js";

const DAY_MS = 86_400_000;
const now = Date.now();

async function spkiOf(key: NewKey): Promise<Uint8Array> {
  return new Uint8Array(await nodeCrypto.subtle.exportKey("spki", key.publicKey));
}

async function leaf(issuer: Issuer, commonName: string, profile: Profile): Promise<Issued> {
  const publicKey = await spkiOf(await generateKey());
  return makeCertificate({ commonName, publicKey, profile, validity: validityFrom(now, DAY_MS) }, issuer);
}

describe("certificates", () => {
  let dir: string;
  let root: Issuer;
  let issuing: Issuer;
  let device: Issued;
  let broker: Issued;

  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const openssl = (...args: string[]): string => execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "hawser-certificates-"));
    const rootKey = await generateKey();
    const issuingKey = await generateKey();
    root = {
      signer: rootKey.signer,
      certificate: (await makeRoot("Test, Root = CA", await spkiOf(rootKey), rootKey.signer, validityFrom(now, 7305 * DAY_MS))).der,
    };
    const request = {
      commonName: "Test Issuing CA",
      publicKey: await spkiOf(issuingKey),
      profile: { kind: "issuing" } as const,
      validity: validityFrom(now, 1826 * DAY_MS),
    };
    issuing = { signer: issuingKey.signer, certificate: (await makeCertificate(request, root)).der };
    device = await leaf(issuing, "dev0001", { kind: "client" });
    broker = await leaf(issuing, "broker", { kind: "broker", hosts: ["localhost", "127.0.0.1", "::1"] });
    file("anchors.pem", toPem("CERTIFICATE", root.certificate));
    file("issuing.pem", toPem("CERTIFICATE", issuing.certificate));
    file("device.pem", toPem("CERTIFICATE", device.der));
    file("broker.pem", toPem("CERTIFICATE", broker.der));
  });

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const verify = (leafFile: string, purpose: string, ...more: string[]): string =>
    openssl(
      "verify",
      "-x509_strict",
      "-CAfile",
      join(dir, "anchors.pem"),
      "-untrusted",
      join(dir, "issuing.pem"),
      "-purpose",
      purpose,
      ...more,
      join(dir, leafFile),
    );

  async function crls(revoked: string[]): Promise<string> {
    const list = { number: 300, thisUpdateMs: now - 1000, nextUpdateMs: now + DAY_MS };
    const entries = revoked.map((serial) => ({ serial, revokedAtMs: now - 1000, reason: "keyCompromise" as const }));
    return (await makeCrl(issuing, { ...list, revoked: entries })) + (await makeCrl(root, { ...list, revoked: [] }));
  }

  it("pass OpenSSL's strict verification for their own purpose and for no other", () => {
    expect(verify("device.pem", "sslclient")).toContain(": OK");
    expect(verify("broker.pem", "sslserver", "-verify_hostname", "localhost")).toContain(": OK");
    expect(verify("broker.pem", "sslserver", "-verify_ip", "127.0.0.1")).toContain(": OK");
    expect(() => verify("device.pem", "sslserver")).toThrow();
    expect(() => verify("broker.pem", "sslclient")).toThrow();
  });

  it("read in Node as what they are", () => {
    const parsed = new X509Certificate(device.der);
    expect(parsed.subject).toBe("CN=dev0001");
    expect(parsed.serialNumber.toLowerCase()).toBe(device.serial);
    expect(device.serial).toMatch(/^[4-7][0-9a-f]{31}$/);
    expect(parsed.ca).toBe(false);
    expect(parsed.checkIssued(new X509Certificate(issuing.certificate))).toBe(true);
    expect(parsed.verify(new X509Certificate(issuing.certificate).publicKey)).toBe(true);
    expect(new X509Certificate(broker.der).subjectAltName).toBe("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
    expect(new X509Certificate(root.certificate).subject).toBe("CN=Test\\, Root = CA");
  });

  it("cannot be used as a CA: a leaf signed by a leaf is refused", async () => {
    const key = await generateKey();
    const request = {
      commonName: "middle",
      publicKey: await spkiOf(key),
      profile: { kind: "client" } as const,
      validity: validityFrom(now, DAY_MS),
    };
    const middle = await makeCertificate(request, issuing);
    const forged = await leaf({ certificate: middle.der, signer: key.signer }, "dev0002", { kind: "client" });
    file("forged.pem", toPem("CERTIFICATE", forged.der));
    file("middle.pem", toPem("CERTIFICATE", middle.der) + toPem("CERTIFICATE", issuing.certificate));
    expect(() =>
      openssl("verify", "-CAfile", join(dir, "anchors.pem"), "-untrusted", join(dir, "middle.pem"), join(dir, "forged.pem")),
    ).toThrow();
  });

  it("are refused once the revocation list names them, and only then", async () => {
    const clean = file("clean.crl", await crls([]));
    expect(verify("device.pem", "sslclient", "-crl_check_all", "-CRLfile", clean)).toContain(": OK");
    const revoked = file("revoked.crl", await crls([device.serial]));
    expect(() => verify("device.pem", "sslclient", "-crl_check_all", "-CRLfile", revoked)).toThrow(/certificate revoked/);
    expect(verify("broker.pem", "sslserver", "-crl_check_all", "-CRLfile", revoked)).toContain(": OK");
    expect(openssl("crl", "-in", revoked, "-noout", "-text")).toMatch(/CRL Number:\s+300[\s\S]*Reason Code:\s+Key Compromise/i);
  });

  it("never outlive their issuer and are backdated by at most a tenth of their life", () => {
    expect(validityFrom(1_000_000, 10_000)).toEqual({ notBeforeMs: 999_000, notAfterMs: 1_010_000 });
    expect(validityFrom(1_000_000_000, DAY_MS)).toEqual({ notBeforeMs: 1_000_000_000 - 300_000, notAfterMs: 1_000_000_000 + DAY_MS });
    expect(validityFrom(1_000_000, 10_000, 1_005_000).notAfterMs).toBe(1_005_000);
  });
});

describe("PEM", () => {
  it("goes there and back, block by block, with text around it", () => {
    const a = Uint8Array.from({ length: 100 }, (_, i) => i);
    const b = Uint8Array.of(7);
    const text = `before\n${toPem("CERTIFICATE", a)}between\n${toPem("X509 CRL", b)}${toPem("CERTIFICATE", b)}`;
    expect(fromPem("CERTIFICATE", text).map((der) => [...der])).toEqual([[...a], [7]]);
    expect(() => fromPem("CERTIFICATE", text.slice(0, -10))).toThrow();
    expect(() => fromPem("CERTIFICATE", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----")).toThrow();
  });
});
