/** The native key store over PSA with files: what it makes, what it keeps, and what a power cut may leave. Under AddressSanitizer. */
import "reflect-metadata";
import { createHmac, webcrypto } from "node:crypto";
import { copyFile, mkdir, readFile, readdir, rename, rmdir, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NativeDevice, Status } from "./harness.js";

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const PSK_HEX = "5a".repeat(32);

x509.cryptoProvider.set(webcrypto);

let device: NativeDevice;
beforeEach(async () => {
  device = await NativeDevice.create();
});
afterEach(() => device?.remove());

async function publicKey(slot: string): Promise<string> {
  return (await device.keys("public", slot)).bytes.toString("hex");
}

const files = async (): Promise<string[]> => (await readdir(device.keyFolder)).sort();

describe("a signing key", () => {
  it("is made in its slot and stays over a restart", async () => {
    expect((await device.keys("has", "key-a")).has).toBe(false);
    expect((await device.keys("generate", "key-a")).status).toBe(Status.ok);
    expect((await device.keys("has", "key-a")).has).toBe(true);
    expect((await device.keys("has", "key-b")).has).toBe(false);
    expect(await publicKey("key-a")).toBe(await publicKey("key-a"));
  });

  it("signs a PKCS#10 request that others can verify", async () => {
    await device.keys("generate", "key-a");
    const { status, bytes } = await device.keys("csr", "key-a", "sensor-7.north_2");
    expect(status).toBe(Status.ok);
    const request = new x509.Pkcs10CertificateRequest(new Uint8Array(bytes));
    expect(request.subject).toBe("CN=sensor-7.north_2");
    expect(await request.verify()).toBe(true);
    expect(Buffer.from(request.publicKey.rawData).toString("hex")).toBe(await publicKey("key-a"));
  });

  it("takes the longest common name and refuses what could be more than a name", async () => {
    await device.keys("generate", "key-a");
    const longest = "x".repeat(64);
    expect(new x509.Pkcs10CertificateRequest(new Uint8Array((await device.keys("csr", "key-a", longest)).bytes)).subject).toBe(
      `CN=${longest}`,
    );
    for (const name of ["", "x".repeat(65), "a,O=evil", "a+OU=b", "a\\2C", "a b", "ä", "#04"]) {
      expect((await device.keys("csr", "key-a", name)).status).toBe(Status.badArgument);
    }
  });

  it("signs as JWT's ES256 does", async () => {
    await device.keys("generate", "key-b");
    const data = Buffer.from("header.payload");
    const { bytes } = await device.keys("sign", "key-b", data.toString("hex"));
    expect(bytes.length).toBe(64);
    const key = await webcrypto.subtle.importKey("spki", Buffer.from(await publicKey("key-b"), "hex"), ECDSA, true, ["verify"]);
    expect(await webcrypto.subtle.verify(ECDSA, key, bytes, data)).toBe(true);
    expect(await webcrypto.subtle.verify(ECDSA, key, bytes, Buffer.from("header.payloae"))).toBe(false);
  });

  it("is replaced by a new one, time and again, and leaves one file", async () => {
    const seen = new Set<string>();
    for (let i = 0; i < 5; i++) {
      await device.keys("generate", "key-a");
      seen.add(await publicKey("key-a"));
      expect(await files()).toHaveLength(1);
    }
    expect(seen.size).toBe(5);
  });

  it("is gone once destroyed, and destroying nothing is no error", async () => {
    await device.keys("generate", "key-a");
    expect((await device.keys("destroy", "key-a")).status).toBe(Status.ok);
    expect((await device.keys("destroy", "key-a")).status).toBe(Status.ok);
    expect((await device.keys("has", "key-a")).has).toBe(false);
    expect(await files()).toEqual([]);
    for (const words of [
      ["csr", "key-a", "x"],
      ["sign", "key-a", "00"],
      ["public", "key-a"],
    ]) {
      expect((await device.keys(...words)).status).toBe(Status.missing);
    }
  });
});

describe("a pre-shared key", () => {
  it("is stored, replaced and destroyed", async () => {
    expect((await device.keys("psk", "psk", PSK_HEX)).status).toBe(Status.ok);
    expect((await device.keys("psk", "psk", "00".repeat(16))).status).toBe(Status.ok);
    expect((await device.keys("has", "psk")).has).toBe(true);
    expect(await files()).toHaveLength(1);
    expect((await device.keys("destroy", "psk")).status).toBe(Status.ok);
    expect(await files()).toEqual([]);
  });

  it("has 16 to 64 bytes", async () => {
    for (const size of [16, 64]) expect((await device.keys("psk", "psk", "11".repeat(size))).status).toBe(Status.ok);
    for (const size of [1, 15, 65]) expect((await device.keys("psk", "psk", "11".repeat(size))).status).toBe(Status.badArgument);
  });

  it("authenticates as HMAC-SHA256 does, time and again, and an empty slot or a signing key does not", async () => {
    await device.keys("psk", "psk", PSK_HEX);
    await device.keys("generate", "key-a");
    const data = Buffer.from("hawser password\n1a");
    const expected = createHmac("sha256", Buffer.from(PSK_HEX, "hex")).update(data).digest();
    const ask = async (): Promise<Buffer> => (await device.keys("mac", "psk", data.toString("hex"))).bytes;
    expect([await ask(), await ask()]).toEqual([expected, expected]);
    expect((await device.keys("mac", "key-a", "00")).status).toBe(Status.missing);
    await device.keys("destroy", "psk");
    expect((await device.keys("mac", "psk", "00")).status).toBe(Status.missing);
  });

  it("does not sign, and is no public key", async () => {
    await device.keys("psk", "psk", PSK_HEX);
    for (const words of [
      ["csr", "psk", "x"],
      ["sign", "psk", "00"],
      ["public", "psk"],
    ]) {
      expect((await device.keys(...words)).status).toBe(Status.missing);
    }
  });
});

describe("slots", () => {
  it("are a fixed set: a misspelt one is an error and no new key", async () => {
    for (const slot of ["key-c", "KEY-A", "", "key-a-and-a-long-tail"]) {
      expect((await device.keys("generate", slot)).status).toBe(Status.unknownSlot);
      expect((await device.keys("has", slot)).status).toBe(Status.unknownSlot);
    }
    expect(await files()).toEqual([]);
  });

  it("are files for the owner's eyes only", async () => {
    await device.keys("generate", "key-a");
    expect((await stat(device.keyFolder)).mode & 0o777).toBe(0o700);
    for (const file of await files()) expect((await stat(join(device.keyFolder, file))).mode & 0o777).toBe(0o600);
  });
});

describe("after a power cut", () => {
  /** The state in which both keys of a replacement are there: the new one written whole, the old one not yet removed. */
  async function interrupted(replacements: number): Promise<string> {
    // Opening the store makes its folder.
    await device.keys("has", "key-a");
    const saved = join(device.folder, "saved");
    await mkdir(saved, { recursive: true });
    for (let i = 1; i < replacements; i++) await device.keys("generate", "key-a");
    const older = new Set(await files());
    await device.keys("generate", "key-a");
    const olderFile = (await files()).find((file) => !older.has(file)) ?? "";
    await copyFile(join(device.keyFolder, olderFile), join(saved, olderFile));
    await device.keys("generate", "key-a");
    const newer = await publicKey("key-a");
    await rename(join(saved, olderFile), join(device.keyFolder, olderFile));
    return newer;
  }

  // Three places in the ring, so three positions of the cut.
  it.each([1, 2, 3])(
    "between writing the new key and removing the old, the new one serves and the old one goes (%i)",
    async (replacements) => {
      const newer = await interrupted(replacements);
      expect(await files()).toHaveLength(2);
      expect(await publicKey("key-a")).toBe(newer);
      expect(await files()).toHaveLength(1);
      await device.keys("generate", "key-a");
      expect(await publicKey("key-a")).not.toBe(newer);
      expect(await files()).toHaveLength(1);
    },
  );

  it("in the middle of writing the new key, the old one serves", async () => {
    await device.keys("generate", "key-a");
    const before = await publicKey("key-a");
    const [file = ""] = await files();
    // What its-directory.c leaves when it is cut before the rename: a part of the record under the temporary name.
    const bytes = await readFile(join(device.keyFolder, file));
    const next = file.replace(/.$/, (digit) => String((Number(digit) + 1) % 3));
    await writeFile(join(device.keyFolder, `${next}.new`), bytes.subarray(0, 30));
    expect(await publicKey("key-a")).toBe(before);
    expect((await device.keys("generate", "key-a")).status).toBe(Status.ok);
    expect(await publicKey("key-a")).not.toBe(before);
  });

  it("that tore the record itself, the slot is empty and a new key can be made", async () => {
    await device.keys("generate", "key-a");
    const [file = ""] = await files();
    await truncate(join(device.keyFolder, file), 50);
    expect(await device.keys("has", "key-a")).toMatchObject({ status: Status.ok, has: false });
    expect((await device.keys("public", "key-a")).status).toBe(Status.missing);
    expect((await device.keys("generate", "key-a")).status).toBe(Status.ok);
    const made = await publicKey("key-a");
    expect(made).toHaveLength(182);
    await device.keys("generate", "key-a");
    expect(await publicKey("key-a")).not.toBe(made);
  });

  it("a record that cannot be read is not taken for a damaged one, in whose place a new key would be made", async () => {
    await device.keys("generate", "key-a");
    const before = await publicKey("key-a");
    const [file = ""] = await files();
    const path = join(device.keyFolder, file);
    await rename(path, `${path}.aside`);
    // To read a directory fails, as reading a worn disk does.
    await mkdir(path);
    await expect(device.keys("generate", "key-a")).rejects.toThrow("cannot be used");
    await rmdir(path);
    await rename(`${path}.aside`, path);
    expect(await publicKey("key-a")).toBe(before);
  });

  it("one slot's trouble is not another's", async () => {
    await device.keys("generate", "key-b");
    await device.keys("psk", "psk", PSK_HEX);
    const other = await publicKey("key-b");
    const newer = await interrupted(2);
    expect(await publicKey("key-a")).toBe(newer);
    expect(await publicKey("key-b")).toBe(other);
    expect((await device.keys("has", "psk")).has).toBe(true);
  });
});
