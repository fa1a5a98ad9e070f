import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { TestAuthority } from "../../../test/support/brokers/test-certificates.js";
import { auditMosquitto } from "./mosquitto-audit.js";

test("a key file that is encrypted, of another certificate or no key at all stops the broker; its own key does not", async () => {
  const directory = mkdtempSync(join(tmpdir(), "hawser-doctor-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const authority = await TestAuthority.create();
  const [own, other] = [await authority.issue("localhost"), await authority.issue("elsewhere")];
  const encrypted = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem", cipher: "aes-128-cbc", passphrase: "x" },
  });
  const keys = { own: own.keyPem, other: other.keyPem, locked: encrypted.privateKey, none: own.chainPem };
  writeFileSync(join(directory, "server.crt"), own.chainPem);
  writeFileSync(join(directory, "mosquitto.conf"), "listener 8883\ncertfile server.crt\nkeyfile server.key\npassword_file /elsewhere/p\n");
  const found = Object.values(keys).map((pem) => {
    writeFileSync(join(directory, "server.key"), pem, { mode: 0o600 });
    const { findings } = auditMosquitto(join(directory, "mosquitto.conf"), { version: "2.0.11", nowMs: Date.now() });
    return findings.filter(({ id }) => id === "HW002").map(({ what }) => what);
  });
  expect(found).toEqual([
    [],
    ["keyfile server.key is not the key of certfile server.crt: the broker does not start."],
    ["keyfile server.key is encrypted: the broker asks for its passphrase at every start, and cannot run as a service."],
    ["keyfile server.key holds no private key: the broker does not start."],
  ]);
});

test("a CA file that is a directory, holds no certificate or no CA lets nobody in, or stops the broker", async () => {
  const directory = mkdtempSync(join(tmpdir(), "hawser-doctor-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const authority = await TestAuthority.create();
  const { chainPem, keyPem } = await authority.issue("localhost");
  const files = { "server.crt": chainPem, "server.key": keyPem, empty: "", "ca.crt": authority.trustAnchorPem };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o600 });
  const leaf = /-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n?/.exec(chainPem)?.[0] ?? "";
  writeFileSync(join(directory, "leaf.crt"), leaf);
  const told = (cafile: string): string[] => {
    const tls = "certfile server.crt\nkeyfile server.key\nrequire_certificate true\nuse_identity_as_username true\n";
    writeFileSync(join(directory, "mosquitto.conf"), `listener 8883\n${tls}cafile ${cafile}\nacl_file /elsewhere/acl\n`);
    const { findings } = auditMosquitto(join(directory, "mosquitto.conf"), { version: "2.0.11", nowMs: Date.now() });
    return findings.filter(({ id }) => id === "HW002" || id === "HW025").map(({ id, what }) => `${id} ${what}`);
  };
  expect(told("ca.crt")).toEqual([]);
  expect(told(".")).toEqual(["HW002 cafile . is a directory: the broker does not start."]);
  expect(told("empty")).toEqual(["HW002 cafile empty holds no certificate: the broker does not start."]);
  expect(told("leaf.crt")).toEqual(["HW025 cafile leaf.crt holds no certificate of a CA: every client certificate is refused."]);
});
