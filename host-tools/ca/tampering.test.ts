/**
 * What somebody can do to a CA directory who may write its files but does not know the passphrase. Each file is removed, cut, bent, put
 * back to what it was, swapped with another and planted where none was: every change of the CA refuses, names what is wrong, and leaves
 * brokers and files alone.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { errorCode, errorMessage } from "../../sdk/errors.js";
import { witnessFile } from "../ca-directory/revision-witness.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly, proveCa } from "./ca-without-passphrase.js";

const scene = new Scene();
let room: string;
let ca: CertificateAuthority;
/** As it was before the last changes, and as its owner left it. */
let old: string;
let whole: string;

beforeAll(async () => {
  ca = await scene.ca();
  room = join(ca.directory, "..");
  [old, whole] = [join(room, "old"), join(room, "whole")];
  for (const id of ["a", "b"]) await provisionDevice(ca, id);
  await ca.issueClient({ name: "backend", role: "backend" });
  cpSync(ca.directory, old, { recursive: true });
  await ca.revoke({ id: "a", reason: "keyCompromise" });
  await provisionDevice(ca, "c");
  // With all the files that a CA has in the middle of it.
  await ca.rollOverRoot();
  await ca.writeBrokerConfig({ engine: "mosquitto", out: join(room, "broker"), mtlsPort: 8883, pskPort: 8884 });
  cpSync(ca.directory, whole, { recursive: true });
});
afterAll(() => scene.clean());

const files = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).filter(
    (name) => lstatSync(join(directory, name)).isFile() && !name.endsWith(".lock"),
  );

interface Verdict {
  readonly code: string;
  readonly message: string;
}

/** What a change says of a directory that was tampered with, from a copy that is whole. */
async function tampered(damage: (directory: string) => void): Promise<Verdict> {
  rmSync(ca.directory, { recursive: true, force: true });
  cpSync(whole, ca.directory, { recursive: true });
  damage(ca.directory);
  try {
    const opened = await openCa(ca.directory, PASSPHRASE);
    await opened.renewCrl();
    return { code: "not noticed", message: "" };
  } catch (error) {
    return { code: errorCode(error), message: errorMessage(error) };
  }
}

const NOTICED = ["CA_CORRUPT", "CA_ROLLED_BACK", "NOT_A_CA", "CA_EXPOSED", "CA_VERSION"];

async function expectNoticed(what: string, damage: (directory: string) => void): Promise<void> {
  const { code } = await tampered(damage);
  expect([what, NOTICED.includes(code) || code]).toEqual([what, true]);
  await expect(proveCa(ca.directory, PASSPHRASE), what).rejects.toThrow();
}

describe("a CA whose files somebody else may write", () => {
  it("works as it was left", async () => {
    expect(await tampered(() => undefined)).toEqual({ code: "not noticed", message: "" });
    // What that run changed has been seen, so each copy of before would be older.
    rmSync(witnessFile(ca.directory));
    rmSync(ca.directory, { recursive: true });
    cpSync(whole, ca.directory, { recursive: true });
    expect((await proveCa(ca.directory, PASSPHRASE)).list().map(({ name, state }) => [name, state])).toEqual([
      ["a", "revoked"],
      ["b", "active"],
      ["backend", "active"],
      ["c", "active"],
    ]);
    expect(openCaReadOnly(ca.directory).isProved).toBe(false);
    expect(files(whole)).toHaveLength(22);
    expect(files(whole)).toEqual(expect.arrayContaining(["root-previous.crt.pem", "keys/root-previous.sealed", "root-links.crt.pem"]));
  });

  it("notices each file that is removed, and an empty one", async () => {
    for (const file of files(whole)) {
      await expectNoticed(`${file} removed`, (directory) => rmSync(join(directory, file)));
      await expectNoticed(`${file} emptied`, (directory) => writeFileSync(join(directory, file), ""));
    }
  });

  it("notices each file that is cut, grows or has a changed byte, and names it", async () => {
    for (const file of files(whole)) {
      const bytes = readFileSync(join(whole, file));
      const at = [0, Math.floor(bytes.length / 3), Math.floor(bytes.length / 2), bytes.length - 1];
      const bent = (index: number): Buffer => Buffer.from(bytes.map((byte, other) => (other === index ? byte ^ 1 : byte)));
      for (const content of [
        bytes.subarray(0, bytes.length - 1),
        bytes.subarray(0, bytes.length / 2),
        Buffer.concat([bytes, Buffer.from("\n")]),
        ...at.map(bent),
      ]) {
        const { code, message } = await tampered((directory) => writeFileSync(join(directory, file), content));
        const isNamed = message.includes(file) || (file.startsWith("registry/") && message.includes("registry"));
        expect([file, content.length, code, isNamed]).toEqual([file, content.length, "CA_CORRUPT", true]);
      }
    }
  });

  it("notices each file, and each two files, put back to what they were before", async () => {
    const changed = files(old).filter((file) => !readFileSync(join(old, file)).equals(readFileSync(join(whole, file))));
    expect(changed.length).toBeGreaterThan(7);
    for (const [index, one] of changed.entries()) {
      for (const other of changed.slice(index))
        await expectNoticed(`${one} and ${other}`, (directory) =>
          [one, other].forEach((file) => cpSync(join(old, file), join(directory, file))),
        );
    }
  });

  it("notices a rollover of the root that is undone, by its own files or also by those it replaced", async () => {
    const made = files(whole).filter((file) => /(-previous|-links)\./.test(file));
    expect(made).toHaveLength(5);
    const remove = (directory: string): void => made.forEach((file) => rmSync(join(directory, file)));
    await expectNoticed("its files removed", remove);
    const replaced = ["root", "issuing"].flatMap((name) => [`${name}.crt.pem`, `keys/${name}.sealed`]);
    await expectNoticed("all of it", (directory) => {
      remove(directory);
      for (const file of [...replaced, "crl.pem", "broker.crt.pem", "keys/broker.sealed"]) cpSync(join(old, file), join(directory, file));
    });
    await expectNoticed("old root in the new one's place", (directory) => {
      cpSync(join(directory, "root-previous.crt.pem"), join(directory, "root.crt.pem"));
      cpSync(join(directory, "keys/root-previous.sealed"), join(directory, "keys/root.sealed"));
    });
  });

  it("notices any two files that change places", async () => {
    const all = files(whole);
    for (const [index, one] of all.entries()) {
      const other = all[(index + 1) % all.length] ?? "";
      await expectNoticed(`${one} and ${other}`, (directory) => {
        renameSync(join(directory, one), join(directory, "aside"));
        renameSync(join(directory, other), join(directory, one));
        renameSync(join(directory, "aside"), join(directory, other));
      });
    }
    await expectNoticed("the PSK of b in a", (directory) => {
      const [a, b] = ["c", "b"].map(
        (name) => JSON.parse(readFileSync(join(directory, "registry", `${name}.json`), "utf8")) as Record<string, unknown>,
      );
      writeFileSync(join(directory, "registry", "c.json"), `${JSON.stringify({ ...a, psk: b?.["psk"] }, null, 2)}\n`);
    });
  });

  it("notices a revoked device that is active again, a device that became an operator, and a name nobody issued", async () => {
    const edit =
      (change: (entry: Record<string, unknown>) => Record<string, unknown>) =>
      (directory: string): void => {
        const path = join(directory, "registry", "a.json");
        writeFileSync(path, `${JSON.stringify(change(JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>), null, 2)}\n`);
      };
    await expectNoticed(
      "active again",
      edit((entry) => ({ ...entry, state: "active" })),
    );
    await expectNoticed(
      "an operator",
      edit((entry) => ({ ...entry, kind: "client", role: "operator", state: "active" })),
    );
    const planted = { v: 1, kind: "client", name: "zz", role: "operator", state: "active", createdAtMs: 1, certificates: [] };
    await expectNoticed("planted", (directory) =>
      writeFileSync(join(directory, "registry", "zz.json"), `${JSON.stringify(planted, null, 2)}\n`),
    );
  });

  it("finishes no journal that somebody else wrote, and none of an earlier change", async () => {
    const outside = join(room, "outside");
    mkdirSync(outside);
    const journal = (writes: Record<string, string>): string =>
      JSON.stringify({
        v: 2,
        base: "0".repeat(64),
        state: "",
        auditSizeBytes: 0,
        auditLine: "{}",
        writes,
        removes: [],
        macs: ["0".repeat(64)],
      });
    for (const path of ["x/planted", "../outside/planted", "registry/zz.json", "/etc/hawser-planted"]) {
      await expectNoticed(`a journal for ${path}`, (directory) => {
        symlinkSync(outside, join(directory, "x"));
        writeFileSync(join(directory, "journal.json"), journal({ [path]: "cGxhbnRlZA==" }));
      });
      await expectNoticed(`a journal for ${path}, without a link`, (directory) =>
        writeFileSync(join(directory, "journal.json"), journal({ [path]: "cGxhbnRlZA==" })),
      );
    }
    expect(readdirSync(outside)).toEqual([]);
    expect(existsSync(join(ca.directory, "registry", "zz.json"))).toBe(false);
  });

  it("follows no link, and works in no directory that others may write to", async () => {
    for (const name of [...files(whole), "registry", "keys", "reservations"]) {
      await expectNoticed(`${name} is a link`, (directory) => {
        const behind = join(room, "behind");
        rmSync(behind, { recursive: true, force: true });
        cpSync(join(directory, name), behind, { recursive: true });
        rmSync(join(directory, name), { recursive: true });
        symlinkSync(behind, join(directory, name));
      });
    }
    for (const name of ["", "registry", "keys"])
      await expectNoticed(`${name} is open`, (directory) => chmodSync(join(directory, name), 0o777));
    expect(statSync(whole).mode & 0o777).toBe(0o700);
  });

  it("sends no secret where somebody else says: the list of broker configurations counts only as it was written", async () => {
    const loot = join(room, "loot");
    mkdirSync(loot);
    const outputs = { v: 1, outputs: [{ engine: "mosquitto", directory: loot, settings: { mtlsPort: 1, pskPort: 2, user: "nobody" } }] };
    await expectNoticed("outputs", (directory) => writeFileSync(join(directory, "outputs.json"), `${JSON.stringify(outputs, null, 2)}\n`));
    expect(readdirSync(loot)).toEqual([]);
  });

  it("notices a directory that is put back as a whole, by what this user saw at its place", async () => {
    await tampered(() => undefined);
    const { code, message } = await tampered(() => undefined);
    expect([code, message.includes("older than it was")]).toEqual(["CA_ROLLED_BACK", true]);
    expect(() => openCaReadOnly(ca.directory)).toThrow(expect.objectContaining({ code: "CA_ROLLED_BACK" }));
    rmSync(witnessFile(ca.directory));
  });
});

describe("a CA that is opened while somebody tampers with its files", () => {
  it("notices it at the next change, before the file is used", async () => {
    for (const file of files(whole).filter((name) => !name.startsWith("registry/"))) {
      rmSync(ca.directory, { recursive: true, force: true });
      cpSync(whole, ca.directory, { recursive: true });
      rmSync(witnessFile(ca.directory), { force: true });
      const opened = await openCa(ca.directory, PASSPHRASE);
      const bytes = readFileSync(join(ca.directory, file));
      writeFileSync(join(ca.directory, file), Buffer.concat([bytes, Buffer.from("x")]));
      await expect(opened.renewCrl(), file).rejects.toThrow(/damaged|written by this CA|is not a CA/);
    }
  });

  it("notices an entry that changed behind its back before it replaces it", async () => {
    rmSync(ca.directory, { recursive: true, force: true });
    cpSync(whole, ca.directory, { recursive: true });
    rmSync(witnessFile(ca.directory), { force: true });
    const opened = await openCa(ca.directory, PASSPHRASE);
    const path = join(ca.directory, "registry", "b.json");
    writeFileSync(path, readFileSync(path, "utf8").replace("sensor", "valves"));
    await expect(opened.revoke({ id: "b" })).rejects.toMatchObject({ code: "CA_CORRUPT" });
    writeFileSync(join(ca.directory, "registry", "new.json"), "{}\n");
    await expect(opened.reserve({ id: "new", role: "sensor" })).rejects.toMatchObject({ code: "CA_CORRUPT" });
  });
});
