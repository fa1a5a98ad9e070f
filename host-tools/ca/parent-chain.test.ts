/** An issuing CA under another PKI, which OpenSSL plays: RSA and EC, with and without a CA between. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { EmbeddedBroker } from "../../sim/brokers/embedded-broker.js";
import { OpensslParent } from "../../test/support/host-tools/openssl-parent.js";
import { freePorts, PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import type { InitOptions } from "./ca-creation.js";
import { readParentFile } from "./parent-chain.js";
import { beginUnderParent, finishUnderParent } from "./pending-ca.js";
import { openCaReadOnly } from "./ca-without-passphrase.js";
import { verifyCa } from "./verification.js";

const scene = new Scene();
afterEach(() => scene.clean());

const RSA = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const P384 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
const signerFor = (): never => expect.fail("no token");
const options: InitOptions = {
  name: "Plant 7",
  passphrase: PASSPHRASE,
  scryptCost: TEST_SCRYPT_COST,
  brokerHosts: ["localhost", "127.0.0.1"],
};

const finish = async (directory: string, pem: string): Promise<void> =>
  finishUnderParent(directory, readParentFile(Buffer.from(pem), "chain.pem"), {
    passphrase: PASSPHRASE,
    scryptCost: TEST_SCRYPT_COST,
    signerFor,
  });

/** OpenSSL with every revocation list, on a chain that a device or broker shows. */
function verdict(ca: CertificateAuthority, chainPem: string): string {
  const chain = join(scene.directory(), "chain.pem");
  writeFileSync(chain, chainPem);
  const files = ["-CAfile", join(ca.directory, "root.crt.pem"), "-CRLfile", join(ca.directory, "crl.pem"), "-untrusted", chain, chain];
  return execFileSync("openssl", ["verify", "-x509_strict", "-crl_check_all", ...files], { stdio: "pipe", encoding: "utf8" });
}

describe("a CA under another PKI", () => {
  it.each([
    ["RSA, and a CA between", RSA, true],
    ["P-384", P384, false],
  ] as const)("(%s) issues, serves, renews its parent's lists, rolls over and retires", async (_what, key, between) => {
    const parent = new OpensslParent(scene.directory(), key);
    if (between) parent.below("root", "policy");
    const [issuer, above] = between ? ["policy", parent.certificate("policy")] : ["root", ""];
    const directory = join(scene.directory(), "ca");
    const csr = await beginUnderParent(directory, options, signerFor);
    expect(
      execFileSync("openssl", ["req", "-verify", "-noout", "-subject", "-text"], { input: csr, encoding: "utf8", stdio: "pipe" }),
    ).toMatch(/CN = Plant 7 Issuing CA[\s\S]*CA:TRUE, pathlen:0/);
    await finish(directory, parent.sign(issuer, csr, "issuing") + above + parent.certificate("root") + parent.lists());
    expect(existsSync(`${directory}.pending`)).toBe(false);
    const ca = await openCa(directory, PASSPHRASE);
    const device = await provisionDevice(ca, "dev1");
    expect(device.chainPem.match(/BEGIN/g)).toHaveLength(between ? 3 : 2);
    expect(verdict(ca, device.chainPem) + verdict(ca, (await ca.brokerMaterial()).chainPem)).toMatch(/OK[\s\S]*OK/);
    await expect(ca.rollOver()).rejects.toMatchObject({ code: "ROOT_ABSENT", message: expect.stringContaining("another PKI") as string });

    const nextUpdateMs = openCaReadOnly(directory).rootCrl?.nextUpdateMs ?? 0;
    await ca.importAnswer(parent.lists(60).replace(/^/, "fetched today\n"));
    expect(openCaReadOnly(directory).rootCrl?.nextUpdateMs).toBeGreaterThan(nextUpdateMs);

    const request = await ca.makeRootRequest("rollover");
    expect(await ca.makeRootRequest("rollover")).not.toBe("");
    await expect(ca.importAnswer(parent.sign(issuer, csr, "old"))).rejects.toMatchObject({ code: "PARENT_CHAIN_INVALID" });
    await ca.importAnswer(parent.sign(issuer, request, "issuing-2"));
    expect(new X509Certificate((await ca.brokerMaterial()).issuingPem).subject).toBe("CN=Plant 7 Issuing CA 2");
    expect(verdict(ca, device.chainPem) + verdict(ca, (await provisionDevice(ca, "dev2")).chainPem)).toMatch(/OK[\s\S]*OK/);
    expect(await ca.retirePrevious(true)).toEqual({ leftBehind: ["dev1"] });
    expect(() => verdict(ca, device.chainPem)).toThrow();
    expect((await verifyCa(directory, PASSPHRASE)).problems).toEqual([]);
  });

  it("serves both brokers: a device with a chain of four connects, one that is shut out does not", async () => {
    const parent = new OpensslParent(scene.directory(), RSA);
    parent.below("root", "policy");
    parent.below("policy", "works");
    const directory = join(scene.directory(), "ca");
    const csr = await beginUnderParent(directory, options, signerFor);
    await finish(
      directory,
      parent.sign("works", csr, "issuing") + ["works", "policy", "root"].map((name) => parent.certificate(name)).join("") + parent.lists(),
    );
    const ca = await openCa(directory, PASSPHRASE);
    const device = await provisionDevice(ca, "dev1");
    const gone = await provisionDevice(ca, "dev2");
    await ca.revoke({ id: "dev2" });
    const [mtlsPort, pskPort] = await freePorts();
    const { configFile } = await ca.writeBrokerConfig({
      engine: "mosquitto",
      out: join(scene.directory(), "broker"),
      mtlsPort,
      pskPort,
      bind: "127.0.0.1",
    });
    await scene.mosquitto(configFile);
    const { chainPem, keyPem, trustAnchorPem, crlPem } = await ca.brokerMaterial();
    const embedded = new EmbeddedBroker({
      material: { chainPem, keyPem, trustAnchorPem, crlPem, pskFor: () => undefined, maySignIn: () => true, authorize: () => true },
      mtlsPort: 0,
      pskPort: 0,
    });
    const ports = [mtlsPort, (await embedded.start()).mtlsPort];
    const connects = (port: number, { chainPem: cert, keyPem: key, id }: typeof device): Promise<boolean> => {
      const client = scene.client(
        mqtt.connect({
          host: "localhost",
          port,
          protocol: "mqtts",
          key,
          cert,
          ca: device.trustAnchorPem,
          clientId: id,
          reconnectPeriod: 0,
        }),
      );
      return new Promise((resolve) => {
        client.once("connect", () => resolve(true));
        client.once("error", () => resolve(false));
        client.once("close", () => resolve(false));
      });
    };
    const verdicts: boolean[] = [];
    for (const port of ports) verdicts.push(await connects(port, device), await connects(port, gone));
    await embedded.kill();
    expect(verdicts).toEqual([true, false, true, false]);
  });

  it("says what is wrong with what the parent sent, and makes nothing of it; asked again, its request is for the same key", async () => {
    const parent = new OpensslParent(scene.directory(), P384);
    parent.below("root", "policy");
    const other = new OpensslParent(scene.directory(), P384);
    const directory = join(scene.directory(), "ca");
    await expect(finish(directory, parent.certificate("root"))).rejects.toMatchObject({ code: "NOT_PENDING" });
    const csr = await beginUnderParent(directory, options, signerFor);
    const keyOf = (pem: string): string => execFileSync("openssl", ["req", "-pubkey", "-noout"], { input: pem, encoding: "utf8" });
    expect(keyOf(await beginUnderParent(directory, { ...options, name: "Another" }, signerFor))).toBe(keyOf(csr));
    await expect(beginUnderParent(directory, { ...options, passphrase: "not that one" }, signerFor)).rejects.toMatchObject({
      code: "WRONG_PASSPHRASE",
    });
    const [root, policy, lists] = [parent.certificate("root"), parent.certificate("policy"), parent.lists()];
    const good = parent.sign("policy", csr, "issuing");
    const refuse = async (pem: string, why: RegExp): Promise<void> => {
      await expect(finish(directory, pem)).rejects.toMatchObject({
        code: "PARENT_CHAIN_INVALID",
        message: expect.stringMatching(why) as string,
      });
      expect(existsSync(directory)).toBe(false);
    };
    await refuse(root + policy + lists, /none of the certificates has the key/);
    await refuse(good + root + lists, /the issuer of CN=Plant 7 Issuing CA is missing: O=Example Works, CN=Works policy/);
    await refuse(good + policy + other.certificate("root") + lists, /the issuer of O=Example Works, CN=Works policy is missing/);
    await refuse(good + policy + root, /no revocation list of O=Example Works, CN=Works policy/);
    await refuse(good + policy + root + parent.list("policy") + other.list("root"), /no revocation list of O=Example Works, CN=Works root/);
    await refuse(parent.sign("policy", csr, "leaf", "basicConstraints=CA:FALSE") + policy + root + lists, /not the certificate of a CA/);
    await refuse(
      parent.sign("policy", csr, "named", "basicConstraints=critical,CA:TRUE", "nameConstraints=critical,permitted;DNS:example.com") +
        policy +
        root +
        lists,
      /critical extension 2\.5\.29\.30/,
    );
    await refuse(
      parent.sign("policy", csr, "mail", "basicConstraints=critical,CA:TRUE", "extendedKeyUsage=emailProtection") + policy + root + lists,
      /extended key usage/,
    );
    await refuse(good.slice(0, 300), /damaged/);
    await refuse("-----BEGIN PKCS7-----\n", /PKCS#7/);
    const weak = new OpensslParent(scene.directory(), RSA, "sha1");
    await refuse(weak.sign("root", csr, "weak") + weak.certificate("root") + weak.lists(), /SHA-1/);
    const small = new OpensslParent(scene.directory(), ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    await refuse(small.sign("root", csr, "small") + small.certificate("root") + small.lists(), /rsa 1024/);
    const edward = new OpensslParent(scene.directory(), ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp521r1"]);
    await refuse(edward.sign("root", csr, "big") + edward.certificate("root") + edward.lists(), /ec secp521r1/);
    const waiting = readFileSync(`${directory}.pending`);
    await finish(directory, good + policy + root + lists);
    // Killed just before the last step: the next run has nothing left to do but that.
    writeFileSync(`${directory}.pending`, waiting, { mode: 0o600 });
    await finish(directory, good + policy + root + lists);
    expect(existsSync(`${directory}.pending`)).toBe(false);
    await expect(finish(directory, good + policy + root + lists)).rejects.toMatchObject({ code: "CA_EXISTS" });
    expect(openCaReadOnly(directory).certificatePolicy.root).toBe("parent");
    expect(readFileSync(join(directory, "upper.crt.pem"), "utf8")).toBe(policy);
  });
});
