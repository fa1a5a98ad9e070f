/**
 * A registry with an index: what is read of it is proved as without one, a change is whole, and each entry counts only as the CA wrote it.
 * Here two names make an index, so that the drills need no thousand.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { openBackup } from "../ca-directory/backup-file.js";
import { witnessFile } from "../ca-directory/revision-witness.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly, proveCa } from "./ca-without-passphrase.js";
import { rehearseRestore } from "./restore.js";
import { verifyCa } from "./verification.js";

vi.mock("../ca-directory/registry-index.js", async (original) => ({ ...(await original<object>()), INDEX_FROM_NAMES: 1 }));

const steps = vi.hoisted(() => ({ after: (): void => undefined }));
vi.mock("node:fs", async (original) => {
  const { steppedFs } = await import("../../test/support/host-tools/stepped-fs.js");
  return steppedFs(await original<Record<string, unknown>>(), ["writeSync", "renameSync", "unlinkSync", "ftruncateSync", "mkdirSync"], () =>
    steps.after(),
  );
});

const scene = new Scene();
let ca: CertificateAuthority;
let directory: string;

beforeEach(async () => {
  ca = await scene.ca();
  ({ directory } = ca);
});
afterEach(() => scene.clean());

const index = (): string => join(directory, "index", "0000");
const read = (): string => readFileSync(index(), "utf8");
const states = (names: readonly { name: string; state: string }[]): string[] => names.map(({ name, state }) => `${name} ${state}`);

describe("a registry with an index", () => {
  it("says of every name what its entry says, through all that happens to names", async () => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    expect(existsSync(index())).toBe(true);
    await ca.issueClient({ name: "backend", role: "backend" });
    await ca.renewPassword("b", () => undefined);
    await ca.revoke({ id: "a", reason: "keyCompromise" });
    const gone = await ca.reserve({ id: "gone", role: "sensor" });
    await ca.abandon(gone);
    const expected = ["a revoked", "b active", "backend active", "c active"];
    for (const reading of ["used", "all"] as const) {
      const proved = await proveCa(directory, PASSPHRASE, reading);
      expect(states(proved.list())).toEqual(expected);
      expect(proved.list()).toEqual(await ca.list());
      expect(openCaReadOnly(directory, reading).list()).toEqual(proved.list());
      expect(proved.get("b")).toMatchObject({ state: "active", role: "sensor" });
      expect(proved.names().get("b")?.publicKeyPems?.()).toEqual([expect.stringContaining("PUBLIC KEY")]);
      expect(proved.find({ id: "b" }).first.map(({ passwordHash }) => passwordHash?.slice(0, 3))).toEqual(["$7$"]);
    }
    expect(await verifyCa(directory, PASSPHRASE)).toMatchObject({ names: 4, problems: [], strangers: [] });
    // Names are compared without reading an entry.
    await expect(ca.reserve({ id: "B", role: "sensor" })).rejects.toMatchObject({ code: "ID_EXISTS" });
  });

  it("shows every process what another one changed", async () => {
    for (const id of ["a", "b"]) await provisionDevice(ca, id);
    const other = await openCa(directory, PASSPHRASE);
    await other.revoke({ id: "a" });
    await provisionDevice(other, "c");
    expect(states(await ca.list())).toEqual(["a revoked", "b active", "c active"]);
    await ca.revoke({ id: "c" });
    expect(states(await other.list())).toEqual(["a revoked", "b active", "c revoked"]);
    expect((await other.brokerMaterial()).revokedSerials.size).toBe(2);
    expect((await verifyCa(directory, PASSPHRASE)).problems).toEqual([]);
  });

  it("is carried through a change of the passphrase, a backup and its restoring", async () => {
    for (const id of ["a", "b"]) await provisionDevice(ca, id);
    await ca.changePassphrase("another that is long enough", TEST_SCRYPT_COST);
    await provisionDevice(ca, "c");
    const file = join(scene.directory(), "backup");
    expect(await ca.backUp(file)).toMatchObject({ names: 3 });
    const backup = openBackup(readFileSync(file), "another that is long enough", file);
    expect(await rehearseRestore(backup, "another that is long enough")).toMatchObject({ names: 3, problems: [] });
  });

  it("is made and changed as a whole, wherever the change is cut off", async () => {
    await provisionDevice(ca, "a");
    const room = scene.directory();
    const copies: string[] = [];
    steps.after = () => {
      const { after } = steps;
      steps.after = () => undefined;
      cpSync(directory, join(room, String(copies.length)), { recursive: true });
      copies.push(join(room, String(copies.length)));
      steps.after = after;
    };
    try {
      await ca.reserve({ id: "b", role: "sensor" });
      await ca.revoke({ id: "a" });
    } finally {
      steps.after = () => undefined;
    }
    const stages = ["a active", "a active, b reserved", "a revoked, b reserved"];
    const seen = new Set<string>();
    for (const copy of copies) {
      rmSync(directory, { recursive: true });
      renameSync(copy, directory);
      rmSync(join(directory, "ca.lock"), { force: true });
      rmSync(witnessFile(directory), { force: true });
      // Without the passphrase nothing is finished, and what is there is shown all the same.
      expect(stages).toContain(states(openCaReadOnly(directory, "used").list()).join(", "));
      const opened = await openCa(directory, PASSPHRASE);
      seen.add(states(await opened.list()).join(", "));
      expect(await verifyCa(directory, PASSPHRASE)).toMatchObject({ problems: [], strangers: [] });
    }
    expect([...seen]).toEqual(stages);
  });
});

describe("an index that somebody else may write", () => {
  let whole: string;
  let old: string;

  beforeEach(async () => {
    for (const id of ["a", "b"]) await provisionDevice(ca, id);
    old = read();
    await ca.revoke({ id: "a", reason: "keyCompromise" });
    whole = join(scene.directory(), "whole");
    cpSync(directory, whole, { recursive: true });
  });

  function putBack(): void {
    rmSync(directory, { recursive: true });
    cpSync(whole, directory, { recursive: true });
    rmSync(witnessFile(directory), { force: true });
  }

  it("counts only as the CA wrote it", async () => {
    const text = read();
    const other = join(directory, "registry", "b.json");
    const damages: [string, () => void][] = [
      ["removed", () => rmSync(index())],
      ["emptied", () => writeFileSync(index(), "")],
      ["cut", () => writeFileSync(index(), text.slice(0, -1))],
      ["grown", () => writeFileSync(index(), `${text}\n`)],
      ["put back", () => writeFileSync(index(), old)],
      ["an operator in it", () => writeFileSync(index(), text.replace("device active sensor", "client active operator"))],
      ["active again", () => writeFileSync(index(), text.replace("device revoked", "device active"))],
      ["another file", () => cpSync(other, index())],
      ["a link", () => (renameSync(index(), join(directory, "x")), symlinkSync(join(directory, "x"), index()))],
      ["a folder", () => (rmSync(index()), mkdirSync(index()))],
      ["the folder removed", () => rmSync(join(directory, "index"), { recursive: true })],
    ];
    for (const [what, damage] of damages) {
      putBack();
      damage();
      const change = openCa(directory, PASSPHRASE).then((opened) => opened.renewCrl());
      await expect(change, what).rejects.toMatchObject({ code: "CA_CORRUPT" });
      await expect(proveCa(directory, PASSPHRASE, "used"), what).rejects.toMatchObject({ code: "CA_CORRUPT" });
      await expect(verifyCa(directory, PASSPHRASE), what).rejects.toMatchObject({ code: "CA_CORRUPT" });
      expect(() => openCaReadOnly(directory, "used"), what).toThrow(expect.objectContaining({ code: "CA_CORRUPT" }));
    }
  });

  it("is looked at again before a change replaces it", async () => {
    putBack();
    const opened = await openCa(directory, PASSPHRASE);
    writeFileSync(index(), old);
    await expect(opened.revoke({ id: "b" })).rejects.toMatchObject({ code: "CA_CORRUPT" });
  });

  it("keeps an entry that somebody changed from counting: what uses it refuses, and verifying names it", async () => {
    const file = join(directory, "registry", "b.json");
    const text = readFileSync(file, "utf8");
    const damages: [string, () => void][] = [
      ["another role", () => writeFileSync(file, text.replace("sensor", "valves"))],
      ["emptied", () => writeFileSync(file, "")],
      ["removed", () => rmSync(file)],
    ];
    for (const [what, damage] of damages) {
      putBack();
      damage();
      expect((await proveCa(directory, PASSPHRASE, "used")).get("b"), what).toMatchObject({ state: "active", role: "sensor" });
      await expect(verifyCa(directory, PASSPHRASE), what).rejects.toMatchObject({ message: expect.stringContaining("b.json") as string });
      await expect(proveCa(directory, PASSPHRASE), what).rejects.toMatchObject({ code: "CA_CORRUPT" });
      const opened = await openCa(directory, PASSPHRASE);
      await expect(opened.revoke({ id: "b" }), what).rejects.toMatchObject({ code: "CA_CORRUPT" });
      await expect(opened.backUp(join(scene.directory(), "backup")), what).rejects.toMatchObject({ code: "CA_CORRUPT" });
      await expect(opened.brokerMaterial(), what).rejects.toMatchObject({ code: "CA_CORRUPT" });
    }
  });

  it("has no part that nobody knows of: a planted one is a stranger, a planted entry is named", async () => {
    putBack();
    writeFileSync(join(directory, "index", "0001"), "");
    expect((await verifyCa(directory, PASSPHRASE)).strangers).toEqual(["index/0001"]);
    writeFileSync(
      join(directory, "registry", "zz.json"),
      readFileSync(join(directory, "registry", "b.json"), "utf8").replace('"b"', '"zz"'),
    );
    expect(states((await proveCa(directory, PASSPHRASE, "used")).list())).toEqual(["a revoked", "b active"]);
    await expect(verifyCa(directory, PASSPHRASE)).rejects.toMatchObject({ message: expect.stringContaining("zz.json") as string });
    const opened = await openCa(directory, PASSPHRASE);
    await expect(opened.reserve({ id: "zz", role: "sensor" })).rejects.toMatchObject({ code: "CA_CORRUPT" });
    expect(readdirSync(join(directory, "index")).sort()).toEqual(["0000", "0001"]);
  });
});
