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
    ["keyfile server.key is encrypted: the broker asks for its passphrase at every start, and does not start as a service."],
    ["keyfile server.key holds no private key: the broker does not start."],
  ]);
});
