/** A CA whose root was carried away: what it asks of the root, what the root answers, and what neither takes. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync, cpSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import type { KeyType } from "../pki/signer.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCa } from "./certificate-authority.js";
import { pemChain } from "./context.js";
import { statusOf } from "./expiry.js";
import { answerRequest } from "./offline-root.js";
import { openCaReadOnly } from "./ca-without-passphrase.js";
import { verifyCa } from "./verification.js";

const ROOT_PASSPHRASE = "kept in another head";
const scene = new Scene();
afterEach(() => scene.clean());

interface Place {
  readonly ca: CertificateAuthority;
  /** The root's folder, carried away. */
  readonly root: string;
}

async function place(rootKey: KeyType = "P-256"): Promise<Place> {
  const ca = await scene.ca({ name: "Plant 7", keyTypes: { root: rootKey }, offlineRoot: { passphrase: ROOT_PASSPHRASE } });
  const root = join(scene.directory(), "safe");
  renameSync(join(ca.directory, "offline-root"), root);
  return { ca, root };
}

function nobody(): never {
  throw new Error("no token is asked");
}

async function sign(root: string, request: string, isWanted = true, nowMs = Date.now()): Promise<string> {
  return (await answerRequest(root, ROOT_PASSPHRASE, request, { signerFor: nobody, confirm: () => Promise.resolve(isWanted), nowMs })).text;
}

const issuerOf = async (ca: CertificateAuthority): Promise<string> => new X509Certificate((await ca.brokerMaterial()).issuingPem).subject;

/** OpenSSL, with every revocation list. */
function verdict(ca: CertificateAuthority, chainPem: string, rootsPem?: string): string {
  const chain = join(scene.directory(), "chain.pem");
  const roots = join(scene.directory(), "roots.pem");
  writeFileSync(chain, chainPem);
  writeFileSync(roots, rootsPem ?? readFileSync(join(ca.directory, "root.crt.pem"), "utf8"));
  try {
    return execFileSync(
      "openssl",
      ["verify", "-x509_strict", "-crl_check_all", "-CAfile", roots, "-CRLfile", join(ca.directory, "crl.pem"), "-untrusted", chain, chain],
      { stdio: "pipe", encoding: "utf8" },
    );
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
}

describe("a CA with an offline root", () => {
  it("serves its devices without the root, rolls over and retires with a request and an answer each", async () => {
    const { ca, root } = await place("P-384");
    const device = await provisionDevice(ca, "dev1");
    await ca.renewCrl();
    await expect(ca.rollOver()).rejects.toMatchObject({
      code: "ROOT_ABSENT",
      nextStep: expect.stringContaining("hawser ca request") as string,
    });
    await expect(ca.renewCrl({ root: true })).rejects.toMatchObject({ code: "ROOT_ABSENT" });
    const request = await ca.makeRootRequest("rollover");
    expect(request).toMatch(
      /^CA: Plant 7$[\s\S]*^Certify the issuing CA: Plant 7 Issuing CA 2$[\s\S]*^Fingerprint of the key: [0-9a-f]{64}$/m,
    );
    const { rollover } = await ca.importAnswer(await sign(root, request.replaceAll("\n", "\r\n")));
    expect([rollover?.name, await issuerOf(ca)]).toEqual(["Plant 7 Issuing CA 2", "CN=Plant 7 Issuing CA 2"]);
    expect(verdict(ca, (await ca.brokerMaterial()).chainPem)).toContain("OK");
    expect(verdict(ca, device.chainPem)).toContain("OK");

    await expect(ca.makeRootRequest("retire")).rejects.toMatchObject({ code: "ISSUER_IN_USE" });
    const retire = await ca.makeRootRequest("retire", { force: true });
    expect(await ca.importAnswer(await sign(root, retire))).toMatchObject({ leftBehind: ["dev1"] });
    expect(verdict(ca, device.chainPem)).not.toContain("OK");
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);

    // A year later the root's own list is due; the CA says so in time.
    const laterMs = Date.now() + 330 * 86_400_000;
    expect(statusOf(openCaReadOnly(ca.directory), laterMs).parts.find(({ what }) => what === "root-crl")).toMatchObject({ state: "soon" });
    const before = readFileSync(join(ca.directory, "root.crl.pem"), "utf8");
    await ca.importAnswer(await sign(root, await ca.makeRootRequest("crl")));
    expect(readFileSync(join(ca.directory, "root.crl.pem"), "utf8")).not.toBe(before);
    expect([existsSync(join(ca.directory, "issuing-next.json")), existsSync(join(ca.directory, "keys/issuing-next.sealed"))]).toEqual([
      false,
      false,
    ]);
  });

  it("gets another root from the folder, which the one before vouches for, and has that one forgotten", { timeout: 120_000 }, async () => {
    const { ca, root } = await place();
    const device = await provisionDevice(ca, "dev1");
    const oldRoot = readFileSync(join(ca.directory, "root.crt.pem"));
    const request = await ca.makeRootRequest("root");
    expect(request).toMatch(/^Make another root, to take the place of this one, on the curve: P-256$/m);
    // An answer that is lost costs nothing: the same request is answered again, with the same root.
    const lost = await sign(root, request);
    const answer = await sign(root, await ca.makeRootRequest("root"));
    const certificatesIn = (text: string): string[] => text.match(/-----BEGIN CERTIFICATE[^]*?END CERTIFICATE-----\n/g) ?? [];
    expect(certificatesIn(answer)[1]).toBe(certificatesIn(lost)[1]);
    expect((await readdir(root)).sort()).toEqual(["README.txt", "root.crt.pem", "root.json"]);

    // Neither half of an answer is taken, nor a root that the present one has not signed.
    const other = await place();
    const strange = await sign(other.root, await other.ca.makeRootRequest("root"));
    const [issuing = "", newRoot = "", link = ""] = certificatesIn(answer);
    const lists = answer.slice(answer.indexOf("-----BEGIN X509 CRL"));
    const firstList = lists.slice(0, lists.indexOf("-----END X509 CRL-----\n") + 23);
    for (const [text, why] of [
      [strange, /another one of the same name|not signed the key/],
      [issuing + newRoot + (certificatesIn(strange)[2] ?? "") + lists, /not signed the key|of the same name/],
      [issuing + newRoot + newRoot + lists, /not signed the key/],
      [(certificatesIn(strange)[0] ?? "") + newRoot + link + lists, /not for the issuing CA/],
      [issuing + newRoot + link + firstList, /revocation list of each root/],
      [issuing + newRoot + lists, /at most one certificate/],
    ] as const)
      await expect(ca.importAnswer(text)).rejects.toMatchObject({
        code: "ROOT_ANSWER_INVALID",
        message: expect.stringMatching(why) as string,
      });

    const { rollover, root: made } = await ca.importAnswer(answer);
    expect([rollover?.name, made?.serial]).toEqual(["Plant 7 Issuing CA 2", new X509Certificate(newRoot).serialNumber.toLowerCase()]);
    await expect(ca.importAnswer(answer)).rejects.toMatchObject({ code: "ROOT_ANSWER_INVALID" });
    // Who trusts the old root alone believes the broker by the link; the new one's devices are believed by the lists of both.
    const broker = (await ca.brokerMaterial()).chainPem;
    writeFileSync(join(root, "old.pem"), oldRoot);
    writeFileSync(join(root, "chain.pem"), broker);
    expect(
      execFileSync(
        "openssl",
        ["verify", "-CAfile", join(root, "old.pem"), "-untrusted", join(root, "chain.pem"), join(root, "chain.pem")],
        {
          encoding: "utf8",
        },
      ),
    ).toContain("OK");
    expect(verdict(ca, broker)).toContain("OK");
    const both = pemChain(ca.trustAnchors);
    expect(verdict(ca, device.chainPem, both)).toContain("OK");
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
    await expect(ca.makeRootRequest("root")).rejects.toMatchObject({ code: "ROLLOVER_UNFINISHED" });

    // Both roots' lists are renewed, until the old one is retired.
    await ca.importAnswer(await sign(root, await ca.makeRootRequest("crl")));
    expect(verdict(ca, device.chainPem, both)).toContain("OK");
    const retire = await ca.makeRootRequest("retire", { force: true });
    expect(retire).toMatch(/^Forget the key of the root before: [0-9a-f]{64}$/m);
    expect(readFileSync(join(root, "root.json"), "utf8")).toContain('"previous"');
    const retired = await sign(root, retire);
    expect(readFileSync(join(root, "root.json"), "utf8")).not.toContain('"previous"');
    expect(await ca.importAnswer(retired)).toMatchObject({ leftBehind: ["dev1"] });
    expect(ca.trustAnchors).toHaveLength(1);
    expect(verdict(ca, device.chainPem, both)).not.toContain("OK");
    expect(verdict(ca, (await ca.brokerMaterial()).chainPem)).toContain("OK");
    await ca.importAnswer(await sign(root, await ca.makeRootRequest("crl")));
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
    // And again, years later.
    await ca.importAnswer(await sign(root, await ca.makeRootRequest("root")));
    expect((await ca.brokerMaterial()).chainPem.match(/BEGIN CERTIFICATE/g)).toHaveLength(4);
  });

  it("keeps the key it asked a certificate for, through another passphrase, and asks for the same again", async () => {
    const { ca, root } = await place();
    const keyIn = (request: string): string | undefined => /^With the key: (.*)$/m.exec(request)?.[1];
    const first = await ca.makeRootRequest("rollover");
    await ca.changePassphrase("another horse and another battery", TEST_SCRYPT_COST);
    const again = await openCa(ca.directory, "another horse and another battery");
    const second = await again.makeRootRequest("rollover");
    expect(keyIn(second)).toBe(keyIn(first));
    await again.importAnswer(await sign(root, second));
    expect(await issuerOf(again)).toBe("CN=Plant 7 Issuing CA 2");
  });

  it("takes no answer that is old, of another root, damaged, without the list, or for a key it did not ask about", async () => {
    const { ca, root } = await place();
    const other = await place();
    const refuse = async (text: string, why: RegExp): Promise<void> => {
      const revision = readFileSync(join(ca.directory, "revision"), "utf8");
      await expect(ca.importAnswer(text)).rejects.toMatchObject({
        code: "ROOT_ANSWER_INVALID",
        message: expect.stringMatching(why) as string,
      });
      expect(readFileSync(join(ca.directory, "revision"), "utf8")).toBe(revision);
    };
    const old = join(scene.directory(), "old");
    cpSync(root, old, { recursive: true });
    const stray = await sign(other.root, await other.ca.makeRootRequest("rollover"));
    const crl = await sign(root, await ca.makeRootRequest("crl"));
    await refuse(stray, /not signed by the root of this CA/);
    await refuse(crl.slice(0, -40), /damaged/);
    await refuse("nothing", /one revocation list/);
    await refuse(crl + crl, /one revocation list/);
    await refuse(await sign(root, await ca.makeRootRequest("crl"), true, Date.now() - 800 * 86_400_000), /not valid now/);
    await ca.importAnswer(crl);
    await refuse(crl, /number 2, and number 2 is here/);
    await refuse(await sign(old, await ca.makeRootRequest("crl")), /an old copy/);
    const certificate = /-----BEGIN CERTIFICATE[\s\S]*END CERTIFICATE-----\n/.exec(stray)?.[0] ?? "";
    const fresh = await sign(root, await ca.makeRootRequest("crl"));
    await refuse(certificate + fresh, /none was asked for/);
    await ca.makeRootRequest("rollover");
    await refuse(certificate + fresh, /not for the issuing CA that was asked for/);
  });

  it("has a root that signs only what its own issuing CA asked and a person confirmed", async () => {
    const { ca, root } = await place();
    const other = await place();
    const request = await ca.makeRootRequest("rollover");
    const state = readFileSync(join(root, "root.json"), "utf8");
    const refuse = (text: string, why: RegExp): Promise<void> =>
      expect(sign(root, text)).rejects.toMatchObject({ code: "ROOT_REQUEST_INVALID", message: expect.stringMatching(why) as string });
    await refuse(request.replace("Issuing CA 2", "Issuing CA 9"), /changed on the way/);
    await refuse(request.replace(/^For seconds: \d+ \(.*\)$/m, "For seconds: 3155760000 (36525.0 days)"), /changed on the way/);
    await refuse(request.replace("Signed by", "Approved by the security team\nSigned by"), /damaged/);
    await refuse(request.slice(0, 200), /damaged/);
    await refuse(await other.ca.makeRootRequest("rollover"), /another root/);
    await expect(sign(root, request, false)).rejects.toMatchObject({ code: "INTERRUPTED" });
    const options = { signerFor: nobody, confirm: () => Promise.resolve(true) };
    await expect(answerRequest(root, "a guess", request, options)).rejects.toMatchObject({ code: "WRONG_PASSPHRASE" });
    await expect(answerRequest(ca.directory, "a guess", request, options)).rejects.toMatchObject({ code: "NOT_A_ROOT" });
    expect(readFileSync(join(root, "root.json"), "utf8")).toBe(state);
    writeFileSync(join(root, "root.json"), state.replace('"crlNumber": 1', '"crlNumber": 7'));
    await expect(sign(root, request)).rejects.toMatchObject({ code: "ROOT_CORRUPT" });
    writeFileSync(join(root, "root.json"), state);
    await ca.importAnswer(await sign(root, request));
    // The issuing CA that is retired has lost its say.
    await ca.importAnswer(await sign(root, await ca.makeRootRequest("retire", { force: true })));
    await refuse(request, /retired/);
  });
});
