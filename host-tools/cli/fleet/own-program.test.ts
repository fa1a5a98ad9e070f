import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { ownProgram, type ProgramFlags } from "./own-program.js";

describe("the flags of a program of one's own", () => {
  it.each<[Partial<ProgramFlags>, string]>([
    [{ sensor: ["x=1"] }, "USAGE"],
    [{ program: "absent.ts" }, "NOT_FOUND"],
    [{ program: "broken.ts" }, "BUNDLE_FAILED"],
    [{ program: "x.js", sensor: ["x"] }, "USAGE"],
    [{ program: "x.js", sensor: ["x=2..1"] }, "USAGE"],
    [{ program: "x.js", press: ["report"] }, "USAGE"],
    [{ program: "x.js", command: ["up/x=1"] }, "INVALID_TOPIC"],
  ])("refuses %j with %s", async ({ program, ...flags }, code) => {
    const folder = mkdtempSync(join(tmpdir(), "hawser-own-program-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(join(folder, "x.js"), "export default () => undefined;\n");
    writeFileSync(join(folder, "broken.ts"), "const = ;\n");
    const limits = { publishLimit: 10, growthLimit: 64 };
    const file = program === undefined ? {} : { program: join(folder, program) };
    await expect(ownProgram({ ...limits, ...flags, ...file })).rejects.toMatchObject({ code });
  });
});
