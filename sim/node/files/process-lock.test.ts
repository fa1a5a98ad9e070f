import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { errorCode, HawserError } from "../../../sdk/errors.js";
import { lockNow, lockWithin, takeoverPath } from "./process-lock.js";
import { buildProgram, RunningProgram } from "../../../test/support/node/child-program.js";

let room: string;
let path: string;
let program: string;
const running: RunningProgram[] = [];
const programs = mkdtempSync(join(tmpdir(), "hawser-lock-programs-"));

beforeAll(() => {
  program = buildProgram(programs, "lock-contender");
  return () => rmSync(programs, { recursive: true });
});

beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), "hawser-lock-"));
  path = join(room, "lock");
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((child) => child.kill()));
  rmSync(room, { recursive: true });
});

const held = (pid: number | undefined): HawserError => new HawserError("TEST_HELD" as never, `held by ${pid ?? "someone"}`, "Wait.");

function run(...args: string[]): RunningProgram {
  const child = new RunningProgram(program, args);
  running.push(child);
  return child;
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return errorCode(error);
  }
  return "no error";
}

/** A record like that of a living holder, changed. */
function writeHolder(change: Record<string, unknown>): void {
  const lock = lockNow(path, held);
  const record = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  lock.release();
  writeFileSync(path, JSON.stringify({ ...record, ...change }));
}

describe("a process lock", () => {
  it("is held by one at a time, names its holder, and can be taken again after release", () => {
    const lock = lockNow(path, held);
    expect(() => lockNow(path, held)).toThrow(`held by ${process.pid}`);
    expect(codeOf(() => lockNow(path, held))).toBe("TEST_HELD");
    lock.release();
    lock.release();
    expect(readdirSync(room)).toEqual([]);
    lockNow(path, held).release();
  });

  it("is a private file, and the only one it leaves", () => {
    lockNow(path, held);
    expect(readdirSync(room)).toEqual(["lock"]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("does not release what another one took over", () => {
    const lock = lockNow(path, held);
    rmSync(path);
    const other = lockNow(path, held);
    lock.release();
    expect(existsSync(path)).toBe(true);
    other.release();
    expect(existsSync(path)).toBe(false);
  });

  it("is not taken from a live process, and is taken over at once after kill -9", async () => {
    const holder = run(path, "", "hold");
    await holder.printed(1);
    expect(() => lockNow(path, held)).toThrow(`held by ${holder.pid}`);
    await holder.kill();
    expect(existsSync(path)).toBe(true);
    lockNow(path, held).release();
    expect(readdirSync(room)).toEqual([]);
  });

  it("is not mistaken for a live one when the process id was reused, or the machine was started anew", () => {
    for (const change of [{ start: "1" }, { boot: "another boot" }, { pid: 2 ** 22 + 1 }]) {
      writeHolder(change);
      lockNow(path, held).release();
    }
    writeHolder({});
    expect(codeOf(() => lockNow(path, held))).toBe("TEST_HELD");
  });

  it("is taken over when a power cut left its file empty or torn", () => {
    for (const text of ["", "{", "null", '{"pid":"x"}', '{"pid":-1,"start":"","boot":""}', "\0\0\0\0"]) {
      writeFileSync(path, text);
      lockNow(path, held).release();
    }
    expect(readdirSync(room)).toEqual([]);
  });

  it("is taken over even when one who was taking it over was killed", () => {
    writeHolder({ start: "1" });
    const dead = readFileSync(path, "utf8");
    writeFileSync(takeoverPath(path, dead), dead);
    lockNow(path, held).release();
    expect(readdirSync(room)).toEqual([]);
  });

  it("leaves a takeover by a live contender alone", () => {
    writeHolder({ start: "1" });
    const dead = readFileSync(path, "utf8");
    const other = lockNow(takeoverPath(path, dead), held);
    expect(codeOf(() => lockNow(path, held))).toBe("TEST_HELD");
    expect(readFileSync(path, "utf8")).toBe(dead);
    other.release();
    lockNow(path, held).release();
  });

  it("waits for its holder as long as it is told to", async () => {
    const lock = lockNow(path, held);
    await expect(lockWithin(path, 30, held)).rejects.toThrow(`held by ${process.pid}`);
    const waiting = lockWithin(path, 30_000, held);
    setTimeout(() => lock.release(), 20);
    (await waiting).release();
  });

  it("says what the file system refuses", async () => {
    const nowhere = join(room, "no", "lock");
    expect(codeOf(() => lockNow(nowhere, held))).toBe("STORAGE_FAILED");
    await expect(lockWithin(nowhere, 30_000, held)).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  });

  it("keeps processes apart that contend for it", async () => {
    const ledger = join(room, "ledger");
    const children = [1, 2, 3].map(() => run(path, ledger, "60", ""));
    await Promise.all(children.map((child) => child.ended));
    expectTurns(ledger, 180);
  });

  it("keeps processes apart that contend to take it over from one killed holder after another", async () => {
    const ledger = join(room, "ledger");
    for (let round = 0; round < 3; round += 1) {
      // Each child is killed with the lock in hand, so every entry but the first is a takeover.
      const children = [1, 2, 3, 4].map(() => run(path, ledger, "1", "crash"));
      await Promise.all(children.map((child) => child.ended));
    }
    expectTurns(ledger, 12);
    lockNow(path, held).release();
  });
});

/** Every "enter" is followed by the "leave" of the same process. */
function expectTurns(ledger: string, count: number): void {
  const lines = readFileSync(ledger, "utf8").trim().split("\n");
  expect(lines).toHaveLength(2 * count);
  for (let index = 0; index < lines.length; index += 2) {
    expect(lines[index]).toMatch(/^enter \d+$/);
    expect(lines[index + 1]).toBe(lines[index]?.replace("enter", "leave"));
  }
}
