/** Another issuing CA under the same root, judged by OpenSSL with the revocation lists that brokers get. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { runningBroker, type Certified } from "../../test/support/host-tools/running-broker.js";
import { PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { pemChain } from "./context.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly } from "./ca-without-passphrase.js";
import { verifyCa } from "./verification.js";

const scene = new Scene();
afterEach(() => scene.clean());

/** What OpenSSL says of a chain, leaf first, by the root and the lists of the CA as it is. */
function verdict(ca: CertificateAuthority, chainPem: string, purpose: "sslclient" | "sslserver"): string {
  const directory = scene.directory();
  writeFileSync(join(directory, "chain.pem"), chainPem);
  const files = [
    "-CAfile",
    join(ca.directory, "root.crt.pem"),
    "-untrusted",
    join(directory, "chain.pem"),
    "-CRLfile",
    join(ca.directory, "crl.pem"),
  ];
  try {
    execFileSync("openssl", ["verify", "-x509_strict", "-purpose", purpose, "-crl_check_all", ...files, join(directory, "chain.pem")], {
      stdio: "pipe",
      encoding: "utf8",
    });
    return "good";
  } catch (error) {
    return /error \d+ at \d+ depth lookup: ([^\n]+)/.exec((error as { stderr: string }).stderr)?.[1] ?? "refused";
  }
}

const issuerOf = (chainPem: string): string => new X509Certificate(chainPem).issuer;

async function renew(ca: CertificateAuthority, id: string): Promise<string> {
  const { chain, serial } = await ca.issueFromCsr(id, (await testKey(id)).csr);
  await ca.retireOlder(id, serial);
  return pemChain(chain);
}

describe("a rollover of the issuing CA", () => {
  it("has both believed until the old one is retired, and moves devices as they renew", async () => {
    const ca = await scene.ca({ name: "Plant 7" });
    const one = await provisionDevice(ca, "one");
    const two = await provisionDevice(ca, "two");
    await provisionDevice(ca, "gone");
    await ca.revoke({ id: "gone" });
    const { name } = await ca.rollOver();
    expect(name).toBe("Plant 7 Issuing CA 2");
    await expect(ca.rollOver()).rejects.toMatchObject({ code: "ROLLOVER_UNFINISHED" });
    const broker = await ca.brokerMaterial();
    expect([issuerOf(broker.chainPem), verdict(ca, broker.chainPem, "sslserver")]).toEqual(["CN=Plant 7 Issuing CA 2", "good"]);
    expect([verdict(ca, one.chainPem, "sslclient"), verdict(ca, two.chainPem, "sslclient")]).toEqual(["good", "good"]);
    const moved = await renew(ca, "one");
    expect([issuerOf(moved), verdict(ca, moved, "sslclient"), verdict(ca, one.chainPem, "sslclient")]).toEqual([
      "CN=Plant 7 Issuing CA 2",
      "good",
      "certificate revoked",
    ]);
    // Revoking still reaches certificates of the old one.
    await provisionDevice(ca, "three");
    expect(openCaReadOnly(ca.directory).previous?.hanging(Date.now())).toEqual(["two"]);
    await expect(ca.retirePrevious()).rejects.toMatchObject({
      code: "ISSUER_IN_USE",
      message: expect.stringMatching(/1 names .*: two$/) as string,
    });
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
    await renew(ca, "two");
    expect(await ca.retirePrevious()).toEqual({ leftBehind: [] });
    expect(verdict(ca, two.chainPem, "sslclient")).not.toBe("good");
    expect([verdict(ca, moved, "sslclient"), verdict(ca, (await ca.brokerMaterial()).chainPem, "sslserver")]).toEqual(["good", "good"]);
    await expect(ca.retirePrevious()).rejects.toMatchObject({ code: "NO_ROLLOVER" });
    expect([
      existsSync(join(ca.directory, "issuing-previous.crt.pem")),
      existsSync(join(ca.directory, "keys/issuing-previous.sealed")),
    ]).toEqual([false, false]);
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
    expect((await (await openCa(ca.directory, PASSPHRASE)).rollOver()).name).toBe("Plant 7 Issuing CA 3");
  });

  it("reaches a mosquitto that runs: it believes devices of both, and of the new one alone after", async () => {
    const ca = await scene.ca({ brokerHosts: ["localhost", "127.0.0.1"] });
    const broker = await runningBroker(scene, ca);
    const old = await provisionDevice(ca, "old");
    const connects = (one: Certified): Promise<boolean> => broker(one, old.trustAnchorPem);
    expect(await connects(old)).toBe(true);
    await ca.rollOver();
    const fresh = await provisionDevice(ca, "fresh");
    expect([await connects(old), await connects(fresh)]).toEqual([true, true]);
    await ca.retirePrevious(true);
    expect([await connects(old), await connects(fresh)]).toEqual([false, true]);
  });

  it("leaves behind who did not move when it is told to, with the way back over the pre-shared key", async () => {
    const ca = await scene.ca();
    const device = await provisionDevice(ca, "dev1");
    await ca.issueClient({ name: "backend", role: "backend" });
    await ca.rollOver();
    expect(await ca.retirePrevious(true)).toEqual({ leftBehind: ["backend", "dev1"] });
    const material = await ca.brokerMaterial();
    expect([material.stateOf("dev1"), material.pskFor("dev1")]).toEqual(["certificate-revoked", device.psk]);
    expect(material.revokedSerials.has(device.serial)).toBe(true);
    const recovered = await renew(ca, "dev1");
    expect([verdict(ca, recovered, "sslclient"), (await ca.brokerMaterial()).stateOf("dev1")]).toEqual(["good", "active"]);
  });

  it("is seen by a process that opened the CA before, and survives a change of the passphrase on its way", async () => {
    const ca = await scene.ca();
    const other = await openCa(ca.directory, PASSPHRASE);
    const device = await provisionDevice(ca, "dev1");
    await ca.rollOver();
    expect(issuerOf(await renew(other, "dev1"))).toMatch(/Issuing CA 2$/);
    await ca.changePassphrase("another horse and another battery", TEST_SCRYPT_COST);
    const again = await openCa(ca.directory, "another horse and another battery");
    await again.renewCrl();
    expect(verdict(again, device.chainPem, "sslclient")).toBe("certificate revoked");
    await again.retirePrevious();
    expect((await verifyCa(ca.directory, "another horse and another battery")).problems).toEqual([]);
  });
});
