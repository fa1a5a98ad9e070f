import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HawserError } from "../../../sdk/errors.js";
import { removeFileDurably, removeLeftoverTemporaries, storageError, temporaryPath, writeFileAtomic } from "./atomic-file.js";

/** The calls that make a write durable, in order; and a call to be refused. */
const watch = vi.hoisted(() => ({ calls: [] as string[], refuse: undefined as { call: string; code: string } | undefined }));

vi.mock("node:fs", async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  const watched = { ...original };
  for (const name of ["openSync", "writeSync", "fsyncSync", "renameSync", "unlinkSync"] as const) {
    Object.assign(watched, {
      [name]: (...args: unknown[]): unknown => {
        watch.calls.push(name);
        if (watch.refuse?.call === name) throw Object.assign(new Error("refused by the test"), { code: watch.refuse.code });
        return (original[name] as (...given: unknown[]) => unknown)(...args);
      },
    });
  }
  return watched;
});

let room: string;
let path: string;

beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), "hawser-atomic-"));
  path = join(room, "file");
  watch.calls = [];
});

afterEach(() => {
  watch.refuse = undefined;
  rmSync(room, { recursive: true });
});

function refusal(action: () => unknown): HawserError {
  try {
    action();
  } catch (error) {
    if (error instanceof HawserError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("an atomic write", () => {
  it("makes and replaces files, empty ones and large ones", () => {
    for (const content of [Buffer.from("first"), Buffer.alloc(0), Buffer.alloc(3_000_000, 7)]) {
      writeFileAtomic(path, content);
      expect(readFileSync(path).equals(content)).toBe(true);
    }
    writeFileAtomic(path, "grüße");
    expect(readFileSync(path, "utf8")).toBe("grüße");
    expect(readdirSync(room)).toEqual(["file"]);
  });

  it("gives exactly the permissions asked for, 0600 by default, whatever the umask and the old file had", () => {
    const before = process.umask(0o077);
    try {
      writeFileAtomic(path, "x", 0o644);
      expect(statSync(path).mode & 0o777).toBe(0o644);
      process.umask(0);
      writeFileAtomic(path, "x");
      expect(statSync(path).mode & 0o777).toBe(0o600);
    } finally {
      process.umask(before);
    }
  });

  it("syncs the file before it takes its name, and the directory after", () => {
    writeFileAtomic(path, "x");
    expect(watch.calls).toEqual(["openSync", "writeSync", "fsyncSync", "renameSync", "openSync", "fsyncSync"]);
  });

  it.each([
    { call: "openSync", code: "EACCES", expected: "STORAGE_FAILED" },
    { call: "openSync", code: "EROFS", expected: "STORAGE_FAILED" },
    { call: "openSync", code: "ENOSPC", expected: "STORAGE_FULL" },
    { call: "writeSync", code: "ENOSPC", expected: "STORAGE_FULL" },
    { call: "writeSync", code: "EDQUOT", expected: "STORAGE_FULL" },
    { call: "fsyncSync", code: "EIO", expected: "STORAGE_FAILED" },
    { call: "renameSync", code: "EACCES", expected: "STORAGE_FAILED" },
  ])("keeps the old file and leaves no other when $call fails with $code: $expected", ({ call, code, expected }) => {
    writeFileAtomic(path, "old");
    watch.refuse = { call, code };
    const error = refusal(() => writeFileAtomic(path, "new"));
    expect([error.code, error.message.includes(path), error.message.includes(code), error.nextStep !== ""]).toEqual([
      expected,
      true,
      true,
      true,
    ]);
    watch.refuse = undefined;
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(room)).toEqual(["file"]);
  });

  it("names the path when its directory is missing or its place is a directory", () => {
    expect(refusal(() => writeFileAtomic(join(room, "no", "file"), "x")).message).toContain(join(room, "no", "file"));
    mkdirSync(join(room, "directory"));
    expect(refusal(() => writeFileAtomic(join(room, "directory"), "x")).code).toBe("STORAGE_FAILED");
    expect(readdirSync(room)).toEqual(["directory"]);
  });
});

describe("removing files", () => {
  it("removes a file durably, and does nothing when there is none", () => {
    writeFileSync(path, "x");
    watch.calls = [];
    removeFileDurably(path);
    expect(watch.calls).toEqual(["unlinkSync", "openSync", "fsyncSync"]);
    expect(existsSync(path)).toBe(false);
    removeFileDurably(path);
    watch.refuse = { call: "unlinkSync", code: "EPERM" };
    expect(refusal(() => removeFileDurably(path)).code).toBe("STORAGE_FAILED");
  });

  it("sweeps temporary files of killed writers and nothing else", () => {
    writeFileSync(temporaryPath(path), "half");
    writeFileSync(path, "whole");
    writeFileSync(`${path}.tmp`, "a stranger's");
    removeLeftoverTemporaries(room);
    expect(readdirSync(room)).toEqual(["file", "file.tmp"]);
  });
});

describe("a storage error", () => {
  it("passes typed errors on and explains any other", () => {
    const typed = new HawserError("OTHER" as never, "as it was", "Do.");
    expect(storageError(typed, "write", path)).toBe(typed);
    expect(storageError("odd", "write", path).message).toBe(`cannot write ${path}: odd`);
  });
});
