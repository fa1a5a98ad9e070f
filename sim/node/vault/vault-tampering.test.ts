/**
 * What somebody can do to a vault who may write its files but does not know the passphrase: all of it is noticed, before anything is
 * believed.
 */
import { chmodSync, cpSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { errorCode } from "../../../sdk/errors.js";
import { TEST_SCRYPT_COST } from "./sealed.js";
import { Vault } from "./vault.js";

const PASSPHRASE = "correct horse battery";
let room: string;
let path: string;
/** The vault as it was earlier, and as its owner left it. */
let old: string;
let whole: string;

beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), "hawser-tampering-"));
  [path, old, whole] = [join(room, "vault"), join(room, "old"), join(room, "whole")];
  const vault = Vault.create(path, PASSPHRASE, { scryptCost: TEST_SCRYPT_COST });
  for (const name of ["device", "identity", "erased", "mq-1"]) vault.storage.put(name, Buffer.from(`first ${name}`));
  for (const slot of ["key-a", "key-b"]) vault.keyStore.generate(slot);
  vault.keyStore.importPsk("psk", Buffer.alloc(32, 1));
  cpSync(path, old, { recursive: true });
  for (const name of ["device", "identity", "mq-1"]) vault.storage.put(name, Buffer.from(`second ${name}`));
  vault.keyStore.generate("key-a");
  vault.keyStore.importPsk("psk", Buffer.alloc(32, 2));
  vault.keyStore.destroy("key-b");
  vault.storage.delete("erased");
  vault.storage.put("later", Buffer.from("later"));
  vault.close();
  cpSync(path, whole, { recursive: true });
});

afterEach(() => rmSync(room, { recursive: true }));

function tampered(damage: () => void): string {
  rmSync(path, { recursive: true });
  cpSync(whole, path, { recursive: true });
  damage();
  try {
    Vault.open(path, PASSPHRASE).close();
    return "not noticed";
  } catch (error) {
    return errorCode(error);
  }
}

const sealed = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).filter(
    (name) => name.includes("/") && statSync(join(directory, name)).isFile(),
  );

describe("a vault whose files somebody else may write", () => {
  it("opens as it was left", () => {
    expect(tampered(() => undefined)).toBe("not noticed");
    expect(sealed(path).sort()).toEqual(["k/key-a", "k/psk", "r/device", "r/identity", "r/later", "r/mq-1"]);
  });

  it("notices each single file that is removed", () => {
    for (const file of [...sealed(whole), "vault.json"]) {
      const expected = file === "vault.json" ? "VAULT_NOT_FOUND" : "VAULT_CORRUPT";
      expect([file, tampered(() => rmSync(join(path, file)))]).toEqual([file, expected]);
    }
  });

  it("notices each single file that is put back, though its seal is sound", () => {
    for (const file of sealed(old))
      expect([file, tampered(() => cpSync(join(old, file), join(path, file)))]).toEqual([file, "VAULT_CORRUPT"]);
  });

  it("notices any two files that are put back together", () => {
    const files = sealed(old);
    for (const one of files) {
      for (const other of files) {
        const putBack = (): void => [one, other].forEach((file) => cpSync(join(old, file), join(path, file)));
        expect([one, other, tampered(putBack)]).toEqual([one, other, "VAULT_CORRUPT"]);
      }
    }
  });

  it("notices files that changed places or stand where none was", () => {
    const files = sealed(whole);
    for (const one of files)
      for (const other of files)
        if (one !== other)
          expect([one, other, tampered(() => cpSync(join(path, one), join(path, other)))]).toEqual([one, other, "VAULT_CORRUPT"]);
    expect(tampered(() => cpSync(join(path, "r", "device"), join(path, "r", "mq-2")))).toBe("VAULT_CORRUPT");
    expect(tampered(() => writeFileSync(join(path, "r", "mq-2"), "planted"))).toBe("VAULT_CORRUPT");
  });

  it("follows no link", () => {
    for (const file of ["r/device", "k/psk", "vault.json"]) {
      const behind = join(room, "behind");
      const link = (): void => {
        renameSync(join(path, file), behind);
        symlinkSync(behind, join(path, file));
      };
      expect([file, tampered(link)]).toEqual([file, "VAULT_CORRUPT"]);
    }
    for (const directory of ["r", "k"]) {
      const behind = join(room, `behind-${directory}`);
      const link = (): void => {
        renameSync(join(path, directory), behind);
        symlinkSync(behind, join(path, directory));
      };
      expect([directory, tampered(link)]).toEqual([directory, "VAULT_CORRUPT"]);
    }
  });

  it("refuses directories that others may write to", () => {
    for (const directory of [".", "r", "k"]) expect(tampered(() => chmodSync(join(path, directory), 0o777))).toBe("VAULT_EXPOSED");
  });
});

describe("a vault that was cut off while it erased a file", () => {
  it("opens without the file, whether the stamp in its place is still there or not", () => {
    const vault = Vault.open(path, PASSPHRASE);
    vault.storage.delete("mq-1");
    // Not closed: as after a power cut. The stamp is the newest write, so it stays until the next.
    cpSync(path, join(room, "cut"), { recursive: true });
    rmSync(join(room, "cut", "lock"));
    const cut = Vault.open(join(room, "cut"), PASSPHRASE);
    expect(cut.storage.list("")).toEqual(["device", "identity", "later"]);
    cut.storage.put("later", Buffer.from("again"));
    expect(sealed(join(room, "cut"))).not.toContain("r/mq-1");
    cut.close();
    Vault.open(join(room, "cut"), PASSPHRASE).close();
    vault.close();
  });

  it("removes a stamp that outlived the write after it", () => {
    const vault = Vault.open(path, PASSPHRASE);
    vault.storage.delete("mq-1");
    cpSync(join(path, "r", "mq-1"), join(room, "stamp"));
    vault.storage.put("later", Buffer.from("again"));
    vault.close();
    cpSync(join(room, "stamp"), join(path, "r", "mq-1"));
    const again = Vault.open(path, PASSPHRASE);
    expect(again.storage.list("")).toEqual(["device", "identity", "later"]);
    expect(sealed(path)).not.toContain("r/mq-1");
    again.close();
  });
});

describe("a vault whose disk refused a write", () => {
  it("goes on by what is on the disk, and opens again", () => {
    const vault = Vault.open(path, PASSPHRASE);
    // Not a mode: root may write anyway.
    renameSync(join(path, "r"), join(room, "away"));
    expect(() => vault.storage.put("device", Buffer.from("lost"))).toThrow(/cannot write/);
    expect(() => vault.keyStore.destroy("psk")).toThrow(/cannot write/);
    renameSync(join(room, "away"), join(path, "r"));
    vault.storage.put("mq-1", Buffer.from("third"));
    vault.keyStore.destroy("psk");
    vault.close();
    const again = Vault.open(path, PASSPHRASE);
    expect(Buffer.from(again.storage.get("device") ?? []).toString()).toBe("second device");
    expect(again.keyStore.has("psk")).toBe(false);
    again.close();
  });
});
