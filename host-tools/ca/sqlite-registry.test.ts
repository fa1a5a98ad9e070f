/**
 * A registry in SQLite: the same promises as in files. What happens to names is the same, every byte that somebody else changed is noticed,
 * a change and a move are whole wherever they are cut off, and a full disk stops them before they begin.
 */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { errorCode } from "../../sdk/errors.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { buildWorker } from "../../test/support/host-tools/build-worker.js";
import { RunningProgram } from "../../test/support/node/child-program.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { openBackup } from "../ca-directory/backup-file.js";
import { witnessFile } from "../ca-directory/revision-witness.js";
import { sqliteDriver } from "../ca-directory/sqlite-driver.js";
import { initCa } from "./ca-creation.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly, proveCa, verifyAudit } from "./ca-without-passphrase.js";
import { rehearseRestore, restoreCa } from "./restore.js";
import { verifyCa } from "./verification.js";

// Three names make an index, so that the drills need no thousand.
vi.mock("../ca-directory/registry-index.js", async (original) => ({ ...(await original<object>()), INDEX_FROM_NAMES: 2 }));

const steps = vi.hoisted(() => ({ after: (): void => undefined }));
vi.mock("node:fs", async (original) => {
  const { steppedFs } = await import("../../test/support/host-tools/stepped-fs.js");
  return steppedFs(
    await original<Record<string, unknown>>(),
    ["writeSync", "renameSync", "unlinkSync", "rmSync", "ftruncateSync", "mkdirSync"],
    () => steps.after(),
  );
});

const scene = new Scene();
let ca: CertificateAuthority;
let directory: string;

beforeEach(async () => {
  ca = await scene.ca({ registry: "sqlite" });
  ({ directory } = ca);
});
afterEach(async () => {
  steps.after = () => undefined;
  await scene.clean();
});

const states = (names: readonly { name: string; state: string }[]): string => names.map(({ name, state }) => `${name} ${state}`).join(", ");
const database = (): string => join(directory, "registry.sqlite");

function sql(...statements: readonly string[]): void {
  const connection = sqliteDriver()(database());
  for (const statement of statements) connection.exec(statement);
  connection.close();
}

/** Copies of the CA after each step on the disk that `work` makes. */
async function cuts(work: () => Promise<unknown>): Promise<string[]> {
  const room = scene.directory();
  const copies: string[] = [];
  steps.after = () => {
    const { after } = steps;
    steps.after = () => undefined;
    const copy = join(room, String(copies.length));
    cpSync(directory, copy, { recursive: true });
    copies.push(copy);
    steps.after = after;
  };
  await work();
  steps.after = () => undefined;
  return copies;
}

function putInPlace(copy: string): void {
  rmSync(directory, { recursive: true, force: true });
  renameSync(copy, directory);
  rmSync(join(directory, "ca.lock"), { force: true });
  for (const lock of readdirSync(join(directory, "reservations"))) rmSync(join(directory, "reservations", lock));
  rmSync(witnessFile(directory), { force: true });
}

describe("a registry in SQLite", () => {
  it("keeps what happens to names as files do, with an index and without", async () => {
    expect(existsSync(join(directory, "registry"))).toBe(false);
    expect(statSync(database()).mode & 0o777).toBe(0o600);
    for (const id of ["a", "b"]) await provisionDevice(ca, id);
    expect(states((await proveCa(directory, PASSPHRASE)).list())).toBe("a active, b active");
    await ca.issueClient({ name: "backend", role: "backend" });
    await ca.revoke({ id: "a", reason: "keyCompromise" });
    await ca.abandon(await ca.reserve({ id: "gone", role: "sensor" }));
    for (const reading of ["used", "all"] as const) {
      const proved = await proveCa(directory, PASSPHRASE, reading);
      expect(states(proved.list())).toBe("a revoked, b active, backend active");
      expect(proved.list()).toEqual(await ca.list());
      expect(openCaReadOnly(directory, reading).list()).toEqual(proved.list());
    }
    expect(openCaReadOnly(directory).isProved).toBe(false);
    await expect(ca.reserve({ id: "B", role: "sensor" })).rejects.toMatchObject({ code: "ID_EXISTS" });
    expect(await verifyCa(directory, PASSPHRASE)).toMatchObject({ names: 3, problems: [], strangers: [] });
    expect(readdirSync(directory).filter((name) => name.startsWith("registry") || name === "index")).toEqual(["registry.sqlite"]);
  });

  it("shows every process what another one changed, also after a move", async () => {
    await provisionDevice(ca, "a");
    const other = await openCa(directory, PASSPHRASE);
    await provisionDevice(other, "b");
    await ca.revoke({ id: "b" });
    await other.moveRegistry("files");
    expect(states(await ca.list())).toBe("a active, b revoked");
    await provisionDevice(ca, "c");
    expect(states(await other.list())).toBe("a active, b revoked, c active");
    await ca.moveRegistry("sqlite");
    await other.revoke({ id: "c" });
    expect((await verifyCa(directory, PASSPHRASE)).problems).toEqual([]);
  });

  it("is carried through a change of the passphrase, a backup and its restoring", async () => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    const passphrase = "another that is long enough";
    await ca.changePassphrase(passphrase, TEST_SCRYPT_COST);
    const file = join(scene.directory(), "backup");
    expect(await ca.backUp(file)).toMatchObject({ names: 3 });
    const backup = openBackup(readFileSync(file), passphrase, file);
    expect(await rehearseRestore(backup, passphrase)).toMatchObject({ names: 3, problems: [] });
    rmSync(directory, { recursive: true });
    await restoreCa(backup, directory, { passphrase, lists: new Map(), withoutLists: true });
    expect(await verifyCa(directory, passphrase)).toMatchObject({ names: 3, problems: [], strangers: [] });
    expect(existsSync(database())).toBe(true);
  });

  it("is moved to files and back byte for byte, and its place is told in the audit trail", async () => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    expect(await ca.moveRegistry("files")).toEqual({ from: "sqlite", to: "files", names: 3, isTidied: false });
    const content = (): string[] =>
      ["registry/a.json", "registry/b.json", "registry/c.json", "index/0000"].map((file) => readFileSync(join(directory, file), "utf8"));
    const before = content();
    expect(existsSync(database())).toBe(false);
    await ca.moveRegistry("sqlite");
    expect(existsSync(join(directory, "registry")) || existsSync(join(directory, "index"))).toBe(false);
    expect(await ca.moveRegistry("sqlite")).toMatchObject({ from: "sqlite", to: "sqlite" });
    await ca.moveRegistry("files");
    expect(content()).toEqual(before);
    expect(verifyAudit(directory)).toMatchObject({ ok: true });
    expect(readFileSync(join(directory, "audit.jsonl"), "utf8").match(/"event":"registry-moved"/g)).toHaveLength(3);
  });

  it("is moved by nobody when an entry is not what the CA wrote, and stays where it is", async () => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    sql("UPDATE entries SET text = replace(text, 'sensor', 'valves') WHERE name = 'b'");
    await expect(ca.moveRegistry("files")).rejects.toMatchObject({
      code: "CA_CORRUPT",
      message: expect.stringContaining("b.json") as string,
    });
    expect(readdirSync(directory)).not.toContain("registry");
  });
});

describe("a database that somebody else may write", () => {
  const indexes = ["two names without an index", "three names with an index"] as const;

  it.each(indexes)("counts only as the CA wrote it: %s", async (many) => {
    for (const id of many === indexes[0] ? ["a", "b"] : ["a", "b", "c"]) await provisionDevice(ca, id);
    const old = readFileSync(database());
    await ca.revoke({ id: "a", reason: "keyCompromise" });
    const whole = join(scene.directory(), "whole");
    cpSync(directory, whole, { recursive: true });
    const table = many === indexes[0] ? "entries" : "index_files";
    const bytes = readFileSync(database());
    const damages: [string, () => void][] = [
      ["a row changed", () => sql(`UPDATE ${table} SET text = replace(text, 'revoked', 'active')`)],
      ["text that is not UTF-8", () => sql(`UPDATE ${table} SET text = CAST(x'fffe' AS TEXT)`)],
      ["a name that is not UTF-8", () => sql("INSERT INTO entries VALUES (CAST(x'fffe' AS TEXT), '{}')")],
      ["a row removed", () => sql(`DELETE FROM ${table}`)],
      ["a table emptied of its columns", () => sql(`ALTER TABLE ${table} DROP COLUMN text`)],
      ["a name that leads out of the folder", () => sql("INSERT INTO entries VALUES ('../outside', '{}')")],
      ["a trigger", () => sql("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END")],
      ["a view in a table's place", () => sql("DROP TABLE entries", "CREATE VIEW entries AS SELECT 'a' AS name, '{}' AS text")],
      ["put back to what it was", () => writeFileSync(database(), old)],
      ["removed", () => rmSync(database())],
      ["emptied", () => writeFileSync(database(), "")],
      ["cut", () => writeFileSync(database(), bytes.subarray(0, bytes.length / 2))],
      ["another file", () => writeFileSync(database(), "x".repeat(bytes.length))],
      [
        "bytes of a page bent",
        () => writeFileSync(database(), Buffer.from(bytes.toString("latin1").replaceAll("sensor", "valves"), "latin1")),
      ],
      ["a link", () => (renameSync(database(), join(directory, "x")), symlinkSync(join(directory, "x"), database()))],
      ["a folder", () => (rmSync(database()), mkdirSync(database()))],
      ["replaced by files", () => (rmSync(database()), mkdirSync(join(directory, "registry")), mkdirSync(join(directory, "index")))],
    ];
    const unnoticed: string[] = [];
    for (const [what, damage] of damages) {
      rmSync(directory, { recursive: true });
      cpSync(whole, directory, { recursive: true });
      rmSync(witnessFile(directory), { force: true });
      damage();
      // With an index, entries are read when they are used, and by whatever reads all of them.
      const looks = [
        () => verifyCa(directory, PASSPHRASE),
        () => proveCa(directory, PASSPHRASE),
        () => openCa(directory, PASSPHRASE).then((opened) => opened.revoke({ id: "b" })),
        () => openCa(directory, PASSPHRASE).then((opened) => opened.moveRegistry("files")),
      ];
      const isOfEntries = many === indexes[1] && what.startsWith("a name that ");
      for (const [number, look] of looks.entries()) {
        const code = await look().then(() => "not noticed", errorCode);
        if (code !== "CA_CORRUPT" && !(isOfEntries && number === 2)) unnoticed.push(`${what}: look ${number} says ${code}`);
      }
    }
    expect(unnoticed).toEqual([]);
  });

  it("names entries that are changed, removed and added", async () => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    sql(
      "UPDATE entries SET text = replace(text, 'sensor', 'valves') WHERE name = 'a'",
      "DELETE FROM entries WHERE name = 'b'",
      "INSERT INTO entries SELECT 'zz', replace(text, '\"c\"', '\"zz\"') FROM entries WHERE name = 'c'",
    );
    const verdict = await verifyCa(directory, PASSPHRASE).catch((error: unknown) => String(error));
    expect(verdict).toMatch(/missing: b\.json; not written by this CA: zz\.json; not what the CA wrote last: a\.json/);
    await expect(ca.reserve({ id: "zz", role: "sensor" })).rejects.toMatchObject({ code: "CA_CORRUPT" });
    // Names that were not touched are still shut out at once.
    await expect(ca.revoke({ id: "c" })).resolves.toBeDefined();
  });

  it("is noticed to be changed by a process that has it open, whatever SQLite counts", async () => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    const bent = Buffer.from(readFileSync(database()).toString("latin1").replaceAll("sensor", "valves"), "latin1");
    const { ino } = statSync(database());
    writeFileSync(database(), bent);
    expect(statSync(database()).ino).toBe(ino);
    await expect(ca.revoke({ id: "b" })).rejects.toMatchObject({ code: "CA_CORRUPT" });
  });

  it("is older than what this user saw when all of the CA is put back", async () => {
    await provisionDevice(ca, "a");
    const old = join(scene.directory(), "old");
    cpSync(directory, old, { recursive: true });
    await ca.revoke({ id: "a" });
    rmSync(directory, { recursive: true });
    cpSync(old, directory, { recursive: true });
    await expect(openCa(directory, PASSPHRASE)).rejects.toMatchObject({ code: "CA_ROLLED_BACK" });
    expect(() => openCaReadOnly(directory)).toThrow(expect.objectContaining({ code: "CA_ROLLED_BACK" }));
  });

  it("does not count beside a registry of files, and verifying names it", async () => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    const old = readFileSync(database());
    await ca.moveRegistry("files");
    writeFileSync(database(), old);
    await ca.revoke({ id: "a" });
    expect(states((await proveCa(directory, PASSPHRASE)).list())).toBe("a revoked, b active, c active");
    expect((await verifyCa(directory, PASSPHRASE)).strangers).toEqual(["registry.sqlite"]);
    expect(await ca.moveRegistry("files")).toMatchObject({ isTidied: true });
    expect((await verifyCa(directory, PASSPHRASE)).strangers).toEqual([]);
  });
});

describe("a process that is killed", () => {
  it("leaves a change of the database done or not begun, wherever it is cut off", async () => {
    for (const id of ["a", "b"]) await provisionDevice(ca, id);
    const copies = await cuts(async () => {
      await ca.reserve({ id: "c", role: "sensor" });
      await ca.revoke({ id: "a" });
    });
    const stages = ["a active, b active", "a active, b active, c reserved", "a revoked, b active, c reserved"];
    const seen = new Set<string>();
    for (const copy of copies) {
      putInPlace(copy);
      expect(stages).toContain(states(openCaReadOnly(directory, "used").list()));
      seen.add(states(await (await openCa(directory, PASSPHRASE)).list()));
      expect(await verifyCa(directory, PASSPHRASE)).toMatchObject({ problems: [], strangers: [] });
    }
    expect([...seen]).toEqual(stages);
  });

  it.each([
    ["files", "sqlite"],
    ["sqlite", "files"],
  ] as const)("leaves one registry that counts when it moves it from %s to %s, and the next run finishes", async (from, to) => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    await ca.moveRegistry(from);
    const copies = await cuts(() => ca.moveRegistry(to));
    expect(copies.length).toBeGreaterThan(15);
    const isMoved: boolean[] = [];
    for (const copy of copies) {
      putInPlace(copy);
      expect(states(openCaReadOnly(directory, "used").list())).toBe("a active, b active, c active");
      const next = await openCa(directory, PASSPHRASE);
      const { problems } = await verifyCa(directory, PASSPHRASE);
      const moved = await next.moveRegistry(to);
      isMoved.push(moved.from === to);
      await next.revoke({ id: "a" });
      expect([problems, await verifyCa(directory, PASSPHRASE)]).toMatchObject([[], { names: 3, problems: [], strangers: [] }]);
      expect(
        readdirSync(directory)
          .filter((name) => /^(registry|index)/.test(name))
          .sort(),
      ).toEqual(to === "files" ? ["index", "registry"] : ["registry.sqlite"]);
    }
    expect(isMoved.map((moved) => (moved ? "moved" : "kept")).join(" ")).toMatch(/^(kept )+(moved ?)+$/);
  });

  it("within a transaction of the database, leaves what was there before", async () => {
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    const before = states(await ca.list());
    // Pages go to the disk before the commit, as those of a long transaction do.
    const program = `
      import { createRequire } from "node:module";
      const require = createRequire(${JSON.stringify(import.meta.url)});
      let Database;
      try { Database = require("node:sqlite").DatabaseSync; } catch { Database = require("libsql"); }
      const connection = new Database(${JSON.stringify(database())});
      connection.exec("PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE entries SET text = text || text || text; UPDATE index_files SET text = ''");
      connection.exec("WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)" +
        " INSERT INTO entries SELECT 'x' || i, hex(zeroblob(3000)) FROM n");
      process.kill(process.pid, "SIGKILL");
    `;
    const { signal, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
    expect([signal, stderr]).toEqual(["SIGKILL", ""]);
    expect(existsSync(`${database()}-journal`)).toBe(true);
    expect(statSync(database()).size).toBeGreaterThan(200_000);
    expect(states((await proveCa(directory, PASSPHRASE)).list())).toBe(before);
    await ca.revoke({ id: "a" });
    expect(await verifyCa(directory, PASSPHRASE)).toMatchObject({ names: 3, problems: [], strangers: [] });
  });
});

describe("processes that share a registry in SQLite", () => {
  it("lose no name and double none, also when one is killed", async () => {
    const cache = fileURLToPath(new URL("../../.cache/", import.meta.url));
    mkdirSync(cache, { recursive: true });
    const room = mkdtempSync(join(cache, "ca-worker-"));
    const worker = buildWorker(room);
    const ids = Array.from({ length: 6 }, (_, number) => `dev${number}`);
    const programs = [ids, [...ids].reverse(), ids].map((order) => new RunningProgram(worker, [directory, PASSPHRASE, ...order]));
    try {
      const [killed, ...others] = programs;
      await Promise.all(programs.map((program) => program.printed(1)));
      for (const program of programs) program.release();
      await killed?.printed(3);
      await killed?.kill();
      await Promise.all(others.map((program) => program.ended));
      const won = programs.flatMap(({ lines }) => lines.filter((line) => line.startsWith("won ")));
      expect(new Set(won).size).toBe(won.length);
      // What the killed one was at is done or can be done by the next.
      for (const id of ids.filter(
        (name) =>
          !openCaReadOnly(directory)
            .list()
            .some((one) => one.name === name && one.state === "active"),
      ))
        await provisionDevice(ca, id);
      expect(states(await ca.list())).toBe(ids.map((id) => `${id} active`).join(", "));
      for (const { certificates } of await ca.list()) expect(certificates.filter(({ status }) => status === "active")).toHaveLength(1);
      expect(await verifyCa(directory, PASSPHRASE)).toMatchObject({ names: ids.length, problems: [], strangers: [] });
    } finally {
      for (const program of programs) await program.kill();
      rmSync(room, { recursive: true, force: true });
    }
  });
});

/** A disk of a few hundred blocks, where this machine lets tests have one. */
const disk = mkdtempSync(join(tmpdir(), "hawser-disk-"));
const canMount = process.getuid?.() === 0 && spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]).status === 0;

describe.runIf(canMount)("a disk that is nearly full", () => {
  const BLOCK_BYTES = 4096;
  const filler = join(disk, "filler");

  afterAll(() => {
    // Files that are open for a while yet keep it busy.
    spawnSync("umount", ["--lazy", disk]);
    rmSync(disk, { recursive: true, force: true });
  });

  function leaveBlocks(count: number): void {
    rmSync(filler, { force: true });
    const { bavail, bsize } = statfsSync(disk);
    expect(bsize).toBe(BLOCK_BYTES);
    writeFileSync(filler, Buffer.alloc((bavail - count) * BLOCK_BYTES));
  }

  async function withDisk(registry: "files" | "sqlite"): Promise<CertificateAuthority> {
    rmSync(filler, { force: true });
    rmSync(join(disk, "ca"), { recursive: true, force: true });
    rmSync(witnessFile(join(disk, "ca")), { force: true });
    await initCa(join(disk, "ca"), { name: "Test", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST, registry });
    const opened = await openCa(join(disk, "ca"), PASSPHRASE);
    for (const id of ["a", "b", "c"]) await provisionDevice(opened, id);
    return opened;
  }

  it.each<["files" | "sqlite", string, (opened: CertificateAuthority) => Promise<unknown>, string]>([
    ["sqlite", "a reservation", (opened) => opened.reserve({ id: "new", role: "sensor" }), "a active, b active, c active, new reserved"],
    ["sqlite", "a revocation", (opened) => opened.revoke({ id: "a" }), "a revoked, b active, c active"],
    ["files", "a move to sqlite", (opened) => opened.moveRegistry("sqlite"), "a active, b active, c active"],
    ["sqlite", "a move to files", (opened) => opened.moveRegistry("files"), "a active, b active, c active"],
  ])("of %s stops %s before it begins, or it is done", async (registry, _what, change, after) => {
    const opened = await withDisk(registry);
    const before = readdirSync(join(disk, "ca")).sort();
    const codes: string[] = [];
    for (let blocks = 0; codes.at(-1) !== ""; blocks += 1) {
      leaveBlocks(blocks);
      codes.push(await change(opened).then(() => "", errorCode));
      rmSync(filler);
      const found = states((await proveCa(join(disk, "ca"), PASSPHRASE)).list());
      const isBefore = codes.at(-1) === "STORAGE_FULL";
      expect([blocks, codes.at(-1), found]).toEqual([
        blocks,
        isBefore ? "STORAGE_FULL" : "",
        isBefore ? "a active, b active, c active" : after,
      ]);
      if (isBefore) expect(readdirSync(join(disk, "ca")).sort()).toEqual(before);
    }
    expect(codes.length).toBeGreaterThan(3);
    expect(await verifyCa(join(disk, "ca"), PASSPHRASE)).toMatchObject({ problems: [], strangers: [] });
  });
});
