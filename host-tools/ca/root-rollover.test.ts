/** Another root, judged by OpenSSL, by the verifier of devices and by a mosquitto that runs. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { nodeChainVerifier } from "../../sim/node/node-chain-verifier.js";
import { runningBroker } from "../../test/support/host-tools/running-broker.js";
import { PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { fromPem } from "../pki/pem.js";
import { pemChain } from "./context.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaParts, openCaReadOnly } from "./ca-without-passphrase.js";
import { verifyCa } from "./verification.js";

const scene = new Scene();
afterEach(() => scene.clean());

/** What OpenSSL says of a chain, leaf first, by these roots and, if asked, by the CA's lists. */
function verdict(ca: CertificateAuthority, chainPem: string, purpose: "sslclient" | "sslserver", rootsPem: string, lists = true): string {
  const directory = scene.directory();
  writeFileSync(join(directory, "chain.pem"), chainPem);
  writeFileSync(join(directory, "roots.pem"), rootsPem);
  const byLists = lists ? ["-crl_check_all", "-CRLfile", join(ca.directory, "crl.pem")] : [];
  const files = [
    "-no-CAfile",
    "-no-CApath",
    "-CAfile",
    join(directory, "roots.pem"),
    "-untrusted",
    join(directory, "chain.pem"),
    ...byLists,
  ];
  try {
    execFileSync("openssl", ["verify", "-x509_strict", "-purpose", purpose, ...files, join(directory, "chain.pem")], {
      stdio: "pipe",
      encoding: "utf8",
    });
    return "good";
  } catch (error) {
    return /error \d+ at \d+ depth lookup: ([^\n]+)/.exec((error as { stderr: string }).stderr)?.[1] ?? "refused";
  }
}

async function renew(ca: CertificateAuthority, id: string): Promise<readonly Uint8Array[]> {
  const { chain, serial } = await ca.issueFromCsr(id, (await testKey(id)).csr);
  await ca.retireOlder(id, serial);
  return chain;
}

const rootOf = (ca: CertificateAuthority): string => pemChain(ca.trustAnchors.slice(0, 1));

describe("a rollover of the root", () => {
  it("is refused once the old root has expired: nobody would ever be shown what it signs", async () => {
    const ca = await scene.ca({ lifetimesMs: { root: 3_600_000, issuing: 3_600_000 } }, { now: () => Date.now() + 2 * 3_600_000 });
    await expect(ca.rollOverRoot()).rejects.toMatchObject({
      code: "ISSUER_EXPIRED",
      message: expect.stringContaining("the root expired") as string,
    });
    expect(ca.trustAnchors).toHaveLength(1);
  });

  it("is believed by who trusts the old root alone, and by who trusts the new one alone, before and after the old one is retired", async () => {
    const ca = await scene.ca({ name: "Plant 7" });
    const old = await provisionDevice(ca, "old");
    const oldRoot = rootOf(ca);
    const { name } = await ca.rollOverRoot();
    expect(name).toBe("Plant 7 Issuing CA 2");
    expect(ca.trustAnchors).toHaveLength(2);
    const newRoot = rootOf(ca);
    expect(new X509Certificate(newRoot).subject).toBe(new X509Certificate(oldRoot).subject);
    await expect(ca.rollOverRoot()).rejects.toMatchObject({ code: "ROLLOVER_UNFINISHED" });
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
    const { chainPem, trustAnchorPem } = await ca.brokerMaterial();
    expect(trustAnchorPem).toBe(newRoot + oldRoot);
    expect([oldRoot, newRoot, newRoot + oldRoot].map((roots) => verdict(ca, chainPem, "sslserver", roots))).toEqual([
      "good",
      "good",
      "good",
    ]);
    expect(verdict(ca, old.chainPem, "sslclient", trustAnchorPem)).toBe("good");
    const fresh = await provisionDevice(ca, "fresh");
    expect([verdict(ca, fresh.chainPem, "sslclient", trustAnchorPem), fresh.trustAnchorPem]).toEqual(["good", newRoot + oldRoot]);

    expect(openCaReadOnly(ca.directory).previous?.hanging(Date.now())).toEqual(["old"]);
    const renewed = await renew(ca, "old");
    // What a device asks before it stores the certificate: it has the old root alone.
    expect(nodeChainVerifier.leadsTo(renewed, fromPem("CERTIFICATE", oldRoot))).toBe(true);
    expect(verdict(ca, old.chainPem, "sslclient", trustAnchorPem)).toBe("certificate revoked");
    expect(await ca.retirePrevious()).toEqual({ leftBehind: [] });
    expect(rootOf(ca)).toBe(newRoot);
    expect([
      ca.trustAnchors.length,
      ...["root-previous.crt.pem", "keys/root-previous.sealed"].map((file) => existsSync(join(ca.directory, file))),
    ]).toEqual([1, false, false]);
    expect(verdict(ca, pemChain(renewed), "sslclient", newRoot)).toBe("good");
    const after = await ca.renewBrokerCertificate().then(() => ca.brokerMaterial());
    expect([verdict(ca, after.chainPem, "sslserver", oldRoot, false), verdict(ca, after.chainPem, "sslserver", newRoot)]).toEqual([
      "good",
      "good",
    ]);
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
  });

  it("comes again: who missed two is still led to the newest root", async () => {
    const ca = await scene.ca();
    const oldRoot = rootOf(ca);
    for (let time = 0; time < 2; time++) {
      await ca.rollOverRoot();
      await ca.retirePrevious();
    }
    const { chainPem } = await ca.brokerMaterial();
    expect([verdict(ca, chainPem, "sslserver", oldRoot, false), verdict(ca, chainPem, "sslserver", rootOf(ca))]).toEqual(["good", "good"]);
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
  });

  it("is seen by a process that opened the CA before, and survives a change of the passphrase on its way", async () => {
    const ca = await scene.ca();
    const other = await openCa(ca.directory, PASSPHRASE);
    await provisionDevice(ca, "dev1");
    await ca.rollOverRoot();
    const chain = await renew(other, "dev1");
    expect(verdict(ca, pemChain(chain), "sslclient", rootOf(ca))).toBe("good");
    await ca.changePassphrase("another horse and another battery", TEST_SCRYPT_COST);
    const again = await openCa(ca.directory, "another horse and another battery");
    await again.retirePrevious();
    expect(readdirSync(join(ca.directory, "keys")).sort()).toEqual(["broker.sealed", "issuing.sealed", "root.sealed"]);
    expect((await verifyCa(ca.directory, "another horse and another battery")).problems).toEqual([]);
  });

  it("does not take a retired root back that somebody puts where it was, and verifying names its files", async () => {
    const ca = await scene.ca();
    await ca.rollOverRoot();
    const files = ["root-previous.crt.pem", "keys/root-previous.sealed"];
    const kept = files.map((file) => readFileSync(join(ca.directory, file)));
    await ca.retirePrevious();
    expect((await verifyCa(ca.directory, PASSPHRASE)).strangers).toEqual([]);
    for (const [index, file] of files.entries()) writeFileSync(join(ca.directory, file), kept[index] ?? "", { mode: 0o600 });
    const again = await openCa(ca.directory, PASSPHRASE);
    await again.renewCrl();
    expect(again.trustAnchors).toEqual(ca.trustAnchors);
    expect((await again.brokerMaterial()).trustAnchorPem).toBe(rootOf(ca));
    expect(await verifyCa(ca.directory, PASSPHRASE)).toMatchObject({ problems: [], strangers: files });
    // Without the passphrase nothing is proved, but what the state does not name is not read.
    const planted = { code: "CA_CORRUPT", message: expect.stringContaining(files[0] ?? "") as string };
    expect(() => openCaParts(ca.directory)).toThrow(expect.objectContaining(planted) as Error);
    rmSync(join(ca.directory, files[0] ?? ""));
    rmSync(join(ca.directory, files[1] ?? ""));
    expect(openCaReadOnly(ca.directory).trustAnchors).toHaveLength(1);
  });

  it("reaches a mosquitto that runs: devices of both roots come in, each trusting the root it was given", async () => {
    const ca = await scene.ca({ brokerHosts: ["localhost", "127.0.0.1"] });
    const connects = await runningBroker(scene, ca);
    const old = await provisionDevice(ca, "old");
    await ca.rollOverRoot();
    const fresh = await provisionDevice(ca, "fresh");
    const newRoot = rootOf(ca);
    expect([await connects(old, old.trustAnchorPem), await connects(fresh, fresh.trustAnchorPem), await connects(fresh, newRoot)]).toEqual([
      true,
      true,
      true,
    ]);
    await ca.retirePrevious(true);
    expect([await connects(old, old.trustAnchorPem), await connects(fresh, newRoot), await connects(fresh, old.trustAnchorPem)]).toEqual([
      false,
      true,
      true,
    ]);
  });
});
