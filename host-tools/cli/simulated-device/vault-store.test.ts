import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { encodePsaKey, firstKeyId } from "../../../sim/node/psa-key-file.js";
import { packageRoot } from "../../../firmware/build/project-files.js";
import { VaultKeyFiles } from "./vault-store.js";
import { checkXsHere } from "./xs-presence.js";

const newKey = (): Uint8Array => encodePsaKey({ kind: "signing", key: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey });
const [FIRST, SECOND] = [firstKeyId("key-a"), firstKeyId("key-a") + 1];

/** A vault's key files as a map, and the device's view of them. */
function opened(saved = new Map<string, Uint8Array>()): { saved: Map<string, Uint8Array>; keys: VaultKeyFiles } {
  const keys = new VaultKeyFiles({ save: (slot, secret) => void saved.set(slot, secret), erase: (slot) => void saved.delete(slot) });
  for (const [slot, secret] of saved) keys.restore(slot, secret);
  return { saved, keys };
}

describe("the keys of a vault, in PSA's form", () => {
  test("a replacement is in the vault with the first of its two steps, and after the second", () => {
    const { saved, keys } = opened();
    const [one, two] = [newKey(), newKey()];
    keys.put(FIRST, one);
    keys.put(SECOND, two);
    expect(opened(new Map(saved)).keys.get(FIRST)).toEqual(two);
    keys.delete(FIRST);
    expect(keys.get(FIRST)).toBeUndefined();
    expect([...saved.keys()]).toEqual(["key-a"]);
    expect(opened(saved).keys.get(FIRST)).toEqual(two);
  });

  test("a replacement taken back leaves the key before it, and a slot emptied none", () => {
    const { saved, keys } = opened();
    const one = newKey();
    keys.put(FIRST, one);
    keys.put(SECOND, newKey());
    keys.delete(SECOND);
    expect(opened(saved).keys.get(FIRST)).toEqual(one);
    keys.delete(FIRST);
    keys.delete(FIRST);
    expect(saved.size).toBe(0);
  });

  test("pre-shared keys are kept, as provisioned and as shown", () => {
    const { saved, keys } = opened();
    const ids = [firstKeyId("psk"), firstKeyId("psk-salted")] as const;
    const files = [1, 2].map((byte) => encodePsaKey({ kind: "psk", key: Buffer.alloc(32, byte) }));
    ids.forEach((id, index) => keys.put(id, files[index]!));
    const again = opened(saved).keys;
    expect(ids.map((id) => again.get(id))).toEqual(files);
  });

  test("what is no key of a device is refused, and what was there stays", () => {
    const { saved, keys } = opened();
    const one = newKey();
    keys.put(FIRST, one);
    expect(() => keys.put(SECOND, new Uint8Array(68))).toThrow(expect.objectContaining({ code: "KEY_UNREADABLE" }));
    expect(() => keys.put(1, one)).toThrow(expect.objectContaining({ code: "STORAGE_FAILED" }));
    expect(opened(saved).keys.get(FIRST)).toEqual(one);
    expect(() => opened(new Map([["psk", Uint8Array.of(9)]]))).toThrow(expect.objectContaining({ code: "VAULT_CORRUPT" }));
    expect(opened(new Map([["another", Uint8Array.of(9)]])).keys.get(FIRST)).toBeUndefined();
  });
});

describe("whether XS is here", () => {
  test("a checkout has it", () => {
    expect(() => checkXsHere(packageRoot())).not.toThrow();
  });

  test("an installed package is told what is missing and what to do", () => {
    const root = mkdtempSync(join(tmpdir(), "hawser-installed-"));
    onTestFinished(() => rmSync(root, { recursive: true, force: true }));
    expect(() => checkXsHere(root)).toThrow(
      expect.objectContaining({
        code: "XS_NOT_HERE",
        message: expect.stringMatching(/sources of its host \(sim\/xs\) and esbuild are not in/),
        nextStep: expect.stringContaining("npm ci"),
      }),
    );
    for (const path of ["sim/xs/device-program.ts", "sim/xs/host", "firmware/native"]) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      symlinkSync(join(packageRoot(), path), join(root, path));
    }
    expect(() => checkXsHere(root)).toThrow(/esbuild is not in/);
  });
});
