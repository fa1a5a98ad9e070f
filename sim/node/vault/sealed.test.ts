import { createHook } from "node:async_hooks";
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { errorCode, errorMessage } from "../../../sdk/errors.js";
import {
  DEFAULT_SCRYPT_COST,
  deriveKey,
  deriveKeyAhead,
  deriveKeyBeside,
  newKeyDerivation,
  readKeyDerivation,
  seal,
  SEAL_OVERHEAD_BYTES,
  TEST_SCRYPT_COST,
  unseal,
} from "./sealed.js";

const key = randomBytes(32);

function failureOf(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    return { code: errorCode(error), message: errorMessage(error) };
  }
  return { code: "no error", message: "" };
}

describe("sealing", () => {
  it("gives back what was sealed, of any size", () => {
    for (const size of [0, 1, 16, 5_000]) {
      const plain = randomBytes(size);
      const sealed = seal(key, plain, "file");
      expect(sealed).toHaveLength(size + SEAL_OVERHEAD_BYTES);
      expect(unseal(key, sealed, "file")).toEqual(plain);
    }
  });

  it("never seals the same way twice", () => {
    const sealed = new Set(Array.from({ length: 100 }, () => seal(key, Buffer.from("same"), "file").toString("hex")));
    expect(sealed.size).toBe(100);
  });

  it("refuses every cut, every changed byte, another key and another purpose", () => {
    const sealed = seal(key, Buffer.from("secret"), "file");
    for (let size = 0; size < sealed.length; size += 1)
      expect(failureOf(() => unseal(key, sealed.subarray(0, size), "file")).code).toBe("SEAL_BROKEN");
    for (let index = 0; index < sealed.length; index += 1) {
      const changed = Buffer.from(sealed);
      changed[index]! ^= 0x80;
      expect(failureOf(() => unseal(key, changed, "file")).code).toBe("SEAL_BROKEN");
    }
    expect(failureOf(() => unseal(randomBytes(32), sealed, "file")).code).toBe("SEAL_BROKEN");
    expect(failureOf(() => unseal(key, sealed, "other")).code).toBe("SEAL_BROKEN");
  });

  it("says nothing of the secret in its error", () => {
    const { message } = failureOf(() => unseal(key, Buffer.from("0123456789 secret 0123456789 0123456789"), "file"));
    expect(message).toContain("file");
    expect(message).not.toContain("secret");
  });
});

describe("keys from passphrases", () => {
  it("are the same for the same passphrase and salt, composed or decomposed, and no other", () => {
    const derivation = newKeyDerivation(TEST_SCRYPT_COST);
    const again = readKeyDerivation(JSON.parse(JSON.stringify(derivation)))!;
    expect(deriveKey("caf\u00e9", again)).toEqual(deriveKey("cafe\u0301", derivation));
    expect(deriveKey("cafe", derivation)).not.toEqual(deriveKey("caf\u00e9", derivation));
    expect(deriveKey("caf\u00e9", newKeyDerivation(TEST_SCRYPT_COST))).not.toEqual(deriveKey("caf\u00e9", derivation));
  });

  it("follow RFC 7914: its third test vector's cost and passphrase give 32 bytes of its key", () => {
    const derivation = {
      kdf: "scrypt" as const,
      cost: 16384,
      blockSize: 8,
      parallelization: 1,
      salt: Buffer.from("SodiumChloride").toString("base64"),
    };
    expect(deriveKey("pleaseletmein", derivation).toString("hex")).toBe("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
  });

  it("may be made ahead: whoever asks for the same one gets that, once, and nobody gets it for another passphrase or salt", async () => {
    const derivation = newKeyDerivation(TEST_SCRYPT_COST);
    const again = readKeyDerivation(JSON.parse(JSON.stringify(derivation)))!;
    deriveKeyAhead("right", derivation);
    const other = newKeyDerivation(TEST_SCRYPT_COST);
    expect(await deriveKeyBeside("wrong", again)).toEqual(deriveKey("wrong", derivation));
    expect(await deriveKeyBeside("right", other)).toEqual(deriveKey("right", other));
    const scrypts = new Set<string>();
    const hook = createHook({ init: (_id, type) => scrypts.add(type) }).enable();
    const key = await deriveKeyBeside("right", again);
    expect([...scrypts]).not.toContain("SCRYPTREQUEST");
    expect(key).toEqual(deriveKey("right", derivation));
    const second = await deriveKeyBeside("right", again);
    hook.disable();
    expect([...scrypts]).toContain("SCRYPTREQUEST");
    expect(second).toEqual(key);
    expect(second).not.toBe(key);
  });

  it("cost by default what the design asks for", () => {
    expect(DEFAULT_SCRYPT_COST).toEqual({ cost: 32768, blockSize: 8, parallelization: 1 });
    expect(deriveKey("x", newKeyDerivation())).toHaveLength(32);
  });

  it("are not derived from stored parameters that are none, or would take for ever", () => {
    const good = newKeyDerivation(TEST_SCRYPT_COST);
    expect(readKeyDerivation(good)).toEqual(good);
    const changes = [
      { kdf: "none" },
      { cost: 3 },
      { cost: 2 ** 21 },
      { cost: 0 },
      { cost: "2" },
      { blockSize: 33 },
      { cost: 2 ** 20, blockSize: 8 },
      { cost: 2 ** 15, blockSize: 32, parallelization: 16 },
      { parallelization: 0 },
      { salt: "" },
      { salt: "AA" },
      { salt: 1 },
    ];
    for (const change of changes) expect(readKeyDerivation({ ...good, ...change })).toBeUndefined();
    for (const value of [undefined, null, 1, "scrypt", []]) expect(readKeyDerivation(value)).toBeUndefined();
  });
});
