/**
 * Every moment at which `hawser issue` can fail. The command runs once for each single step it does on the disk: killed before that step,
 * or with a disk that is full from that step on. Then the same command is run again, and has to leave a client that is let in and whose
 * files are where they belong.
 */
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterEach, describe, expect, it, vi } from "vitest";
import { errorCode, HawserError } from "../../../sdk/errors.js";
import { lockNow } from "../../../sim/node/files/process-lock.js";
import { openCaReadOnly, verifyAudit } from "../../ca/ca-without-passphrase.js";
import { PASSPHRASE, Scene } from "../../../test/support/host-tools/scene.js";
import { StopSignal } from "../stop-signal.js";
import { Terminal } from "../terminal.js";
import { issue } from "./issue.js";

const { ADDING, OTHER, steps } = vi.hoisted(() => ({
  ADDING: ["writeSync", "writeFileSync", "mkdirSync", "linkSync"],
  OTHER: ["renameSync", "unlinkSync", "rmSync", "rmdirSync", "ftruncateSync"],
  /** Asked before each step; what it throws happens in place of the step. */
  steps: { before: (_call: string, _place: unknown): void => undefined },
}));

vi.mock("node:fs", async (original) => {
  const fs = await original<Record<string, unknown>>();
  const wrap =
    (name: string) =>
    (...args: unknown[]): unknown => {
      steps.before(name, args.at(-1));
      return (fs[name] as (...args: unknown[]) => unknown)(...args);
    };
  return { ...fs, ...Object.fromEntries([...ADDING, ...OTHER].map((name) => [name, wrap(name)])), fsyncSync: () => undefined };
});

const scene = new Scene();
afterEach(() => scene.clean());

const FILES = ["ca.crt.pem", "client.crt.pem", "client.key.pem"];

function run(room: string, replace: boolean): Promise<void> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() }) as NodeJS.WriteStream;
  const context = { terminal: new Terminal(true, nowhere, nowhere, {}), stop: new StopSignal(), env: { HAWSER_PASSPHRASE: PASSPHRASE } };
  return issue({ dir: join(room, "ca"), name: "bb", role: "backend", out: join(room, "out"), replace }, context);
}

/** A room with a CA, and what else `prepare` puts there. */
async function roomWith(prepare: (room: string) => Promise<void> | void): Promise<string> {
  const room = join((await scene.ca()).directory, "..");
  await prepare(room);
  return room;
}

/** Runs the command in a copy of `room` whose steps fail as `failing` says; the error, or undefined when it ran to its end. */
async function runFailing(
  room: string,
  replace: boolean,
  failing: (step: number, call: string, place: unknown) => void,
): Promise<{ copy: string; error: unknown }> {
  const copy = join(scene.directory(), "room");
  cpSync(room, copy, { recursive: true });
  let step = 0;
  steps.before = (call, place) => failing((step += 1), call, place);
  try {
    await run(copy, replace);
    return { copy, error: undefined };
  } catch (error) {
    return { copy, error };
  } finally {
    steps.before = () => undefined;
  }
}

/** From step `at` on nothing happens any more, the clearing up included: what a kill leaves behind. */
const killedAt =
  (at: number) =>
  (step: number): void => {
    if (step >= at) throw new Error("killed");
  };

const fullFrom =
  (at: number) =>
  (step: number, call: string): void => {
    if (step >= at && ADDING.includes(call)) throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
  };

/** The locks of a killed process name nobody alive; here they would name this process. */
function withoutLocks(room: string): void {
  for (const lock of ["ca/ca.lock", "out.hawser-lock", "out/.hawser-lock"]) rmSync(join(room, lock), { force: true });
}

const clientOf = (room: string) => openCaReadOnly(join(room, "ca")).list()[0];

/** The client is let in, by one certificate, which is the one in its directory, with its key and nothing else. */
function expectIssued(room: string): void {
  const out = join(room, "out");
  expect(readdirSync(out).sort()).toEqual(FILES);
  const certificate = new X509Certificate(readFileSync(join(out, "client.crt.pem")));
  expect(createPublicKey(createPrivateKey(readFileSync(join(out, "client.key.pem")))).equals(certificate.publicKey)).toBe(true);
  const { state, certificates } = clientOf(room) ?? {};
  expect([state, certificates?.filter(({ status }) => status === "active").map(({ serial }) => serial)]).toEqual([
    "active",
    [certificate.serialNumber.toLowerCase()],
  ]);
  expect(verifyAudit(join(room, "ca"))).toMatchObject({ ok: true });
}

const isIssued = (room: string): boolean =>
  clientOf(room)?.state === "active" && FILES.every((file) => existsSync(join(room, "out", file)));

describe.each([
  ["a new client in a new directory", false, (): void => undefined],
  ["a new client in an empty directory", false, (room: string): void => mkdirSync(join(room, "out"))],
  ["a client that is replaced", true, (room: string): Promise<void> => run(room, false)],
] as const)("issuing %s", (_what, replace, prepare) => {
  it("needs no repair wherever it is killed: the same command ends it", async () => {
    const room = await roomWith(prepare);
    const codes = new Set<string>();
    for (let at = 1; ; at += 1) {
      const { copy, error } = await runFailing(room, replace, killedAt(at));
      if (error === undefined) break;
      withoutLocks(copy);
      const done = !replace && isIssued(copy);
      const code = await run(copy, replace).then(() => "", errorCode);
      // Killed when all was done but the tidying up: nothing was left to do.
      expect([at, code]).toEqual([at, done ? "OUT_EXISTS" : ""]);
      if (done)
        for (const name of readdirSync(join(copy, "out")))
          if (name.startsWith(".hawser-")) rmSync(join(copy, "out", name), { recursive: true });
      expectIssued(copy);
      codes.add(code);
    }
    expect(codes).toContain("");
  }, 60_000);

  it("leaves nothing behind when the disk is full, and with --replace the old certificate in use; or the same command ends it", async () => {
    const room = await roomWith(prepare);
    const before = clientOf(room);
    let undone = 0;
    for (let at = 1; ; at += 1) {
      const { copy, error } = await runFailing(room, replace, fullFrom(at));
      if (error === undefined) break;
      expect([at, errorCode(error)]).toEqual([at, "STORAGE_FULL"]);
      if (!existsSync(join(copy, "ca", "journal.json"))) {
        expect(clientOf(copy)).toEqual(before);
        expect(readdirSync(copy).sort()).toEqual(readdirSync(room).sort());
        if (replace) expectIssued(copy);
        undone += 1;
      }
      await run(copy, replace);
      expectIssued(copy);
    }
    expect(undone).toBeGreaterThan(10);
  }, 60_000);
});

describe("issuing", () => {
  it("says where the files are when they cannot be moved to their place, and moves them when run again", async () => {
    const room = await roomWith(() => undefined);
    const { copy, error } = await runFailing(room, false, (_step, call, place) => {
      if (call === "renameSync" && String(place).endsWith(join("room", "out"))) throw Object.assign(new Error("no"), { code: "EACCES" });
    });
    expect(error).toMatchObject({ code: "STORAGE_FAILED", message: expect.stringContaining(join(copy, "out.hawser-staged-")) as string });
    const serial = clientOf(copy)?.serial;
    await run(copy, false);
    expectIssued(copy);
    expect([clientOf(copy)?.serial, readdirSync(copy).sort()]).toEqual([serial, ["ca", "out"]]);
  });

  it("refuses a place that another process is filling", async () => {
    const room = await roomWith(() => undefined);
    const lock = lockNow(join(room, "out.hawser-lock"), () => new HawserError("PLACE_HELD", "held", "Wait."));
    expect(await run(room, false).catch(errorCode)).toBe("OUT_EXISTS");
    expect(clientOf(room)).toBeUndefined();
    lock.release();
    await run(room, false);
    expectIssued(room);
    expect(readdirSync(room).sort()).toEqual(["ca", "out"]);
  });

  it("writes through no link and removes nothing behind one, wherever somebody may have put it", async () => {
    const room = await roomWith(() => undefined);
    const victim = join(room, "victim");
    mkdirSync(join(victim, "files"), { recursive: true });
    writeFileSync(join(victim, "files", "precious"), "precious");
    const links = ["out.hawser-staged", `out.hawser-staged-${"0".repeat(16)}`, "out.hawser-lock.0123456789abcdef.tmp~"];
    for (const link of links) symlinkSync(victim, join(room, link));
    await run(room, false);
    expectIssued(room);
    expect([readdirSync(victim), readdirSync(join(victim, "files"))]).toEqual([["files"], ["precious"]]);
  });

  it.each([
    ["is a file", (room: string) => writeFileSync(join(room, "out"), "")],
    ["is a link that leads nowhere", (room: string) => symlinkSync(join(room, "nowhere"), join(room, "out"))],
    ["holds a directory under a file's name", (room: string) => mkdirSync(join(room, "out/client.key.pem"), { recursive: true })],
  ])("leaves the name free when its place %s", async (_what, prepare) => {
    const room = await roomWith(prepare);
    expect(await run(room, true).catch(errorCode)).toBe("OUT_EXISTS");
    expect([clientOf(room), readdirSync(room).sort()]).toEqual([undefined, ["ca", "out"]]);
  });
});
