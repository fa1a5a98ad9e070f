/** Backups of a CA, and what a restored one must not undo; also on a disk that is full at any write. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { afterEach, describe, expect, it, vi } from "vitest";
import { errorCode } from "../../sdk/errors.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { openBackup } from "../ca-directory/backup-file.js";
import type { OpenedBackup } from "../ca-directory/backup-file.js";
import { fromPem } from "../pki/pem.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly } from "./ca-without-passphrase.js";
import { rehearseRestore, restoreCa } from "./restore.js";
import type { RestoreOptions } from "./restore.js";
import { verifyCa } from "./verification.js";

const disk = vi.hoisted(() => ({ write: (): void => undefined }));

vi.mock("node:fs", async (original) => {
  const fs = await original<Record<string, unknown>>();
  const wrap =
    (call: (...args: unknown[]) => unknown) =>
    (...args: unknown[]): unknown => {
      disk.write();
      return call(...args);
    };
  return {
    ...fs,
    ...Object.fromEntries(["writeSync", "writeFileSync"].map((name) => [name, wrap(fs[name] as (...args: unknown[]) => unknown)])),
  };
});

const scene = new Scene();
afterEach(async () => {
  disk.write = () => undefined;
  await scene.clean();
});

async function backUp(ca: CertificateAuthority): Promise<{ file: string; bytes: Buffer; opened: OpenedBackup }> {
  const file = join(scene.directory(), "ca.backup");
  await ca.backUp(file);
  const bytes = readFileSync(file);
  return { file, bytes, opened: openBackup(bytes, PASSPHRASE, file) };
}

const crlOf = (ca: CertificateAuthority): string => readFileSync(join(ca.directory, "crl.pem"), "utf8");
const newHome = (): string => join(scene.directory(), "ca");
const lose = (ca: CertificateAuthority): void => renameSync(ca.directory, `${ca.directory}-lost`);
const withLists = (...texts: string[]): RestoreOptions => ({
  passphrase: PASSPHRASE,
  lists: new Map(texts.map((text, index) => [`crl-${index}`, text])),
});

function crlNumber(pem: string): number {
  const extension = new x509.X509Crl(new Uint8Array(fromPem("X509 CRL", pem)[0] ?? [])).extensions.find(({ type }) => type === "2.5.29.20");
  return Number(
    `0x${Buffer.from(extension?.value ?? new ArrayBuffer(0))
      .subarray(2)
      .toString("hex")}`,
  );
}

describe("a backup", () => {
  it("is one file for its owner alone, holds no name or key in the clear, and never takes another file's place", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    const { file, bytes } = await backUp(ca);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    for (const text of ["dev1", "BEGIN", PASSPHRASE]) expect(bytes.includes(text)).toBe(false);
    await expect(ca.backUp(file)).rejects.toMatchObject({ code: "OUT_EXISTS" });
    expect(readFileSync(file)).toEqual(bytes);
  });

  it("holds one state, while another process changes the CA", async () => {
    const ca = await scene.ca();
    const other = await openCa(ca.directory, PASSPHRASE);
    const ids = Array.from({ length: 8 }, (_, index) => `dev${index}`);
    const work = (async () => {
      for (const id of ids) await provisionDevice(other, id);
    })();
    const room = scene.directory();
    for (let number = 0; number < 4; number += 1) await ca.backUp(join(room, String(number)));
    await work;
    for (const file of readdirSync(room)) {
      const verification = await rehearseRestore(openBackup(readFileSync(join(room, file)), PASSPHRASE, file), PASSPHRASE);
      expect(verification.problems).toEqual([]);
    }
  });

  it("changes nothing in the CA, and is not made of one that somebody else changed", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    const before = readFileSync(join(ca.directory, "state.json"));
    await backUp(ca);
    expect(readFileSync(join(ca.directory, "state.json"))).toEqual(before);
    const entry = join(ca.directory, "registry", "dev1.json");
    writeFileSync(entry, readFileSync(entry, "utf8").replace("sensor", "hacker"));
    await expect(ca.backUp(join(scene.directory(), "b"))).rejects.toMatchObject({ code: "CA_CORRUPT" });
  });

  it("opens with the passphrase of its time, and not when a byte of it is changed or missing", async () => {
    const ca = await scene.ca();
    const { bytes } = await backUp(ca);
    await ca.changePassphrase("another passphrase of today", TEST_SCRYPT_COST);
    expect(() => openBackup(bytes, "another passphrase of today", "b")).toThrow(expect.objectContaining({ code: "WRONG_PASSPHRASE" }));
    expect(openBackup(bytes, PASSPHRASE, "b").header).toMatchObject({ name: "Test", revision: 1 });
    const headerEnd = bytes.indexOf("\n");
    for (const at of [2, 40, headerEnd + 1, headerEnd + 20, bytes.length >> 1, bytes.length - 1]) {
      const bent = Buffer.from(bytes);
      bent[at] = (bent[at] ?? 0) ^ 1;
      expect(() => openBackup(bent, PASSPHRASE, "b")).toThrow(/BACKUP_DAMAGED|cannot be restored|does not open/);
    }
    for (const sizeBytes of [0, 10, headerEnd, headerEnd + 1, bytes.length - 1])
      expect(() => openBackup(bytes.subarray(0, sizeBytes), PASSPHRASE, "b")).toThrow(expect.objectContaining({ code: "BACKUP_DAMAGED" }));
  });
});

describe("a restored CA", () => {
  it("goes on with the names that it had, as another instance, with numbers beyond every one in use and no broker", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    const broker = join(scene.directory(), "broker");
    await ca.writeBrokerConfig({ engine: "mosquitto", out: broker, mtlsPort: 8883, pskPort: 8884 });
    const { opened } = await backUp(ca);
    await provisionDevice(ca, "dev2");
    const crl = crlOf(ca);
    lose(ca);
    const home = newHome();
    const restored = await restoreCa(opened, home, withLists(crl));
    expect(restored).toMatchObject({ repeated: [], shutOut: [], lost: 0, outputs: [broker], verification: { names: 1, problems: [] } });
    const again = await openCa(home, PASSPHRASE);
    expect(crlNumber(crlOf(again))).toBeGreaterThan(1_000_000);
    expect(openCaReadOnly(home)).toMatchObject({ outputs: [] });
    await provisionDevice(again, "dev2");
    expect(await verifyCa(home, PASSPHRASE)).toMatchObject({ problems: [], names: 2 });
    expect((await verifyCa(home, PASSPHRASE)).instance).not.toBe(opened.header.instance);
  });

  it("revokes again what the newest list revokes: devices shut out, superseded certificates, and those that it never knew", async () => {
    const ca = await scene.ca();
    const dev1 = await provisionDevice(ca, "dev1");
    const dev2 = await provisionDevice(ca, "dev2");
    const { opened } = await backUp(ca);
    const next = await ca.issueFromCsr("dev2", (await testKey("dev2")).csr);
    await ca.retireOlder("dev2", next.serial);
    const dev3 = await provisionDevice(ca, "dev3");
    for (const id of ["dev1", "dev3"]) await ca.revoke({ id, reason: "keyCompromise" });
    await ca.renewBrokerCertificate();
    const crl = crlOf(ca);
    lose(ca);
    const home = newHome();
    const restored = await restoreCa(opened, home, withLists(crl));
    expect([[...restored.repeated].sort(), restored.shutOut, restored.lost]).toEqual([[dev1.serial, dev2.serial].sort(), ["dev1"], 1]);
    expect(
      openCaReadOnly(home)
        .list()
        .map(({ name, state }) => `${name} ${state}`),
    ).toEqual(["dev1 revoked", "dev2 active"]);
    const again = await openCa(home, PASSPHRASE);
    const material = await again.brokerMaterial();
    expect(material.pskFor("dev1")).toBeUndefined();
    const listed = new x509.X509Crl(new Uint8Array(fromPem("X509 CRL", crlOf(again))[0] ?? [])).entries.map(
      ({ serialNumber }) => serialNumber,
    );
    for (const { serial } of [dev1, dev2, dev3]) expect(listed).toContain(serial);
    // Also in the lists that follow.
    await again.renewCrl();
    expect(crlOf(again)).not.toBe(crl);
    expect(await verifyCa(home, PASSPHRASE)).toMatchObject({ problems: [] });
  });

  it("is refused without a list that the CA signed, and while the CA is still there; nothing is left behind", async () => {
    const ca = await scene.ca();
    const { opened } = await backUp(ca);
    const home = newHome();
    const refused = async (code: string, options: RestoreOptions): Promise<void> => {
      await expect(restoreCa(opened, home, options)).rejects.toMatchObject({ code });
      expect(readdirSync(join(home, ".."))).toEqual([]);
    };
    await refused("CA_EXISTS", withLists(crlOf(ca)));
    lose(ca);
    await refused("RESTORE_UNPROVED", withLists());
    await refused("RESTORE_UNPROVED", withLists("nonsense"));
    await refused("RESTORE_UNPROVED", withLists(crlOf(await scene.ca())));
    await restoreCa(opened, home, { ...withLists(), withoutLists: true });
    // The old directory, found again, is known to be the older one.
    renameSync(`${ca.directory}-lost`, ca.directory);
    expect(openCaReadOnly(ca.directory).olderCopy).toMatchObject({ code: "CA_OLDER_COPY" });
    expect(openCaReadOnly(home).olderCopy).toBeUndefined();
  });
});

describe("on a full disk", () => {
  const full = (): void => {
    throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
  };

  /** Lets so many writes through; the code of the error. */
  async function after(writes: number, work: () => Promise<unknown>): Promise<string> {
    let left = writes;
    disk.write = () => {
      if (left-- <= 0) full();
    };
    try {
      await work();
      return "";
    } catch (error) {
      return errorCode(error);
    } finally {
      disk.write = () => undefined;
    }
  }

  it("a backup says STORAGE_FULL and leaves no file", async () => {
    const ca = await scene.ca();
    const room = scene.directory();
    const codes: string[] = [];
    for (let writes = 0; codes.at(-1) !== ""; writes += 1) {
      expect(readdirSync(room)).toEqual([]);
      codes.push(await after(writes, () => ca.backUp(join(room, "b"))));
    }
    expect(codes.slice(0, -1).every((code) => code === "STORAGE_FULL")).toBe(true);
    expect(readdirSync(room)).toEqual(["b"]);
  });

  it("a restore says STORAGE_FULL and leaves no directory, or makes the whole CA", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    const { opened } = await backUp(ca);
    const crl = crlOf(ca);
    lose(ca);
    const home = newHome();
    const codes: string[] = [];
    for (let writes = 0; codes.at(-1) !== ""; writes += 3) {
      expect(existsSync(home)).toBe(false);
      codes.push(await after(writes, () => restoreCa(opened, home, withLists(crl))));
      expect(readdirSync(join(home, "..")).filter((name) => name.includes("staged"))).toEqual([]);
    }
    expect(codes.length).toBeGreaterThan(5);
    expect(codes.slice(0, -1).every((code) => code === "STORAGE_FULL")).toBe(true);
    expect(await verifyCa(home, PASSPHRASE)).toMatchObject({ problems: [], names: 1 });
    rmSync(home, { recursive: true });
  });
});
