/** Certificates that say where their revocation list is, judged by OpenSSL, which fetches the lists itself, and by brokers. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { runningBroker } from "../../test/support/host-tools/running-broker.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { startCrlServer } from "../authority/crl-server.js";
import type { CrlServer } from "../authority/crl-server.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { keyIdOf } from "../pki/crl-distribution-points.js";
import { fromPem } from "../pki/pem.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { servedCrls } from "./crl-addresses.js";
import type { ServedCrl } from "./crl-addresses.js";
import { answerRequest } from "./offline-root.js";
import { verifyCa } from "./verification.js";

const scene = new Scene();
let server: CrlServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
  await scene.clean();
});

const run = promisify(execFile);

async function openssl(...args: string[]): Promise<string> {
  try {
    return (await run("openssl", args, { encoding: "utf8" })).stdout;
  } catch (error) {
    return /error \d+ at \d+ depth lookup: ([^\n]+)/.exec((error as { stderr: string }).stderr)?.[1] ?? String(error);
  }
}

function file(text: string): string {
  const path = join(scene.directory(), "file.pem");
  writeFileSync(path, text);
  return path;
}

/** OpenSSL's verdict on a chain, by the lists that it fetches for leaf and issuing CA, or by those that a broker has. */
async function verdict(ca: CertificateAuthority, chainPem: string, lists: "fetched" | "given"): Promise<string> {
  const chain = file(chainPem);
  const [, issuing = ""] = chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
  const anchors = ["-CAfile", join(ca.directory, "root.crt.pem"), "-untrusted", chain];
  const given = ["-crl_check_all", "-CRLfile", join(ca.directory, "crl.pem"), chain];
  const asked = lists === "given" ? [given] : [chain, file(issuing)].map((pem) => ["-crl_check", "-crl_download", pem]);
  const answers = await Promise.all(asked.map((how) => openssl("verify", "-x509_strict", ...anchors, ...how)));
  return answers.find((answer) => !answer.endsWith(": OK\n")) ?? "good";
}

const leafText = (chainPem: string): Promise<string> => openssl("x509", "-noout", "-text", "-in", file(chainPem));

async function listText(ca: CertificateAuthority): Promise<string> {
  return openssl("crl", "-noout", "-text", "-in", join(ca.directory, "crl.pem"));
}

/** A server for the lists of whatever CA is given to `follow`. */
async function serving(): Promise<{ base: string; follow: (ca: CertificateAuthority) => Promise<void> }> {
  let lists: ReadonlyMap<string, ServedCrl> = new Map();
  server = await startCrlServer(0, "127.0.0.1", () => lists);
  return {
    base: `http://127.0.0.1:${server.port}/lists`,
    follow: async (ca) => void (lists = await servedCrls(new CaDirectory(ca.directory))),
  };
}

describe("a CA whose certificates say where its revocation lists are", () => {
  it("has OpenSSL find them from a certificate alone, through revocation and rollover", { timeout: 120_000 }, async () => {
    const { base, follow } = await serving();
    const ca = await scene.ca({ name: "Plant 7", crlBase: `${base}/` });
    await follow(ca);
    const [device, thief] = [await provisionDevice(ca, "one"), await provisionDevice(ca, "two")];
    const [, issuing] = fromPem("CERTIFICATE", device.chainPem);
    expect(await leafText(device.chainPem)).toContain(`URI:${base}/${keyIdOf(issuing ?? new Uint8Array())}.crl`);
    expect(await listText(ca)).toMatch(/X509v3 Issuing Distribution Point: critical\s+Full Name:\s+URI:http/);
    expect([await verdict(ca, device.chainPem, "fetched"), await verdict(ca, device.chainPem, "given")]).toEqual(["good", "good"]);

    await ca.revoke({ id: "two", reason: "keyCompromise" });
    expect(await verdict(ca, thief.chainPem, "fetched")).toBe("good");
    await follow(ca);
    expect([await verdict(ca, thief.chainPem, "fetched"), await verdict(ca, device.chainPem, "fetched")]).toEqual([
      "certificate revoked",
      "good",
    ]);

    // Each issuing CA has its own list at its own place.
    await ca.rollOver();
    await follow(ca);
    const fresh = await provisionDevice(ca, "three");
    const broker = (await ca.brokerMaterial()).chainPem;
    expect(await Promise.all([device.chainPem, fresh.chainPem, broker].map((pem) => verdict(ca, pem, "fetched")))).toEqual([
      "good",
      "good",
      "good",
    ]);
    expect(await verdict(ca, thief.chainPem, "fetched")).toBe("certificate revoked");
    await ca.retirePrevious(true);
    await follow(ca);
    expect(await verdict(ca, device.chainPem, "fetched")).not.toBe("good");
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
  });

  it(
    "that began to say so later, or moved, keeps every certificate good by the lists that brokers have",
    { timeout: 120_000 },
    async () => {
      const ca = await scene.ca();
      const before = await provisionDevice(ca, "before");
      expect(await leafText(before.chainPem)).not.toContain("CRL Distribution");
      await ca.setCrlBase("http://crl.example.com:8880");
      const after = await provisionDevice(ca, "after");
      expect(await leafText(after.chainPem)).toContain("URI:http://crl.example.com:8880/");
      // A list that named its place would not count for certificates without one.
      expect(await listText(ca)).not.toContain("Issuing Distribution Point");
      await ca.rollOver();
      const rolled = await provisionDevice(ca, "rolled");
      await ca.setCrlBase("http://lists.example.com");
      const moved = await provisionDevice(ca, "moved");
      expect(await listText(ca)).toMatch(/URI:http:\/\/lists\.example\.com\/\w+\.crl\s+URI:http:\/\/crl\.example\.com:8880\//);
      for (const { chainPem } of [before, after, rolled, moved]) expect(await verdict(ca, chainPem, "given")).toBe("good");
      await ca.changePassphrase("another horse and another battery", TEST_SCRYPT_COST);
      expect((await verifyCa(ca.directory, "another horse and another battery")).problems).toEqual([]);
      await expect(ca.setCrlBase("https://crl.example.com")).rejects.toMatchObject({ code: "BAD_URL" });
      await expect(ca.setCrlBase("http://crl.example.com/?id=1")).rejects.toMatchObject({ code: "BAD_URL" });
    },
  );

  it("serves a mosquitto as before: devices come in, and revoked ones do not", { timeout: 120_000 }, async () => {
    const ca = await scene.ca({ brokerHosts: ["localhost", "127.0.0.1"], crlBase: "http://crl.example.com" });
    const broker = await runningBroker(scene, ca);
    const device = await provisionDevice(ca, "one");
    expect(await broker(device, device.trustAnchorPem)).toBe(true);
    await ca.revoke({ id: "one", certificateOnly: true });
    expect(await broker(device, device.trustAnchorPem)).toBe(false);
  });

  it("asks an offline root to name the place too, and shows it to whoever signs", async () => {
    const ca = await scene.ca({ offlineRoot: { passphrase: "kept in another head" }, crlBase: "http://crl.example.com" });
    const request = await ca.makeRootRequest("rollover");
    expect(request).toMatch(/^With revocation lists at: http:\/\/crl\.example\.com$/m);
    const options = { signerFor: () => Promise.reject(new Error("no token")) as never, confirm: () => Promise.resolve(true) };
    const { text } = await answerRequest(join(ca.directory, "offline-root"), "kept in another head", request, options);
    await ca.importAnswer(text);
    expect(await leafText((await ca.brokerMaterial()).issuingPem)).toMatch(/URI:http:\/\/crl\.example\.com\/\w+\.crl/);
  });
});
