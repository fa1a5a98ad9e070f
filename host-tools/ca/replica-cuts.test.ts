/**
 * A machine's copy of a shared registry: killed after each step on its disk, or with hardly any room on it, the next run goes on from what
 * counts in the database, whatever the step was, or says what to do.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { errorCode } from "../../sdk/errors.js";
import { removeDirectory } from "../../sim/node/files/remove-directory.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { PostgresServer } from "../../test/support/host-tools/postgres-server.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { writeDatabaseFile } from "../ca-directory/database-file.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { parseState, sha256 } from "../ca-directory/sealed-state.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { proveCa } from "./ca-without-passphrase.js";
import { joinRegistry } from "./shared-registry.js";
import { verifyCa } from "./verification.js";

vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 });

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

const NEW_PASSPHRASE = "four words that nobody knows";
const KINDS = ["files", "sqlite"] as const;
type Kind = (typeof KINDS)[number];

const scene = new Scene();
let server: PostgresServer;
let count = 0;
let userState: string;

beforeAll(async () => {
  server = await PostgresServer.start();
});
beforeEach(() => {
  userState = scene.directory();
  vi.stubEnv("HAWSER_STATE_DIR", userState);
});
afterEach(async () => {
  steps.after = () => undefined;
  vi.unstubAllEnvs();
  await scene.clean();
  await server.query("DROP TABLE IF EXISTS hawser_changes, hawser_snapshots, kept_changes");
});
afterAll(() => server.stop());

/** Two machines of one CA with three devices, of which the first has its registry in this kind. */
async function machines(kind: Kind): Promise<[CertificateAuthority, CertificateAuthority]> {
  const first = await scene.ca({ name: `Cut ${(count += 1)}`, registry: kind });
  for (const id of ["a", "b", "c"]) await provisionDevice(first, id);
  await first.moveRegistry("postgres", { urlFile: server.urlFile });
  const second = join(scene.directory(), "ca");
  await joinRegistry(second, { passphrase: PASSPHRASE, urlFile: server.urlFile });
  return [first, await openCa(second, PASSPHRASE)];
}

/** Copies of a directory after each step on the disk that `work` makes, and before the first. */
async function cuts(directory: string, work: () => Promise<unknown>): Promise<string[]> {
  const room = scene.directory();
  const copies: string[] = [];
  const keep = (): void => {
    const { after } = steps;
    steps.after = () => undefined;
    const copy = join(room, String(copies.length));
    cpSync(directory, copy, { recursive: true });
    copies.push(copy);
    steps.after = after;
  };
  keep();
  steps.after = keep;
  await work();
  steps.after = () => undefined;
  return copies;
}

/** The directory itself stays: a copy would be another machine's. This user has seen nothing yet. */
function putBack(directory: string, copy: string): void {
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
  cpSync(copy, directory, { recursive: true });
  // Who held them is dead; that process was this one.
  for (const lock of ["", ...readdirSync(directory)].map((folder) => join(directory, folder, FILES.lock)).filter(existsSync)) rmSync(lock);
  rmSync(userState, { recursive: true });
  mkdirSync(userState, { mode: 0o700 });
}

const revisionIn = (text: string): number => parseState(text)?.revision ?? 0;

/** The newest change that surely counts in the database when a machine has come this far, and whether the next one may. */
function leastCounting(copy: string): { readonly revision: number; readonly mayBeMore: boolean } {
  const journal = join(copy, FILES.journal);
  const text = existsSync(journal) ? (JSON.parse(readFileSync(journal, "utf8")) as { state: string }).state : undefined;
  return { revision: revisionIn(text ?? readFileSync(join(copy, FILES.state), "utf8")), mayBeMore: text === undefined };
}

/** What the database has of the changes up to this one. */
async function databaseAt(revision: number): Promise<string> {
  await server.query("TRUNCATE hawser_changes");
  await server.query("INSERT INTO hawser_changes SELECT * FROM kept_changes WHERE revision <= $1::bigint", [String(revision)]);
  const [row] = await server.query("SELECT state FROM kept_changes WHERE revision = $1::bigint", [String(revision)]);
  return String(row?.["state"]);
}

const stateOf = (directory: string): string => sha256(readFileSync(join(directory, FILES.state)));

async function expectSound(directory: string, passphrase = PASSPHRASE): Promise<void> {
  expect(await verifyCa(directory, passphrase)).toMatchObject({ problems: [], strangers: [] });
}

describe.each(KINDS)("a machine that is killed, with its copy in %s", (kind) => {
  it("at any step of its own changes, has them where they count, and nothing of them where they do not", async () => {
    const [first, second] = await machines(kind);
    const [untouched = ""] = await cuts(second.directory, () => Promise.resolve());
    const copies = await cuts(first.directory, async () => {
      await first.reserve({ id: "d" });
      await first.revoke({ id: "a", reason: "keyCompromise" });
    });
    await server.query("CREATE TABLE kept_changes AS SELECT * FROM hawser_changes");
    const last = revisionIn(readFileSync(join(first.directory, FILES.state), "utf8"));
    expect(copies.length).toBeGreaterThan(30);
    const seen = new Set<number>();
    for (const copy of copies) {
      const { revision, mayBeMore } = leastCounting(copy);
      for (const counting of mayBeMore && revision < last ? [revision, revision + 1] : [revision]) {
        const state = await databaseAt(counting);
        putBack(first.directory, copy);
        putBack(second.directory, untouched);
        const next = await openCa(first.directory, PASSPHRASE);
        expect(stateOf(first.directory)).toBe(state);
        await expectSound(first.directory);
        await next.revoke({ id: "b" });
        const other = await openCa(second.directory, PASSPHRASE);
        expect(stateOf(second.directory)).toBe(stateOf(first.directory));
        expect((await other.list()).find(({ name }) => name === "b")?.state).toBe("revoked");
        seen.add(counting);
      }
    }
    expect(seen.size).toBe(3);
  });

  it("at any step of taking in what others changed, takes in the rest, and who only reads is told what to run first", async () => {
    const [first, second] = await machines(kind);
    await second.revoke({ id: "a", reason: "keyCompromise" });
    await provisionDevice(second, "d");
    const newest = stateOf(second.directory);
    const copies = await cuts(first.directory, () => first.takeIn());
    expect(copies.length).toBeGreaterThan(30);
    const reading = new Set<string>();
    for (const copy of copies) {
      putBack(first.directory, copy);
      const found = await proveCa(first.directory, PASSPHRASE, "used").then(
        (ca) => ca.list().map(({ name, state }) => `${name} ${state}`),
        (error: unknown) => {
          expect(error).toMatchObject({ code: "CA_BUSY", nextStep: `Run: hawser ca crl --dir ${first.directory}` });
          return undefined;
        },
      );
      if (found !== undefined) expect(found).toEqual(["a revoked", "b active", "c active", "d active"]);
      reading.add(found === undefined ? "told" : "read");
      const next = await openCa(first.directory, PASSPHRASE);
      expect(stateOf(first.directory)).toBe(newest);
      await expectSound(first.directory);
      expect((await next.list()).map(({ name, state }) => `${name} ${state}`)).toEqual(["a revoked", "b active", "c active", "d active"]);
    }
    expect([...reading].sort()).toEqual(["read", "told"]);
  });

  it("at any step of taking over a new passphrase, says so to the old one, and is opened by the new one then", async () => {
    const [first, second] = await machines(kind);
    await second.changePassphrase(NEW_PASSPHRASE, TEST_SCRYPT_COST);
    const copies = await cuts(first.directory, () => expect(first.takeIn()).rejects.toMatchObject({ code: "PASSPHRASE_CHANGED" }));
    const codes = new Set<string>();
    for (const copy of copies) {
      putBack(first.directory, copy);
      codes.add(await openCa(first.directory, PASSPHRASE).then(() => "opened", errorCode));
      await openCa(first.directory, NEW_PASSPHRASE);
      expect(stateOf(first.directory)).toBe(stateOf(second.directory));
      await expectSound(first.directory, NEW_PASSPHRASE);
    }
    expect([...codes].sort()).toEqual(["PASSPHRASE_CHANGED", "WRONG_PASSPHRASE"]);
  });

  it("at any step of joining, joins when it is asked again, or has joined", async () => {
    const [, second] = await machines(kind);
    await second.revoke({ id: "a" });
    const room = scene.directory();
    const place = join(room, "ca");
    const joinHere = (): Promise<unknown> => joinRegistry(place, { passphrase: PASSPHRASE, urlFile: server.urlFile });
    const copies = await cuts(room, joinHere);
    const codes = new Set<string>();
    for (const copy of copies) {
      putBack(room, copy);
      const code = await joinHere().then(() => "", errorCode);
      codes.add(code);
      // What was complete is there as a copy now, which the drill makes of it.
      if (code === "CA_EXISTS") writeDatabaseFile(new CaDirectory(place), undefined);
      await openCa(place, PASSPHRASE);
      expect(stateOf(place)).toBe(stateOf(second.directory));
      await expectSound(place);
      expect(readdirSync(room)).toEqual(["ca"]);
    }
    expect([...codes].sort()).toEqual(["", "CA_EXISTS"]);
  });
});

/** A disk of a few hundred blocks, where this machine lets tests have one. */
const disk = mkdtempSync(join(tmpdir(), "hawser-disk-"));
const canMount = process.getuid?.() === 0 && spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]).status === 0;

describe.runIf(canMount).each(KINDS)("a machine whose disk is nearly full, with its copy in %s", (kind) => {
  const filler = join(disk, "filler");
  const place = join(disk, "ca");

  afterEach(() => {
    rmSync(filler, { force: true });
    removeDirectory(place);
  });

  function leaveBlocks(blocks: number): void {
    rmSync(filler, { force: true });
    const { bavail, bsize } = statfsSync(disk);
    writeFileSync(filler, Buffer.alloc((bavail - blocks) * bsize));
  }

  /** SQLite asks for more room at a time. */
  const step = kind === "files" ? 1 : 7;

  /** With a little more room each time, until it is done: what it said before, and what was found then once there was room. */
  async function untilDone(work: () => Promise<unknown>, look: (code: string) => Promise<void>): Promise<string[]> {
    const codes: string[] = [];
    for (let blocks = 0; codes.at(-1) !== ""; blocks += step) {
      leaveBlocks(blocks);
      codes.push(await work().then(() => "", errorCode));
      rmSync(filler);
      await look(codes.at(-1) ?? "");
    }
    return codes;
  }

  it("says STORAGE_FULL before its change counts, or the change is done everywhere", async () => {
    const [, other] = await machines(kind);
    await joinRegistry(place, { passphrase: PASSPHRASE, urlFile: server.urlFile });
    const ca = await openCa(place, PASSPHRASE);
    let before = stateOf(other.directory);
    const codes = await untilDone(
      () => ca.revoke({ id: "a" }),
      async (code) => {
        await other.takeIn();
        const now = stateOf(other.directory);
        expect([code, now === before]).toEqual([code, code === "STORAGE_FULL"]);
        await ca.takeIn();
        expect(stateOf(place)).toBe(now);
        await expectSound(place);
        before = now;
      },
    );
    expect(new Set(codes)).toEqual(new Set(["STORAGE_FULL", ""]));
  });

  it("says STORAGE_FULL when it cannot take in what others changed, and takes it in once there is room", async () => {
    const [, other] = await machines(kind);
    await joinRegistry(place, { passphrase: PASSPHRASE, urlFile: server.urlFile });
    const ca = await openCa(place, PASSPHRASE);
    await other.revoke({ id: "a", reason: "keyCompromise" });
    await provisionDevice(other, "d");
    const codes = await untilDone(
      () => ca.takeIn(),
      async (code) => {
        if (code !== "") expect(code).toBe("STORAGE_FULL");
        // Another process finds the directory sound, however much of it was taken in.
        await expectSound(place);
        await provisionDevice(other, `more-${(count += 1)}`);
      },
    );
    expect(codes.length).toBeGreaterThan(3);
    await ca.takeIn();
    expect(stateOf(place)).toBe(stateOf(other.directory));
  });

  it("joins only where there is room, and leaves nothing half done where there is not", async () => {
    await machines(kind);
    const codes = await untilDone(
      () => joinRegistry(place, { passphrase: PASSPHRASE, urlFile: server.urlFile }),
      async (code) => {
        if (code !== "") expect([code, readdirSync(disk)]).toEqual(["STORAGE_FULL", []]);
      },
    );
    expect(codes.length).toBeGreaterThan(3);
    await openCa(place, PASSPHRASE);
    await expectSound(place);
  });
});

afterAll(() => {
  // Files that are open for a while yet keep it busy.
  if (canMount) spawnSync("umount", ["--lazy", disk]);
  rmSync(disk, { recursive: true, force: true });
});
