/** A CA whose keys are in a token: SoftHSM, through `pkcs11-tool`. */
import { execFileSync, spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it, test, vi } from "vitest";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { PIN, softToken, SOFTHSM } from "../../test/support/host-tools/soft-token.js";
import type { SoftToken } from "../../test/support/host-tools/soft-token.js";
import { buildCli, hawser, RunningCli, temporaryDirectory } from "../../test/support/host-tools/test-cli.js";
import { initCa } from "../ca/ca-creation.js";
import { openCa } from "../ca/certificate-authority.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { answerRequest } from "../ca/offline-root.js";
import { verifyCa } from "../ca/verification.js";
import { fromPem } from "../pki/pem.js";
import { FileSigner, generateKey, Signer } from "../pki/signer.js";
import { unseal, TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import { readRecord, unlock } from "../ca-directory/ca-record.js";
import { tokenKey, tokenSigners } from "./token-signer.js";

beforeAll(buildCli);
const scene = new Scene();
afterEach(async () => {
  vi.unstubAllEnvs();
  await scene.clean();
});

function useToken(token: SoftToken): SoftToken {
  for (const [name, value] of Object.entries(token.env)) vi.stubEnv(name, value);
  return token;
}

const pin = (): Promise<string> => Promise.resolve(PIN);

/** A CA with its issuing key, or both, in the token. */
async function caInToken(token: SoftToken, ask = pin, withRoot = false): Promise<CertificateAuthority> {
  const directory = join(scene.directory(), "ca");
  const make = (object: string) => () => tokenKey(token.uri(object), pin, { type: "P-256" });
  const signers = { issuing: make("issuing"), ...(withRoot ? { root: make("root") } : {}) };
  await initCa(directory, { name: "Test", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST, signers });
  return openCa(directory, PASSPHRASE, { signerFor: tokenSigners(ask) });
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name));
}

test(
  "a CA in a token serves its fleet: init, provision, renew over MQTT, roll over, retire and revoke; no key and no PIN is seen outside",
  { timeout: 180_000 },
  async () => {
    const cwd = temporaryDirectory();
    const token = softToken(temporaryDirectory());
    writeFileSync(join(cwd, "pin"), `${PIN}\n`, { mode: 0o600 });
    const env = { ...token.env, HAWSER_PASSPHRASE: PASSPHRASE, HAWSER_PIN_FILE: join(cwd, "pin") };
    const json = async (...args: string[]): Promise<Record<string, unknown>> => {
      const { code, stdout, stderr } = await hawser([...args, "--json"], { cwd, env });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return JSON.parse(stdout) as Record<string, unknown>;
    };
    expect(
      await json("ca", "init", "--dir", "ca", "--signer", token.uri("issuing"), "--root-signer", token.uri("root"), "--root-key", "P-384"),
    ).toMatchObject({ keys: { root: "token", issuing: "token" } });
    await json("provision", "--dir", "ca", "--id", "m1", "--vault", "v");
    const broker = new RunningCli(["broker", "run", "--dir", "ca", "--mtls-port", "0", "--psk-port", "0"], { cwd, env });
    const { mtlsPort, pskPort } = await broker.waitFor("ready");
    const authority = new RunningCli(["authority", "--dir", "ca", "--url", `mqtts://localhost:${String(mtlsPort)}`], { cwd, env });
    await authority.waitFor("connected");
    const device = new RunningCli(
      ["sim", "run", "--vault", "v", "--url", `mqtts://localhost:${String(mtlsPort)}`, "--psk-url", `mqtts://localhost:${String(pskPort)}`],
      { cwd, env },
    );
    await device.waitFor("connected");
    await json("ca", "rollover", "--dir", "ca", "--signer", token.uri("issuing-2"));
    device.signal("SIGUSR1");
    const { newSerial } = await device.waitFor("renewed");
    await authority.waitFor("active", ({ serial }) => serial === newSerial);
    expect(await json("ca", "rollover", "--dir", "ca", "--retire")).toMatchObject({ retired: true, leftBehind: [] });
    expect(await json("revoke", "--dir", "ca", "--id", "m1")).toMatchObject({ revoked: [newSerial] });
    await device.waitFor("disconnected");
    expect(await json("ca", "verify", "--dir", "ca")).toMatchObject({ ok: true });
    for (const cli of [device, authority, broker]) cli.signal("SIGKILL");

    // The root's own list names the issuing CA that was retired, and its key is on P-384.
    expect(execFileSync("openssl", ["crl", "-in", join(cwd, "ca/root.crl.pem"), "-noout", "-text"], { encoding: "utf8" })).toMatch(
      /ecdsa-with-SHA384[\s\S]*Serial Number: /,
    );
    expect(token.tool("--read-object", "--type", "privkey", "--label", "issuing-2")).toMatch(/reading private keys not/);
    expect(token.tool("--list-objects", "--type", "privkey").match(/never extractable/g)).toHaveLength(3);
    expect(token.calls()).toMatch(/--sign/);
    expect(token.calls()).not.toContain(PIN);
    const directory = new CaDirectory(join(cwd, "ca"));
    const sealing = await unlock(directory, readRecord(directory), PASSPHRASE);
    const issuing = unseal(sealing, readFileSync(join(cwd, "ca/keys/issuing.sealed")), SEAL_PURPOSE.key("keys/issuing.sealed")).toString(
      "utf8",
    );
    expect(issuing).toMatch(/^pkcs11:token=plant%207;object=issuing-2;id=(%[0-9a-f]{2}){8}\?module-path=/);
    rmSync(join(cwd, "pin"));
    for (const file of filesBelow(cwd)) expect([file, readFileSync(file, "latin1").includes(PIN)]).toEqual([file, false]);
  },
);

describe("a CA with a key in a token", () => {
  it("does without the token for all that needs no signature, and refuses the rest without having changed anything", async () => {
    const token = useToken(softToken(scene.directory()));
    const ca = await caInToken(token);
    const device = await provisionDevice(ca, "dev1");
    const tokens = join(token.env["SOFTHSM2_CONF"] ?? "", "..", "tokens");
    for (const one of readdirSync(tokens)) rmSync(join(tokens, one), { recursive: true });
    const again = await openCa(ca.directory, PASSPHRASE, { signerFor: tokenSigners(pin) });
    expect((await again.brokerMaterial()).pskFor("dev1")).toEqual(device.psk);
    await expect(again.revoke({ id: "dev1" })).rejects.toMatchObject({ code: "TOKEN_NOT_FOUND" });
    expect((await again.brokerMaterial()).stateOf("dev1")).toBe("active");
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
  });

  it("never shows a refused PIN to the token a second time", async () => {
    const token = useToken(softToken(scene.directory()));
    const ca = await caInToken(token, () => Promise.resolve("000000"));
    await expect(provisionDevice(ca, "dev1")).rejects.toMatchObject({ code: "WRONG_PIN" });
    const calls = token.calls();
    await expect(ca.renewCrl()).rejects.toMatchObject({ code: "WRONG_PIN" });
    expect(token.calls()).toBe(calls);
  });

  it("finds out when the token has another key under its id, and issues nothing", async () => {
    const token = useToken(softToken(scene.directory()));
    const ca = await caInToken(token);
    const [, id = ""] = /ID: +([0-9a-f]+)/.exec(token.tool("--list-objects", "--type", "privkey")) ?? [];
    for (const type of ["privkey", "pubkey"]) token.tool("--delete-object", "--type", type, "--id", id);
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "issuing", "--id", id, "--usage-sign");
    await expect(provisionDevice(ca, "dev1")).rejects.toMatchObject({ code: "SIGNATURE_WRONG" });
    for (const type of ["privkey", "pubkey"]) token.tool("--delete-object", "--type", type, "--id", id);
    const again = await openCa(ca.directory, PASSPHRASE, { signerFor: tokenSigners(pin) });
    await expect(again.renewCrl()).rejects.toMatchObject({ code: "TOKEN_KEY_MISSING" });
  });

  it("takes up the key that a command made before it was cut off, if told to, and only one that stays in the token", async () => {
    const token = useToken(softToken(scene.directory()));
    await tokenKey(token.uri("issuing"), pin, { type: "P-256" });
    await expect(tokenKey(token.uri("issuing"), pin, { type: "P-256" })).rejects.toMatchObject({
      code: "TOKEN_KEY_EXISTS",
      nextStep: expect.stringContaining("--existing-key") as string,
    });
    const { reference, signer } = await tokenKey(token.uri("issuing"), pin, { type: "P-256", useExisting: true });
    expect(await tokenSigners(pin)(reference).publicKey()).toEqual(await signer.publicKey());
    await expect(tokenKey(token.uri("issuing"), pin, { type: "P-384", useExisting: true })).rejects.toMatchObject({ code: "BAD_KEY" });
    await expect(tokenKey(token.uri("none"), pin, { type: "P-256", useExisting: true })).rejects.toMatchObject({
      code: "TOKEN_KEY_MISSING",
    });
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "loose", "--id", "77", "--usage-sign", "--extractable");
    await expect(tokenKey(token.uri("loose"), pin, { type: "P-256", useExisting: true })).rejects.toMatchObject({ code: "KEY_EXPORTABLE" });
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "issuing", "--id", "78", "--usage-sign");
    await expect(tokenKey(token.uri("issuing"), pin, { type: "P-256", useExisting: true })).rejects.toMatchObject({
      code: "TOKEN_AMBIGUOUS",
    });
    await expect(tokenKey(token.uri("x", `module-path=${SOFTHSM}.gone`), pin, { type: "P-256" })).rejects.toMatchObject({
      code: "TOKEN_LIBRARY_MISSING",
    });
    await expect(tokenKey(token.uri("x", "module-path=/etc/passwd"), pin, { type: "P-256" })).rejects.toMatchObject({
      code: "TOKEN_LIBRARY_MISSING",
    });
  });

  it("renews the devices' lists while the root's token is in a safe, and rolls over to a file only when told to", async () => {
    const token = useToken(softToken(scene.directory()));
    const ca = await caInToken(token, pin, true);
    await expect(ca.rollOver()).rejects.toMatchObject({ code: "SIGNER_REQUIRED" });
    await ca.rollOver({ signer: "file" });
    expect(new X509Certificate((await ca.brokerMaterial()).issuingPem).subject).toBe("CN=Test Issuing CA 2");
    const rootList = readFileSync(join(ca.directory, "root.crl.pem"), "utf8");
    const calls = token.calls();
    await ca.retirePrevious(true);
    expect(readFileSync(join(ca.directory, "root.crl.pem"), "utf8")).not.toBe(rootList);
    expect(token.calls()).not.toBe(calls);
    for (const type of ["privkey", "pubkey"]) token.tool("--delete-object", "--type", type, "--label", "root");
    await ca.renewCrl();
    await expect(ca.renewCrl({ root: true })).rejects.toMatchObject({ code: "TOKEN_KEY_MISSING" });
    expect(
      spawnSync(
        "openssl",
        [
          "verify",
          "-crl_check_all",
          "-CAfile",
          join(ca.directory, "root.crt.pem"),
          "-CRLfile",
          join(ca.directory, "crl.pem"),
          join(ca.directory, "issuing.crt.pem"),
        ],
        { encoding: "utf8" },
      ).stdout,
    ).toContain("OK");
  });
});

describe("a root in a token", () => {
  it(
    "is followed by another one in the token, which it vouches for; the old key is not asked after it is retired",
    { timeout: 120_000 },
    async () => {
      const token = useToken(softToken(scene.directory()));
      const ca = await caInToken(token, pin, true);
      const make = (object: string) => () => tokenKey(token.uri(object), pin, { type: "P-256" });
      await expect(ca.rollOverRoot({ signer: make("issuing-2") })).rejects.toMatchObject({ code: "SIGNER_REQUIRED" });
      const before = new X509Certificate(readFileSync(join(ca.directory, "root.crt.pem")));
      await ca.rollOverRoot({ signer: make("issuing-2"), rootSigner: make("root-2") });
      const [link] = fromPem("CERTIFICATE", readFileSync(join(ca.directory, "root-links.crt.pem"), "utf8"));
      const root = new X509Certificate(readFileSync(join(ca.directory, "root.crt.pem")));
      expect([
        new X509Certificate(link ?? "").verify(before.publicKey),
        new X509Certificate(link ?? "").publicKey.equals(root.publicKey),
      ]).toEqual([true, true]);
      await provisionDevice(ca, "dev1");
      await ca.retirePrevious();
      for (const type of ["privkey", "pubkey"]) token.tool("--delete-object", "--type", type, "--label", "root");
      await ca.renewCrl({ root: true });
      expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
      expect(token.tool("--list-objects", "--type", "privkey").match(/never extractable/g)).toHaveLength(3);
    },
  );

  it("that is carried away has the next one's key made in the token, where the folder finds it", { timeout: 120_000 }, async () => {
    const token = useToken(softToken(scene.directory()));
    const directory = join(scene.directory(), "ca");
    const make = (object: string) => () => tokenKey(token.uri(object), pin, { type: "P-256" });
    const options = { name: "Test", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST, offlineRoot: { passphrase: PASSPHRASE } };
    await initCa(directory, { ...options, signers: { root: make("root") } });
    const ca = await openCa(directory, PASSPHRASE, { signerFor: tokenSigners(pin) });
    const folder = join(directory, "offline-root");
    const signing = { signerFor: tokenSigners(pin), confirm: () => Promise.resolve(true) };
    const request = await ca.makeRootRequest("root");
    await expect(answerRequest(folder, PASSPHRASE, request, signing)).rejects.toMatchObject({ code: "SIGNER_REQUIRED" });
    const { text } = await answerRequest(folder, PASSPHRASE, request, { ...signing, newKey: make("root-2") });
    await ca.importAnswer(text);
    await ca.importAnswer((await answerRequest(folder, PASSPHRASE, await ca.makeRootRequest("retire"), signing)).text);
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
    expect(token.tool("--list-objects", "--type", "privkey")).toContain("root-2");
  });
});

describe("a signer of one's own", () => {
  it("signs all that the CA issues, on P-384 too, and is found again by its reference", async () => {
    const { signer: inner } = await generateKey("P-384");
    let signatures = 0;
    class Counting extends Signer {
      publicKey = (): Promise<Uint8Array> => inner.publicKey();
      sign = (data: Uint8Array): Promise<Uint8Array> => {
        signatures += 1;
        return inner.sign(data);
      };
      describe = (): string => "the key service";
      close = (): void => undefined;
    }
    const directory = join(scene.directory(), "ca");
    const signer = new Counting();
    await initCa(directory, {
      name: "Test",
      passphrase: PASSPHRASE,
      scryptCost: TEST_SCRYPT_COST,
      keyTypes: { issuing: "P-384" },
      signers: { issuing: () => Promise.resolve({ reference: "kms:plant-7/issuing", signer }) },
    });
    const before = signatures;
    const asked: string[] = [];
    const ca = await openCa(directory, PASSPHRASE, { signerFor: (reference) => (asked.push(reference), signer) });
    const { chainPem } = await provisionDevice(ca, "dev1");
    expect([asked, signatures - before, inner instanceof FileSigner]).toEqual([["kms:plant-7/issuing"], 1, true]);
    expect(new X509Certificate(chainPem).verify(new X509Certificate(readFileSync(join(directory, "issuing.crt.pem"))).publicKey)).toBe(
      true,
    );
    expect((await verifyCa(directory, PASSPHRASE)).problems).toEqual([]);
    await expect(openCa(directory, PASSPHRASE)).rejects.toMatchObject({ code: "BAD_SIGNER" });
  });
});
