import { describe, expect, it } from "vitest";
import { HawserError } from "../../sdk/errors.js";
import { describeProgramFault, ProgramFaults } from "./program-faults.js";

const isProgram = (file: string): boolean => file.includes("/product/");

/** An error whose stack goes through a library before it reaches the program. */
function thrown(error: Error, ...frames: readonly string[]): Error {
  error.stack = [`${error.name}: ${error.message}`, ...frames.map((frame) => `    at ${frame}`)].join("\n");
  return error;
}

describe("a program's faults", () => {
  it("are one entry however many devices make the same mistake, with the first device and time", () => {
    let nowMs = 100.4;
    const faults = new ProgramFaults(() => nowMs);
    for (const id of ["a", "b", "c"]) {
      faults.threw(id, thrown(new Error(`no room on ${id}`), "run (/product/main.ts:7:3)"), isProgram);
      nowMs += 1_000;
    }
    expect(faults.all).toEqual([
      { kind: "error", what: "no room on {id}", where: "main.ts:7", firstId: "a", atMs: 100, count: 3, longestMs: 0 },
    ]);
    expect(describeProgramFault(faults.all[0]!)).toBe("no room on {id} at main.ts:7, 3 times, first on a");
  });

  it("are apart where they are of another kind, at another place or say something else", () => {
    const faults = new ProgramFaults(() => 0);
    faults.add("error", "a", "x", "main.ts:1");
    faults.add("block", "a", "x", "main.ts:1");
    faults.add("error", "a", "x", "main.ts:2");
    faults.add("error", "a", "y", "main.ts:1");
    expect(faults.all).toHaveLength(4);
  });

  it.each([
    ["a call", "(/product/deep/main.ts:7:3)"],
    ["a call without a name", "/product/main.ts:7:3"],
    ["a file URL", "run (file:///product/main.ts:7:3)"],
  ])("name the program's first line on the stack, behind the library's: %s", (_what, frame) => {
    const faults = new ProgramFaults(() => 0);
    faults.threw("a", thrown(new Error("x"), "parse (/library/parse.js:1:1)", frame, "later (/product/other.ts:9:9)"), isProgram);
    expect(faults.all[0]?.where).toBe("main.ts:7");
  });

  it("name the code of an SDK's error, the name of another, and what was thrown that is no error", () => {
    const faults = new ProgramFaults(() => 0);
    faults.threw("dev-1", new HawserError("UNKNOWN_INPUT", "there is no sensor", "Set one."), () => false);
    faults.threw("dev-1", new RangeError("too far"), () => false);
    faults.threw("dev-1", "a text", () => false);
    expect(faults.all.map(({ what, where }) => [what, where])).toEqual([
      ["UNKNOWN_INPUT: there is no sensor", ""],
      ["RangeError: too far", ""],
      ["a text", ""],
    ]);
  });

  it("keep the longest of a block", () => {
    const faults = new ProgramFaults(() => 0);
    for (const tookMs of [1_200, 3_400, 2_000]) faults.add("block", "a", "the program blocks", "main.ts:3", tookMs);
    expect(describeProgramFault(faults.all[0]!)).toBe("the program blocks at main.ts:3 for up to 3.4 s, 3 times, first on a");
  });

  it("name the function that holds the engine, where it is the program's", () => {
    const faults = new ProgramFaults(() => 0);
    const stack = "Error: held\n at ()\n    at crunch (/product/main.ts:5:1)\n    at run (/product/main.ts:9:1)";
    faults.held("a", stack, 5_000, isProgram);
    faults.held("a", "Error: held\n at handshake ()", 5_000, isProgram);
    expect(faults.all.map(describeProgramFault)).toEqual(["the program blocks in crunch() at main.ts:5 for up to 5.0 s, once, first on a"]);
  });

  it("are bounded, and those already known are still counted", () => {
    const faults = new ProgramFaults(() => 0);
    for (let n = 0; n < 80; n++) faults.add("error", "a", `e${n}`);
    faults.add("error", "a", "e0");
    expect([faults.all.length, faults.all[0]?.count]).toEqual([50, 2]);
  });
});
