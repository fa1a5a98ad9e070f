import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { SQLITE_PACKAGE, sqliteCode, sqliteDriver } from "./sqlite-driver.js";

const require = createRequire(import.meta.url);
const missing = (name: string): never => {
  throw Object.assign(new Error(`Cannot find ${name}`), { code: "MODULE_NOT_FOUND" });
};

class Own {}
class Package {}

describe("SQLite", () => {
  it("is Node's own where there is one, else the package, and its absence says what to install", () => {
    const both = (name: string): unknown => (name === "node:sqlite" ? { DatabaseSync: Own } : Package);
    const old = (name: string): unknown => (name === "node:sqlite" ? missing(name) : Package);
    expect(sqliteDriver(both)("")).toBeInstanceOf(Own);
    expect(sqliteDriver(old)("")).toBeInstanceOf(Package);
    expect(() => sqliteDriver(missing)).toThrow(
      expect.objectContaining({ code: "SQLITE_MISSING", nextStep: expect.stringContaining(`npm install ${SQLITE_PACKAGE}`) as string }),
    );
  });

  it("says nothing of being experimental, and warns of other things afterwards", () => {
    const { emitWarning } = process;
    const warns = (name: string): unknown => {
      process.emitWarning("SQLite is an experimental feature");
      return name === "node:sqlite" ? { DatabaseSync: Own } : missing(name);
    };
    const warnings: unknown[] = [];
    process.emitWarning = (warning) => void warnings.push(warning);
    try {
      sqliteDriver(warns);
      process.emitWarning("another");
    } finally {
      process.emitWarning = emitWarning;
    }
    expect(warnings).toEqual(["another"]);
  });

  it("is the package that package.json names", () => {
    const { optionalDependencies } = require("../../package.json") as { optionalDependencies: Record<string, string> };
    expect(SQLITE_PACKAGE).toBe(`libsql@${optionalDependencies["libsql"] ?? ""}`);
  });

  it("tells its errors by number, whichever it is", () => {
    const connection = sqliteDriver()(":memory:");
    connection.exec("CREATE TABLE t (a TEXT PRIMARY KEY) STRICT");
    connection.prepare("INSERT INTO t VALUES (?)").run("x");
    let code: number | undefined;
    try {
      connection.prepare("INSERT INTO t VALUES (?)").run("x");
    } catch (error) {
      code = sqliteCode(error);
    }
    connection.close();
    // SQLITE_CONSTRAINT
    expect(code).toBe(19);
    expect(sqliteCode(new Error("of something else"))).toBeUndefined();
  });
});
