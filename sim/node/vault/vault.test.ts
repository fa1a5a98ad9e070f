import { createHash } from "node:crypto";
import { cpSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HawserError } from "../../../sdk/errors.js";
import { TEST_SCRYPT_COST } from "./sealed.js";
import { Vault } from "./vault.js";

let room: string;
let path: string;
const opened: Vault[] = [];

beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), "hawser-vault-"));
  path = join(room, "vault");
});

afterEach(() => {
  for (const vault of opened.splice(0)) vault.close();
  rmSync(room, { recursive: true, force: true });
});

const PASSPHRASE = "correct horse";
const cheap = { scryptCost: TEST_SCRYPT_COST };
const psk = Buffer.alloc(32, 7);

function hold(vault: Vault): Vault {
  opened.push(vault);
  return vault;
}

function create(): Vault {
  return hold(Vault.create(path, PASSPHRASE, cheap));
}

function open(passphrase = PASSPHRASE): Vault {
  return hold(Vault.open(path, passphrase));
}

function fill(vault: Vault): void {
  vault.storage.put("device", Buffer.from('{"v":1}'));
  vault.storage.put("mq-1", Buffer.alloc(40, 1));
  vault.keyStore.generate("key-a");
  vault.keyStore.importPsk("psk", psk);
}

function errorOf(run: () => unknown): HawserError | undefined {
  try {
    run();
  } catch (error) {
    if (!(error instanceof HawserError)) throw error;
    expect(error.nextStep).not.toBe("");
    return error;
  }
  return undefined;
}

function codeOf(run: () => unknown): string {
  return errorOf(run)?.code ?? "no error";
}

/** Everything below a directory: names, kinds, modes and contents. */
function snapshot(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const stat = lstatSync(join(directory, name));
      const content = stat.isFile()
        ? createHash("sha256")
            .update(readFileSync(join(directory, name)))
            .digest("hex")
        : "directory";
      return `${name} ${(stat.mode & 0o777).toString(8)} ${content}`;
    });
}

function filesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => lstatSync(join(directory, name)).isFile());
}

describe("a vault", () => {
  it("gives back records and keys after it was closed and opened", () => {
    const vault = create();
    fill(vault);
    const publicKey = vault.keyStore.publicKey("key-a");
    vault.storage.put("gone", Buffer.of(1));
    vault.storage.delete("gone");
    vault.close();
    const again = open();
    expect(again.storage.list("")).toEqual(["device", "mq-1"]);
    expect(Buffer.from(again.storage.get("device") ?? []).toString()).toBe('{"v":1}');
    expect(again.storage.get("gone")).toBeUndefined();
    expect(again.keyStore.publicKey("key-a")).toEqual(publicKey);
    expect(again.psk("psk")).toEqual(psk);
    expect(again.signingKey("key-a").asymmetricKeyType).toBe("ec");
    again.keyStore.destroy("key-a");
    again.close();
    expect(open().keyStore.has("key-a")).toBe(false);
  });

  it("keeps every legal record key apart, dots included", () => {
    const keys = [".", "..", ".a", "a.", "-", "_", "a.b-c_d", "abcdefghijklmno"];
    const vault = create();
    keys.forEach((key, index) => vault.storage.put(key, Buffer.of(index)));
    vault.close();
    const again = open();
    expect(again.storage.list("")).toEqual([...keys].sort());
    expect(keys.map((key) => again.storage.get(key)?.[0])).toEqual(keys.map((_key, index) => index));
    expect(again.storage.list("a.")).toEqual(["a.", "a.b-c_d"]);
  });

  it("hands out copies, so that a caller cannot change a record by accident", () => {
    const { storage } = create();
    const value = Buffer.from("abc");
    storage.put("x", value);
    value[0] = 0;
    const got = storage.get("x");
    got?.fill(0);
    expect(Buffer.from(storage.get("x") ?? []).toString()).toBe("abc");
  });

  it("lets nobody but its owner read: directories 0700, files 0600, whatever the umask", () => {
    const before = process.umask(0);
    try {
      fill(create());
    } finally {
      process.umask(before);
    }
    const mode = (name: string): number => lstatSync(join(path, name)).mode & 0o777;
    expect(mode(".")).toBe(0o700);
    for (const name of readdirSync(path, { recursive: true, encoding: "utf8" })) {
      expect([name, mode(name)]).toEqual([name, lstatSync(join(path, name)).isDirectory() ? 0o700 : 0o600]);
    }
  });

  it("writes no secret in the clear", () => {
    const vault = create();
    fill(vault);
    const pkcs8 = vault.signingKey("key-a").export({ type: "pkcs8", format: "der" });
    const secrets = [Buffer.from(PASSPHRASE), psk, pkcs8, pkcs8.subarray(36, 68), Buffer.from('{"v":1}')];
    const files = filesOf(path);
    expect(files.length).toBeGreaterThanOrEqual(6);
    for (const file of files) for (const secret of secrets) expect(readFileSync(join(path, file)).includes(secret)).toBe(false);
  });

  it("does not guess at a vault of a later version", () => {
    create().close();
    const header = join(path, "vault.json");
    writeFileSync(header, readFileSync(header, "utf8").replace('"version":2', '"version":3'));
    expect(codeOf(() => Vault.open(path, PASSPHRASE))).toBe("VAULT_TOO_NEW");
    writeFileSync(header, readFileSync(header, "utf8").replace('"version":3', '"version":1'));
    expect(codeOf(() => Vault.open(path, PASSPHRASE))).toBe("VAULT_TOO_OLD");
  });

  it("refuses a second holder and names the first", () => {
    create();
    expect(codeOf(() => Vault.open(path, PASSPHRASE))).toBe("VAULT_IN_USE");
    expect(() => Vault.open(path, PASSPHRASE)).toThrow(`process ${process.pid}`);
  });

  it("refuses writes after it was closed", () => {
    const vault = create();
    vault.close();
    const before = snapshot(room);
    expect(codeOf(() => vault.storage.put("x", Buffer.of(1)))).toBe("STORAGE_FAILED");
    expect(codeOf(() => vault.keyStore.generate("key-a"))).toBe("STORAGE_FAILED");
    expect(snapshot(room)).toEqual(before);
  });

  it("tells what is wrong and changes nothing when it cannot be opened", () => {
    fill(create());
    opened.splice(0).forEach((vault) => vault.close());
    writeFileSync(join(path, "r", "device.0123456789abcdef.tmp~"), "half a write");
    const before = snapshot(room);
    expect(codeOf(() => Vault.open(path, "wrong"))).toBe("WRONG_PASSPHRASE");
    expect(codeOf(() => Vault.open(join(room, "nowhere"), PASSPHRASE))).toBe("VAULT_NOT_FOUND");
    expect(codeOf(() => Vault.open(room, PASSPHRASE))).toBe("VAULT_NOT_FOUND");
    expect(codeOf(() => Vault.open(join(path, "vault.json"), PASSPHRASE))).toBe("VAULT_NOT_FOUND");
    expect(snapshot(room)).toEqual(before);
  });

  it("removes half-written files of a killed process when it opens", () => {
    fill(create());
    opened.splice(0).forEach((vault) => vault.close());
    for (const part of ["", "r", "k"]) writeFileSync(join(path, part, "x.0123456789abcdef.tmp~"), "half");
    open();
    expect(filesOf(path).filter((name) => name.includes("tmp"))).toEqual([]);
  });

  it("says VAULT_CORRUPT and names the file, wherever any file is cut short", () => {
    fill(create());
    opened.splice(0).forEach((vault) => vault.close());
    const files = filesOf(path);
    expect(files.sort()).toEqual(["k/key-a", "k/psk", "r/device", "r/mq-1", "vault.json"]);
    for (const file of files) {
      const whole = readFileSync(join(path, file));
      for (let size = 0; size < whole.length; size += 1) {
        truncateSync(join(path, file), size);
        const before = readdirSync(path);
        const error = errorOf(() => Vault.open(path, PASSPHRASE));
        expect([file, size, error?.code, error?.message.includes(join(path, file))]).toEqual([file, size, "VAULT_CORRUPT", true]);
        expect(readdirSync(path)).toEqual(before);
        writeFileSync(join(path, file), whole);
      }
    }
    open();
  });

  it("notices any single changed byte of any file", () => {
    fill(create());
    opened.splice(0).forEach((vault) => vault.close());
    for (const file of filesOf(path)) {
      const whole = readFileSync(join(path, file));
      for (let index = 0; index < whole.length; index += 1) {
        const changed = Buffer.from(whole);
        changed[index]! ^= 1;
        writeFileSync(join(path, file), changed);
        const isVersion = file === "vault.json" && whole.toString("utf8", 0, index).endsWith('"version":');
        expect([file, index, codeOf(() => Vault.open(path, PASSPHRASE))]).toEqual([
          file,
          index,
          isVersion ? "VAULT_TOO_NEW" : "VAULT_CORRUPT",
        ]);
      }
      writeFileSync(join(path, file), whole);
    }
  });

  it("notices files that changed places, and missing directories", () => {
    fill(create());
    opened.splice(0).forEach((vault) => vault.close());
    const whole = join(room, "whole");
    cpSync(path, whole, { recursive: true });
    const corruptAfter = (damage: () => void): string => {
      rmSync(path, { recursive: true });
      cpSync(whole, path, { recursive: true });
      damage();
      return codeOf(() => Vault.open(path, PASSPHRASE));
    };
    expect(corruptAfter(() => cpSync(join(path, "r", "device"), join(path, "r", "mq-1")))).toBe("VAULT_CORRUPT");
    expect(corruptAfter(() => cpSync(join(path, "k", "psk"), join(path, "r", "psk")))).toBe("VAULT_CORRUPT");
    expect(corruptAfter(() => rmSync(join(path, "r"), { recursive: true }))).toBe("VAULT_CORRUPT");
    expect(corruptAfter(() => rmSync(join(path, "vault.json")))).toBe("VAULT_NOT_FOUND");
  });

  it("leaves files that are not its own alone", () => {
    fill(create());
    opened.splice(0).forEach((vault) => vault.close());
    writeFileSync(join(path, "r", ".DS_Store"), "from a desktop");
    expect(open().storage.list("")).toEqual(["device", "mq-1"]);
    expect(readFileSync(join(path, "r", ".DS_Store"), "utf8")).toBe("from a desktop");
  });

  it("reports a refused write with the path, and keeps the old record", () => {
    const vault = create();
    fill(vault);
    rmSync(join(path, "r"), { recursive: true });
    expect(codeOf(() => vault.storage.put("device", Buffer.of(1)))).toBe("STORAGE_FAILED");
    expect(() => vault.storage.put("device", Buffer.of(1))).toThrow(join(path, "r", "device"));
    expect(Buffer.from(vault.storage.get("device") ?? []).toString()).toBe('{"v":1}');
  });
});

describe("making a vault", () => {
  it("refuses a path where anything is, and changes nothing", () => {
    writeFileSync(path, "a file");
    mkdirSync(join(room, "empty"));
    const before = snapshot(room);
    expect(codeOf(() => Vault.create(path, PASSPHRASE, cheap))).toBe("VAULT_EXISTS");
    expect(codeOf(() => Vault.create(join(room, "empty"), PASSPHRASE, cheap))).toBe("VAULT_EXISTS");
    expect(codeOf(() => Vault.create(join(room, "empty"), PASSPHRASE, { ...cheap, replace: true }))).toBe("VAULT_EXISTS");
    expect(codeOf(() => Vault.create(join(room, "no", "parent"), PASSPHRASE, cheap))).toBe("STORAGE_FAILED");
    expect(snapshot(room)).toEqual(before);
  });

  it("shows nothing at the path until the staged vault is committed, then all of it", () => {
    const staged = Vault.createStaged(path, PASSPHRASE, cheap);
    hold(staged.vault);
    fill(staged.vault);
    expect(readdirSync(room)).toHaveLength(1);
    expect(codeOf(() => Vault.open(path, PASSPHRASE))).toBe("VAULT_NOT_FOUND");
    staged.commit();
    expect(readdirSync(room)).toEqual(["vault"]);
    expect(staged.vault.path).toBe(path);
    expect(codeOf(() => Vault.open(path, PASSPHRASE))).toBe("VAULT_IN_USE");
    staged.vault.storage.put("later", Buffer.of(1));
    staged.vault.close();
    expect(open().storage.list("")).toEqual(["device", "later", "mq-1"]);
    expect(codeOf(() => staged.commit())).toBe("VAULT_NOT_STAGED");
  });

  it("leaves nothing behind when it is discarded", () => {
    const staged = Vault.createStaged(path, PASSPHRASE, cheap);
    fill(staged.vault);
    staged.discard();
    staged.discard();
    expect(readdirSync(room)).toEqual([]);
  });

  it("does not take a path that was taken in the meantime", () => {
    const staged = Vault.createStaged(path, PASSPHRASE, cheap);
    mkdirSync(path);
    expect(codeOf(() => staged.commit())).toBe("VAULT_EXISTS");
    expect(readdirSync(room)).toEqual(["vault"]);
    expect(readdirSync(path)).toEqual([]);
  });

  it("replaces a vault only when asked, only a vault, and only one that nobody holds", () => {
    const old = create();
    fill(old);
    expect(codeOf(() => Vault.create(path, PASSPHRASE, cheap))).toBe("VAULT_EXISTS");
    expect(codeOf(() => Vault.createStaged(path, PASSPHRASE, { ...cheap, replace: true }))).toBe("VAULT_IN_USE");
    old.close();
    const before = snapshot(room);
    const discarded = Vault.createStaged(path, "new", { ...cheap, replace: true });
    expect(codeOf(() => Vault.open(path, PASSPHRASE))).toBe("VAULT_IN_USE");
    discarded.discard();
    expect(snapshot(room)).toEqual(before);
    const staged = Vault.createStaged(path, "new", { ...cheap, replace: true });
    staged.vault.storage.put("device", Buffer.of(2));
    staged.commit();
    staged.vault.close();
    expect(readdirSync(room)).toEqual(["vault"]);
    expect(open("new").storage.list("")).toEqual(["device"]);
  });

  it("replaces a damaged vault", () => {
    create().close();
    truncateSync(join(path, "vault.json"), 10);
    hold(Vault.create(path, PASSPHRASE, { ...cheap, replace: true })).close();
    expect(open().storage.list("")).toEqual([]);
  });

  it("clears away what killed makers left, but not what a live one is making", () => {
    const live = Vault.createStaged(path, PASSPHRASE, cheap);
    const dead = `${path}.staged-0123456789abcdef`;
    mkdirSync(dead);
    writeFileSync(join(dead, "lock"), "");
    mkdirSync(`${path}.staged-mine`);
    Vault.createStaged(path, PASSPHRASE, cheap).discard();
    expect(readdirSync(room).sort()).toEqual([live.vault.path, `${path}.staged-mine`].map((name) => name.slice(room.length + 1)).sort());
    live.discard();
  });

  it("uses the full scrypt cost unless told otherwise", () => {
    hold(Vault.create(path, PASSPHRASE)).close();
    const header = JSON.parse(readFileSync(join(path, "vault.json"), "utf8")) as { derivation: { cost: number; blockSize: number } };
    expect([header.derivation.cost, header.derivation.blockSize]).toEqual([2 ** 15, 8]);
    open();
  });
});
