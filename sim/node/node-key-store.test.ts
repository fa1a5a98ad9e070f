import { execFileSync } from "node:child_process";
import { createHmac, createPublicKey, verify } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { errorCode } from "../../sdk/errors.js";
import { memoryKeyStore, memoryStorage } from "./memory-stores.js";

const room = mkdtempSync(join(tmpdir(), "hawser-keys-"));
afterAll(() => rmSync(room, { recursive: true }));

const psk = Buffer.alloc(32, 7);

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return errorCode(error);
  }
  return "no error";
}

describe("the key store", () => {
  it("makes requests that openssl verifies, with the subject asked for", () => {
    const keys = memoryKeyStore();
    keys.generate("key-a");
    for (const name of ["a", "sensor-0001", "x".repeat(64)]) {
      const request = keys.csr("key-a", name);
      const file = join(room, "request.der");
      writeFileSync(file, request);
      const text = execFileSync("openssl", ["req", "-inform", "DER", "-in", file, "-verify", "-noout", "-text"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
      expect(text).toContain(`Subject: CN = ${name}\n`);
      expect(text).toContain("Signature Algorithm: ecdsa-with-SHA256");
      expect(text).toContain("ASN1 OID: prime256v1");
      const publicKey = execFileSync("openssl", ["req", "-inform", "DER", "-in", file, "-noout", "-pubkey"], { encoding: "utf8" });
      expect(createPublicKey(publicKey).export({ type: "spki", format: "der" })).toEqual(Buffer.from(keys.publicKey("key-a")));
    }
  });

  it("signs as JWT ES256 does: 64 bytes r || s", () => {
    const keys = memoryKeyStore();
    keys.generate("key-a");
    const data = Buffer.from("header.payload");
    const signature = keys.sign("key-a", data);
    const key = createPublicKey({ key: Buffer.from(keys.publicKey("key-a")), format: "der", type: "spki" });
    expect(signature).toHaveLength(64);
    expect(verify("sha256", data, { key, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
  });

  it("authenticates with a pre-shared key as HMAC-SHA256 does, and with nothing else", () => {
    const keys = memoryKeyStore();
    keys.importPsk("psk", psk);
    keys.generate("key-a");
    const data = Buffer.from("data");
    expect(Buffer.from(keys.mac("psk", data))).toEqual(createHmac("sha256", psk).update(data).digest());
    expect(codeOf(() => keys.mac("key-a", data))).toBe("KEY_MISSING");
  });

  it("replaces a key, and forgets a destroyed one", () => {
    const keys = memoryKeyStore();
    keys.generate("key-a");
    const first = keys.publicKey("key-a");
    keys.generate("key-a");
    expect(keys.publicKey("key-a")).not.toEqual(first);
    keys.destroy("key-a");
    keys.destroy("key-a");
    expect(keys.has("key-a")).toBe(false);
    for (const use of [
      () => keys.csr("key-a", "x"),
      () => keys.sign("key-a", psk),
      () => keys.publicKey("key-a"),
      () => keys.psk("key-a"),
    ]) {
      expect(codeOf(use)).toBe("KEY_MISSING");
    }
  });

  it("does not take one kind of key for the other", () => {
    const keys = memoryKeyStore();
    keys.importPsk("psk", psk);
    keys.generate("key-a");
    expect(codeOf(() => keys.csr("psk", "x"))).toBe("KEY_MISSING");
    expect(codeOf(() => keys.psk("key-a"))).toBe("KEY_MISSING");
  });

  it("refuses slot names and key sizes outside the contract", () => {
    const keys = memoryKeyStore();
    for (const slot of ["", "Key", "a_b", "../x", "a".repeat(16)]) expect(codeOf(() => keys.generate(slot))).toBe("INVALID_SLOT");
    for (const size of [0, 15, 65]) expect(codeOf(() => keys.importPsk("psk", Buffer.alloc(size, 1)))).toBe("INVALID_PSK");
    expect(keys.has("psk")).toBe(false);
  });

  it("keeps its own copy of a pre-shared key", () => {
    const keys = memoryKeyStore();
    const key = Buffer.alloc(16, 3);
    keys.importPsk("psk", key);
    key.fill(0);
    expect(keys.psk("psk")).toEqual(Buffer.alloc(16, 3));
  });
});

describe("the memory storage", () => {
  it("follows the storage contract", () => {
    const storage = memoryStorage();
    storage.put("b", Buffer.of(1));
    storage.put("a", Buffer.of(2));
    storage.delete("zz");
    expect(storage.list("")).toEqual(["a", "b"]);
    for (const key of ["", "A", "a/b", "x".repeat(16)]) expect(codeOf(() => storage.put(key, Buffer.of(1)))).toBe("STORAGE_FAILED");
  });
});
