/** Whether the embedded broker can judge by a CA's revocation lists without OpenSSL, which would keep them for each connection. */
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { prepareMaterial } from "../../sim/brokers/tls-ports.js";
import { OpensslParent } from "../../test/support/host-tools/openssl-parent.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { embeddedMaterial } from "../cli/foreground-broker/broker-material.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { readParentFile } from "./parent-chain.js";
import { beginUnderParent, finishUnderParent } from "./pending-ca.js";

const scene = new Scene();
afterEach(() => scene.clean());

/** What a broker that OpenSSL gives no help says of each chain. */
async function verdicts(ca: CertificateAuthority, ...chains: readonly string[]): Promise<string[]> {
  const { revocation } = prepareMaterial(embeddedMaterial(await ca.brokerMaterial()));
  if (!revocation.judgeAlone) return ["left to OpenSSL"];
  return chains.map((chain) => revocation.judge(revocation.listed(new X509Certificate(chain)), Date.now()));
}

it("knows the CA of every list, through revocation and the rollovers of issuing CA and root", { timeout: 120_000 }, async () => {
  const ca = await scene.ca({ name: "Plant 7" });
  const [first, thief] = [await provisionDevice(ca, "first"), await provisionDevice(ca, "thief")];
  await ca.revoke({ id: "thief" });
  expect(await verdicts(ca, first.chainPem, thief.chainPem)).toEqual(["good", "CERTIFICATE_REVOKED"]);
  await ca.rollOver();
  const second = await provisionDevice(ca, "second");
  expect(await verdicts(ca, first.chainPem, second.chainPem, thief.chainPem)).toEqual(["good", "good", "CERTIFICATE_REVOKED"]);
  await ca.retirePrevious(true);
  expect(await verdicts(ca, first.chainPem, second.chainPem)).toEqual(["CRL_MISSING", "good"]);
  await ca.rollOverRoot();
  const third = await provisionDevice(ca, "third");
  expect(await verdicts(ca, second.chainPem, third.chainPem)).toEqual(["good", "good"]);
  await ca.revoke({ id: "second" });
  expect(await verdicts(ca, second.chainPem, third.chainPem)).toEqual(["CERTIFICATE_REVOKED", "good"]);
});

it("knows the CA of every list where certificates say where they are", async () => {
  const ca = await scene.ca({ crlBase: "http://ca.example/lists" });
  const [device, thief] = [await provisionDevice(ca, "device"), await provisionDevice(ca, "thief")];
  await ca.revoke({ id: "thief" });
  await ca.setCrlBase("http://elsewhere.example");
  const late = await provisionDevice(ca, "late");
  expect(await verdicts(ca, device.chainPem, late.chainPem, thief.chainPem)).toEqual(["good", "good", "CERTIFICATE_REVOKED"]);
});

it("knows the CA of every list under another PKI, with a CA between", async () => {
  const parent = new OpensslParent(scene.directory(), ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
  parent.below("root", "policy");
  const directory = join(scene.directory(), "ca");
  const signerFor = (): never => expect.fail("no token");
  const init = { name: "Plant 7", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST, brokerHosts: ["localhost"] };
  const csr = await beginUnderParent(directory, init, signerFor);
  const answer = parent.sign("policy", csr, "issuing") + parent.certificate("policy") + parent.certificate("root") + parent.lists();
  await finishUnderParent(directory, readParentFile(Buffer.from(answer), "chain.pem"), { ...init, signerFor });
  const ca = await openCa(directory, PASSPHRASE);
  const [device, thief] = [await provisionDevice(ca, "device"), await provisionDevice(ca, "thief")];
  await ca.revoke({ id: "thief" });
  expect(await verdicts(ca, device.chainPem, thief.chainPem)).toEqual(["good", "CERTIFICATE_REVOKED"]);
});
