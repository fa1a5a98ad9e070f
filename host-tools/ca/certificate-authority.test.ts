import { execFileSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import type { KeyPairKeyObjectResult } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { HawserError } from "../../sdk/errors.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { initCa } from "./ca-creation.js";
import { fromPem } from "../pki/pem.js";
import { openCaReadOnly, verifyAudit } from "./ca-without-passphrase.js";

const scene = new Scene();
afterEach(() => scene.clean());

const code = (expected: string): unknown => expect.objectContaining({ code: expected, nextStep: expect.stringMatching(/./) });

/** Every file below a directory with a hash of its content. */
function picture(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(directory, name)).isFile());
  return Object.fromEntries(
    files.sort().map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(directory, name)))
        .digest("hex"),
    ]),
  );
}

/** The operation fails with this code and leaves every file as it was. */
async function refused(ca: CertificateAuthority, expected: string, operation: () => Promise<unknown>): Promise<void> {
  const before = picture(ca.directory);
  await expect(operation()).rejects.toEqual(code(expected));
  expect(picture(ca.directory)).toEqual(before);
}

function chainIsGood(ca: CertificateAuthority, chain: readonly Uint8Array[]): void {
  const directory = scene.directory();
  const pem = (ders: readonly Uint8Array[]): string => ders.map((der) => new X509Certificate(der).toString()).join("");
  writeFileSync(join(directory, "leaf.pem"), pem(chain.slice(0, 1)));
  writeFileSync(join(directory, "middle.pem"), pem(chain.slice(1)));
  const files = [
    "-CAfile",
    join(ca.directory, "root.crt.pem"),
    "-untrusted",
    join(directory, "middle.pem"),
    "-CRLfile",
    join(ca.directory, "crl.pem"),
  ];
  execFileSync("openssl", ["verify", "-x509_strict", "-purpose", "sslclient", "-crl_check_all", ...files, join(directory, "leaf.pem")], {
    stdio: "pipe",
  });
}

describe("making a CA", () => {
  it("makes it in an empty directory, private, and never twice", async () => {
    const directory = join(scene.directory(), "a", "ca");
    mkdirSync(directory, { recursive: true });
    await initCa(directory, {
      name: "Plant 7",
      passphrase: PASSPHRASE,
      scryptCost: TEST_SCRYPT_COST,
      brokerHosts: ["mqtt.example.com", "10.0.0.5"],
    });
    const before = picture(directory);
    expect(Object.keys(before)).toEqual(expect.arrayContaining(["ca.json", "keys/root.sealed", "crl.pem", "audit.jsonl", "revision"]));
    for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" }))
      expect(statSync(join(directory, name)).mode & 0o077, name).toBe(0);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    await expect(initCa(directory, { name: "Plant 7", passphrase: PASSPHRASE })).rejects.toEqual(code("CA_EXISTS"));
    expect(picture(directory)).toEqual(before);
    expect(readdirSync(join(directory, ".."))).toEqual(["ca"]);
    const broker = fromPem("CERTIFICATE", readFileSync(join(directory, "broker.crt.pem"), "utf8"))[0] ?? new Uint8Array();
    expect(new X509Certificate(broker).subjectAltName).toBe("DNS:mqtt.example.com, IP Address:10.0.0.5");
  });

  it("leaves nothing behind when it is refused", async () => {
    const parent = scene.directory();
    writeFileSync(join(parent, "note"), "mine");
    const options = { name: "Test", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST };
    await expect(initCa(parent, options)).rejects.toEqual(code("OUT_EXISTS"));
    await expect(initCa(join(parent, "note"), options)).rejects.toEqual(code("OUT_EXISTS"));
    await expect(initCa(join(parent, "ca"), { ...options, name: " " })).rejects.toEqual(code("INVALID_NAME"));
    await expect(initCa(join(parent, "ca"), { ...options, brokerHosts: ["https://x"] })).rejects.toEqual(code("BAD_HOST"));
    await expect(initCa(join(parent, "ca"), { ...options, brokerHosts: [] })).rejects.toEqual(code("BAD_HOST"));
    expect(readdirSync(parent)).toEqual(["note"]);
  });

  it("lets exactly one of two makers have the place", async () => {
    const directory = join(scene.directory(), "ca");
    const make = (): Promise<void> => initCa(directory, { name: "Test", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST });
    const results = await Promise.allSettled([make(), make()]);
    expect(results.map((result) => result.status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(results.find((result) => result.status === "rejected")).toMatchObject({ reason: { code: "CA_EXISTS" } });
    await openCa(directory, PASSPHRASE);
  });
});

describe("opening a CA", () => {
  it("tells a wrong passphrase, a directory that is none, and damage apart", async () => {
    const ca = await scene.ca();
    await refused(ca, "WRONG_PASSPHRASE", () => openCa(ca.directory, "something else"));
    await expect(openCa(scene.directory(), PASSPHRASE)).rejects.toEqual(code("NOT_A_CA"));
    expect(() => openCaReadOnly(scene.directory())).toThrow(expect.objectContaining({ code: "NOT_A_CA" }));
  });

  it("finds every file that was cut off or removed, by name", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    const found: string[] = [];
    for (const file of Object.keys(picture(ca.directory))) {
      const path = join(ca.directory, file);
      const whole = readFileSync(path);
      const cuts = [0, 1, Math.floor(whole.length / 3), Math.floor((whole.length * 2) / 3), whole.length - 2, whole.length - 1];
      for (const length of cuts) {
        writeFileSync(path, whole.subarray(0, length));
        await expect(openCa(ca.directory, PASSPHRASE), `${file} cut at ${length}`).rejects.toEqual(code("CA_CORRUPT"));
        await expect(openCa(ca.directory, PASSPHRASE), `${file} cut at ${length}`).rejects.toThrow(path);
      }
      rmSync(path);
      const missing = file === "ca.json" ? "NOT_A_CA" : "CA_CORRUPT";
      // A name without its file is a name that is not there: nothing can tell.
      if (!file.startsWith("registry/")) await expect(openCa(ca.directory, PASSPHRASE), `${file} removed`).rejects.toEqual(code(missing));
      writeFileSync(path, whole);
      found.push(file);
    }
    expect(found.length).toBeGreaterThan(12);
    await openCa(ca.directory, PASSPHRASE);
  });

  it("finds a changed byte in every sealed file", async () => {
    const ca = await scene.ca();
    for (const key of ["root", "issuing", "broker"]) {
      const path = join(ca.directory, "keys", `${key}.sealed`);
      const whole = readFileSync(path);
      const bent = Buffer.from(whole);
      bent.writeUInt8(bent.readUInt8(40) ^ 1, 40);
      writeFileSync(path, bent);
      await expect(openCa(ca.directory, PASSPHRASE)).rejects.toThrow(path);
      writeFileSync(path, whole);
    }
  });
});

describe("provisioning", () => {
  it("gives a device a chain that OpenSSL verifies, with its PSK sealed at rest", async () => {
    const ca = await scene.ca();
    const { csr } = await testKey("dev1");
    const reservation = await ca.reserve({ id: "dev1", role: "sensor" });
    expect(openCaReadOnly(ca.directory).get("dev1").state).toBe("reserved");
    const identity = await ca.complete(reservation, csr);
    expect((await ca.brokerMaterial()).pskFor("dev1")).toBeUndefined();
    await ca.activate(reservation);
    chainIsGood(ca, identity.chain);
    const leaf = new X509Certificate(identity.chain[0] ?? new Uint8Array());
    expect([leaf.subject, leaf.serialNumber.toLowerCase(), Date.parse(leaf.validTo)]).toEqual([
      "CN=dev1",
      identity.serial,
      identity.notAfterMs,
    ]);
    expect(identity.psk).toHaveLength(32);
    expect((await ca.brokerMaterial()).pskFor("dev1")).toEqual(identity.psk);
    const everything = Object.keys(picture(ca.directory)).map((file) => readFileSync(join(ca.directory, file)));
    for (const form of [identity.psk, Buffer.from(identity.psk.toString("hex")), Buffer.from(identity.psk.toString("base64"))]) {
      expect(everything.some((content) => content.includes(form))).toBe(false);
    }
    expect(openCaReadOnly(ca.directory).list()).toMatchObject([
      { name: "dev1", kind: "device", role: "sensor", state: "active", serial: identity.serial },
    ]);
    expect(verifyAudit(ca.directory)).toMatchObject({ ok: true, lines: 4 });
  });

  it("refuses a name that is taken or unusable, and changes nothing", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    await ca.issueClient({ name: "backend-1", role: "backend" });
    await refused(ca, "ID_EXISTS", () => ca.reserve({ id: "dev1", role: "sensor" }));
    await refused(ca, "ID_EXISTS", () => ca.reserve({ id: "backend-1", role: "sensor" }));
    await refused(ca, "ID_EXISTS", () => ca.reserve({ id: "backend-1", role: "sensor", replace: true }));
    await refused(ca, "ID_EXISTS", () => ca.issueClient({ name: "dev1", role: "backend", replace: true }));
    await refused(ca, "ID_EXISTS", () => ca.issueClient({ name: "backend-1", role: "backend" }));
    await expect(ca.issueClient({ name: "backend-1", role: "backend" })).rejects.toMatchObject({
      nextStep: expect.stringContaining("--replace") as string,
    });
    await refused(ca, "INVALID_ROLE", () => ca.reserve({ id: "dev2", role: "operator" }));
    await refused(ca, "INVALID_ROLE", () => ca.issueClient({ name: "x", role: "sensor" }));
    for (const id of ["a/b", "a+", "#", "a\0b", "", "x".repeat(65), "-a", "../../etc/passwd"]) {
      await refused(ca, "INVALID_ID", () => ca.reserve({ id, role: "sensor" }));
      await refused(ca, "INVALID_ID", () => ca.issueClient({ name: id, role: "backend" }));
      await refused(ca, "INVALID_ID", () => ca.revoke({ id }));
    }
  });

  it("takes names that differ only in case for one, of devices, clients and batches, and still replaces a device by its own name", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "Dev1");
    await refused(ca, "ID_EXISTS", () => ca.reserve({ id: "dev1", role: "sensor" }));
    await refused(ca, "ID_EXISTS", () => ca.reserve({ id: "dev1", role: "sensor", replace: true }));
    await refused(ca, "ID_EXISTS", () => ca.issueClient({ name: "DEV1", role: "backend" }));
    const batch = await Promise.all(["dev2", "Dev2"].map(async (id) => ({ id, csr: (await testKey(id)).csr })));
    await refused(ca, "ID_EXISTS", () => ca.provisionBatch({ role: "sensor", devices: batch }));
    await provisionDevice(ca, "Dev1", true);
    expect((await ca.list()).map(({ name }) => name)).toEqual(["Dev1"]);
  });

  it("lets no client in whose credentials could not be kept, and revokes nothing for it", async () => {
    const ca = await scene.ca();
    const keep = (): never => {
      throw new HawserError("STORAGE_FULL", "no room", "Make some.");
    };
    await refused(ca, "STORAGE_FULL", () => ca.issueClient({ name: "backend", role: "backend", keep }));
    const { serial } = await ca.issueClient({ name: "backend", role: "backend" });
    await refused(ca, "STORAGE_FULL", () => ca.issueClient({ name: "backend", role: "backend", replace: true, keep }));
    expect(openCaReadOnly(ca.directory).get("backend")).toMatchObject({ state: "active", serial });
  });

  it("gives a name back as if nothing had been", async () => {
    const ca = await scene.ca();
    const early = await ca.reserve({ id: "dev1", role: "sensor" });
    await refused(ca, "ID_EXISTS", () => ca.reserve({ id: "dev1", role: "sensor" }));
    await ca.abandon(early);
    await ca.abandon(early);
    expect(await ca.list()).toEqual([]);
    await expect(ca.complete(early, (await testKey("dev1")).csr)).rejects.toEqual(code("NOT_RESERVED"));
    const late = await ca.reserve({ id: "dev1", role: "sensor" });
    const { serial } = await ca.complete(late, (await testKey("dev1")).csr);
    await ca.abandon(late);
    expect((await ca.brokerMaterial()).revokedSerials).toContain(serial);
    await provisionDevice(ca, "dev1");
    expect(
      openCaReadOnly(ca.directory)
        .get("dev1")
        .certificates.filter(({ status }) => status === "active"),
    ).toHaveLength(1);
  });

  it("refuses a request that is not for this name or not sound, and keeps the reservation usable", async () => {
    const ca = await scene.ca();
    const reservation = await ca.reserve({ id: "dev1", role: "sensor" });
    const { csr } = await testKey("dev1");
    const bent = Uint8Array.from(csr);
    bent.set([(bent.at(-1) ?? 0) ^ 1], bent.length - 1);
    await refused(ca, "WRONG_SUBJECT", async () => ca.complete(reservation, (await testKey("dev2")).csr));
    await refused(ca, "BAD_SIGNATURE", () => ca.complete(reservation, bent));
    await refused(ca, "BAD_REQUEST", () => ca.complete(reservation, csr.subarray(0, 50)));
    await refused(ca, "BAD_REQUEST", () => ca.complete(reservation, new Uint8Array(5000)));
    await ca.complete(reservation, csr);
    await ca.activate(reservation);
  });

  it("replaces a device only when the new identity is issued, and revokes the old one then", async () => {
    const ca = await scene.ca();
    const old = await provisionDevice(ca, "dev1");
    const given = await ca.reserve({ id: "dev1", role: "valve", replace: true });
    await ca.abandon(given);
    expect(openCaReadOnly(ca.directory).get("dev1")).toMatchObject({ state: "active", serial: old.serial, role: "sensor" });
    const reservation = await ca.reserve({ id: "dev1", role: "valve", replace: true });
    const fresh = await ca.complete(reservation, (await testKey("dev1")).csr);
    expect(fresh.replaced).toEqual([old.serial]);
    await ca.activate(reservation);
    const material = await ca.brokerMaterial();
    expect([...material.revokedSerials]).toEqual([old.serial]);
    expect(material.pskFor("dev1")).toEqual(fresh.psk);
    expect(material.roleOf("dev1")).toBe("valve");
    chainIsGood(ca, fresh.chain);
    const oldChain = fromPem("CERTIFICATE", old.chainPem);
    expect(() => chainIsGood(ca, oldChain)).toThrow(/certificate revoked/);
  });

  it("leaves a device that is replaced its role where none is named, so that a quarantine does not end by it", async () => {
    const ca = await scene.ca();
    expect(await ca.reserve({ id: "dev1" })).toMatchObject({ role: "sensor" });
    await provisionDevice(ca, "dev2");
    await ca.setName({ id: "dev2", attributes: {}, role: "valve", allowsDefaultRights: true });
    const reservation = await ca.reserve({ id: "dev2", replace: true });
    expect(await ca.complete(reservation, (await testKey("dev2")).csr)).toMatchObject({ role: "valve" });
    await ca.activate(reservation);
    expect(openCaReadOnly(ca.directory).get("dev2")).toMatchObject({ state: "active", role: "valve" });
  });
});

type PointForm = "compressed" | "hybrid" | "uncompressed";

/** A request for a key whose point is written in one of its three encodings (SEC 1, section 2.3.3). */
function encodedRequest(name: string, { publicKey, privateKey }: KeyPairKeyObjectResult, form: PointForm): Uint8Array {
  const { x = "", y = "" } = publicKey.export({ format: "jwk" });
  const [xBytes, yBytes] = [Buffer.from(x, "base64url"), Buffer.from(y, "base64url")];
  const parity = (yBytes.at(-1) ?? 0) & 1;
  const points = {
    compressed: [Buffer.of(2 + parity), xBytes],
    hybrid: [Buffer.of(6 + parity), xBytes, yBytes],
    uncompressed: [Buffer.of(4), xBytes, yBytes],
  };
  const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
    const body = Buffer.concat(parts);
    return Buffer.concat([Buffer.of(tag, ...(body.length < 128 ? [body.length] : [0x81, body.length])), body]);
  };
  const algorithm = Buffer.from("301306072a8648ce3d020106082a8648ce3d030107", "hex");
  const spki = tlv(0x30, algorithm, tlv(0x03, Buffer.of(0), ...points[form]));
  const subject = tlv(0x30, tlv(0x31, tlv(0x30, Buffer.from("0603550403", "hex"), tlv(0x0c, Buffer.from(name)))));
  const info = tlv(0x30, Buffer.from("020100", "hex"), subject, spki, Buffer.from("a000", "hex"));
  return tlv(0x30, info, Buffer.from("300a06082a8648ce3d040302", "hex"), tlv(0x03, Buffer.of(0), sign("sha256", info, privateKey)));
}

describe("enrolment", () => {
  it("gives the same key the same certificate, and retires the old one when the device reports the new", async () => {
    const ca = await scene.ca();
    const device = await provisionDevice(ca, "dev1");
    const { csr } = await testKey("dev1");
    const first = await ca.issueFromCsr("dev1", csr);
    const before = picture(ca.directory);
    const second = await ca.issueFromCsr("dev1", csr);
    expect([first.repeated, second.repeated, second.serial, second.chain]).toEqual([
      false,
      true,
      first.serial,
      first.chain.map((der) => Buffer.from(der)),
    ]);
    expect(picture(ca.directory)).toEqual(before);
    chainIsGood(ca, first.chain);
    expect((await ca.brokerMaterial()).revokedSerials.size).toBe(0);
    expect(await ca.retireOlder("dev1", first.serial)).toEqual([device.serial]);
    expect(await ca.retireOlder("dev1", first.serial)).toEqual([]);
    expect(await ca.retireOlder("dev1", device.serial)).toEqual([]);
    expect([...(await ca.brokerMaterial()).revokedSerials]).toEqual([device.serial]);
    expect(
      openCaReadOnly(ca.directory)
        .get("dev1")
        .certificates.map(({ status }) => status),
    ).toEqual(["superseded", "active"]);
    await expect(ca.retireOlder("dev1", "abc")).rejects.toEqual(code("UNKNOWN_CERTIFICATE"));
  });

  it("refuses who may not have one", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    await provisionDevice(ca, "gone");
    await ca.revoke({ id: "gone" });
    await ca.issueClient({ name: "backend", role: "backend" });
    await ca.reserve({ id: "half", role: "sensor" });
    const csr = async (id: string): Promise<Uint8Array> => (await testKey(id)).csr;
    await refused(ca, "UNKNOWN_DEVICE", async () => ca.issueFromCsr("nobody", await csr("nobody")));
    await refused(ca, "UNKNOWN_DEVICE", async () => ca.issueFromCsr("backend", await csr("backend")));
    await refused(ca, "UNKNOWN_DEVICE", async () => ca.issueFromCsr("half", await csr("half")));
    await refused(ca, "DEVICE_REVOKED", async () => ca.issueFromCsr("gone", await csr("gone")));
    await refused(ca, "WRONG_SUBJECT", async () => ca.issueFromCsr("dev1", await csr("dev2")));
    await refused(ca, "UNKNOWN_DEVICE", () => ca.retireOlder("backend", "abc"));
  });

  it("never certifies a key again whose certificate was revoked", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    const { csr } = await testKey("dev1");
    await ca.issueFromCsr("dev1", csr);
    await ca.revoke({ id: "dev1", certificateOnly: true, reason: "keyCompromise" });
    await refused(ca, "BAD_REQUEST", () => ca.issueFromCsr("dev1", csr));
    await ca.issueFromCsr("dev1", (await testKey("dev1")).csr);
    expect((await ca.brokerMaterial()).stateOf("dev1")).toBe("active");
  });

  it("knows a key that was revoked for compromise in every encoding of its point, under every name and after every date", async () => {
    let now = Date.now();
    const ca = await scene.ca({}, { now: () => now });
    await provisionDevice(ca, "dev1");
    const key = generateKeyPairSync("ec", { namedCurve: "P-256" });
    await ca.issueFromCsr("dev1", encodedRequest("dev1", key, "uncompressed"), { lifetimeMs: 60_000 });
    await ca.revoke({ id: "dev1", certificateOnly: true, reason: "keyCompromise" });
    await provisionDevice(ca, "dev2");
    const refuseAll = async (): Promise<void> => {
      for (const form of ["compressed", "hybrid", "uncompressed"] as const) {
        for (const id of ["dev1", "dev2"]) await refused(ca, "BAD_REQUEST", () => ca.issueFromCsr(id, encodedRequest(id, key, form)));
      }
    };
    await refuseAll();
    const reservation = await ca.reserve({ id: "dev3", role: "sensor" });
    await refused(ca, "BAD_REQUEST", () => ca.complete(reservation, encodedRequest("dev3", key, "compressed")));
    await ca.abandon(reservation);
    // What is only old is dropped from an entry; a key that somebody else has is not.
    now += 90 * 86_400_000;
    for (let i = 0; i < 3; i++) await ca.issueFromCsr("dev1", (await testKey("dev1")).csr);
    await refuseAll();
  });

  it("bounds how many certificates a device that never commits can have, without taking the one it uses", async () => {
    const ca = await scene.ca();
    const device = await provisionDevice(ca, "dev1");
    for (let i = 0; i < 8; i++) await ca.issueFromCsr("dev1", (await testKey("dev1")).csr);
    const { certificates, serial } = openCaReadOnly(ca.directory).get("dev1");
    const valid = certificates.filter(({ status }) => status === "active");
    expect(valid).toHaveLength(4);
    expect(valid[0]?.serial).toBe(device.serial);
    expect(serial).toBe(device.serial);
  });

  it("issues anew for a key whose certificate has expired", async () => {
    let now = Date.now();
    const ca = await scene.ca({}, { now: () => now });
    await provisionDevice(ca, "dev1");
    const { csr } = await testKey("dev1");
    const first = await ca.issueFromCsr("dev1", csr, { lifetimeMs: 10_000 });
    now += 20_000;
    const second = await ca.issueFromCsr("dev1", csr, { lifetimeMs: 10_000 });
    expect(second.repeated).toBe(false);
    expect(second.serial).not.toBe(first.serial);
  });
});

describe("revoking", () => {
  it("takes certificate and PSK, or the certificate alone", async () => {
    const ca = await scene.ca();
    const device = await provisionDevice(ca, "dev1");
    expect(await ca.revoke({ id: "dev1", certificateOnly: true })).toMatchObject({
      state: "certificate-revoked",
      serials: [device.serial],
    });
    expect((await ca.brokerMaterial()).pskFor("dev1")).toEqual(device.psk);
    expect(await ca.revoke({ id: "dev1", reason: "cessationOfOperation" })).toMatchObject({ state: "revoked", serials: [] });
    const material = await ca.brokerMaterial();
    expect([material.pskFor("dev1"), material.roleOf("dev1"), material.stateOf("dev1")]).toEqual([undefined, undefined, "revoked"]);
    expect(readFileSync(join(ca.directory, "registry", "dev1.json"), "utf8")).not.toContain("psk");
    await refused(ca, "ID_EXISTS", () => ca.reserve({ id: "dev1", role: "sensor" }));
    await provisionDevice(ca, "dev1", true);
    expect((await ca.brokerMaterial()).stateOf("dev1")).toBe("active");
  });

  it("refuses what makes no sense and changes nothing", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    await ca.issueClient({ name: "backend", role: "backend" });
    await refused(ca, "UNKNOWN_ID", () => ca.revoke({ id: "nobody" }));
    await refused(ca, "INVALID_REASON", () => ca.revoke({ id: "dev1", reason: "boredom" }));
    await refused(ca, "NOT_A_DEVICE", () => ca.revoke({ id: "backend", certificateOnly: true }));
    await ca.revoke({ id: "dev1" });
    await refused(ca, "ALREADY_REVOKED", () => ca.revoke({ id: "dev1", certificateOnly: true }));
    const before = picture(ca.directory);
    await ca.revoke({ id: "dev1" });
    expect(picture(ca.directory)).toEqual(before);
  });

  it("says why a name is shut out when it is revoked again, whatever reason is given then", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    await provisionDevice(ca, "dev1", true);
    await ca.revoke({ id: "dev1", reason: "keyCompromise" });
    for (const again of [{ id: "dev1" }, { id: "dev1", reason: "privilegeWithdrawn" }])
      expect(await ca.revoke(again)).toMatchObject({ state: "revoked", reason: "keyCompromise", serials: [] });
    await expect(ca.revoke({ id: "dev1", certificateOnly: true })).rejects.toMatchObject({
      message: expect.stringContaining("revoked (keyCompromise)") as string,
    });
  });

  it("drops certificates from the list when they have expired, and renews the list before it does", async () => {
    let now = Date.now();
    const ca = await scene.ca({ lifetimesMs: { device: 60_000 } }, { now: () => now });
    const crl = (): string =>
      execFileSync("openssl", ["crl", "-in", join(ca.directory, "crl.pem"), "-noout", "-text"], { encoding: "utf8" });
    const { serial } = await provisionDevice(ca, "dev1");
    await ca.revoke({ id: "dev1" });
    expect(crl().toLowerCase()).toContain(serial);
    const { nextUpdateMs } = await ca.renewCrl();
    expect(nextUpdateMs - now).toBe(30 * 86_400_000);
    now += 2 * 86_400_000;
    await provisionDevice(ca, "dev2");
    expect(crl().toLowerCase()).not.toContain(serial);
    expect(openCaReadOnly(ca.directory).crlNextUpdateMs - now).toBeGreaterThan(29.9 * 86_400_000);
  });
});

describe("the broker's certificate", () => {
  it("is renewed with a new key, and the old one is on the revocation list", async () => {
    const ca = await scene.ca();
    const before = await ca.brokerMaterial();
    const { serial } = await ca.renewBrokerCertificate();
    const after = await ca.brokerMaterial();
    const leaf = (pem: string): X509Certificate => new X509Certificate(pem);
    expect(leaf(after.chainPem).serialNumber.toLowerCase()).toBe(serial);
    expect(after.keyPem).not.toBe(before.keyPem);
    expect([...after.revokedSerials]).toEqual([leaf(before.chainPem).serialNumber.toLowerCase()]);
    await openCa(ca.directory, PASSPHRASE);
  });
});

describe("two openings of one CA", () => {
  it("see each other's changes and never lose one", async () => {
    const ca = await scene.ca();
    const other = await openCa(ca.directory, PASSPHRASE);
    const names = Array.from({ length: 10 }, (_, i) => `dev${i}`);
    await Promise.all(names.map((name, i) => provisionDevice(i % 2 === 0 ? ca : other, name)));
    expect((await ca.list()).map(({ name, state }) => [name, state])).toEqual(names.map((name) => [name, "active"]));
    expect(verifyAudit(ca.directory)).toMatchObject({ ok: true, lines: 31 });
  });
});

describe("the audit trail", () => {
  it("shows a line that was changed, removed, added or cut off", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    const path = join(ca.directory, "audit.jsonl");
    const whole = readFileSync(path, "utf8");
    const lines = whole.trimEnd().split("\n");
    const verdict = (text: string): unknown => {
      writeFileSync(path, text);
      return verifyAudit(ca.directory);
    };
    expect(verdict(whole)).toMatchObject({ ok: true });
    expect(verdict(whole.replace("sensor", "backup"))).toMatchObject({ ok: false });
    expect(verdict([...lines.slice(0, 1), ...lines.slice(2), ""].join("\n"))).toMatchObject({ ok: false, line: 2 });
    expect(verdict([...lines.slice(0, -1), ""].join("\n"))).toMatchObject({ ok: false });
    expect(verdict(`${whole}{}\n`)).toMatchObject({ ok: false, line: 5 });
    expect(verdict(whole.slice(0, -1))).toMatchObject({ ok: false });
  });
});
