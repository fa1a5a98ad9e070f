/**
 * Every fuzzing target on its kept corpus and some thousand descendants, and proof that the fuzzer would find what it looks for. `npm run
 * fuzz` does a million.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCorpus } from "./inputs.js";
import { runTarget, signature, tryInput } from "./run.js";
import { TARGETS } from "./targets/targets.js";

const run = promisify(execFile);

/** One second each on an idle core. */
const INPUTS: Readonly<Record<string, number>> = {
  packets: 16_000,
  "codec-oracle": 6_000,
  session: 800,
  certificate: 24_000,
  enrolment: 9_000,
  frames: 8_000,
  provisioning: 1_000,
  records: 600,
  texts: 6_000,
};

describe.each(TARGETS)("$name", (target) => {
  const corpus = readCorpus(target.name);
  const open = corpus.filter(({ isOpen }) => isOpen);

  it("keeps its promises for the kept inputs and what is bent from them", async () => {
    const subject = await target.open();
    const known = new Set<string>();
    for (const { bytes } of open) {
      const result = await tryInput(subject, bytes.slice());
      if ("error" in result) known.add(signature(result.error));
    }
    const inputs = INPUTS[target.name]!;
    const report = await runTarget(target, corpus, { seed: "test", first: 0, inputs });
    expect(
      report.findings.filter((finding) => !known.has(finding.signature)).map(({ number, what }) => `input ${number}: ${what}`),
    ).toEqual([]);
    expect(report.inputs).toBe(inputs);
    // Inputs reach more than the first check.
    expect(report.outcomes.size).toBeGreaterThan(2);
  });

  it.runIf(open.length > 0).each(open)("has an open defect: $name (mended? take `open-` from the file's name)", async ({ bytes }) => {
    expect(await tryInput(await target.open(), bytes.slice())).toHaveProperty("error");
  });
});

describe("the fuzzer", () => {
  let folder: string;
  let program: string;

  beforeAll(async () => {
    mkdirSync(".cache", { recursive: true });
    folder = mkdtempSync(join(".cache", "fuzz-"));
    program = join(folder, "main.js");
    await build({
      entryPoints: ["test/fuzz/main.ts"],
      outfile: program,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20",
      packages: "external",
      logLevel: "warning",
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const fuzz = async (...args: string[]): Promise<{ status: number; output: string }> => {
    try {
      const { stdout } = await run(process.execPath, [program, ...args], { timeout: 100_000 });
      return { status: 0, output: stdout };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { status: code, output: stdout + stderr };
    }
  };

  it.concurrent.each([
    ["throws", "exception", "TypeError"],
    ["rejects", "exception", "nobody handled it: TypeError"],
    ["throws-later", "exception", "by a callback of this input or of one of the 64 before: TypeError"],
    ["hangs", "hang", "not done after"],
    ["keeps", "memory", "the heap grew"],
    ["explodes", "memory", "of heap"],
  ])("finds a reader that %s, and tells how to see it again", async (defect, kind, message) => {
    const { status, output } = await fuzz(
      "--target",
      `broken-${defect}`,
      "--inputs",
      "6000",
      ...(defect === "hangs" ? ["--patience", "2"] : []),
    );
    expect(output).toContain(`broken-${defect}: ${kind} at input`);
    expect(output).toContain(message);
    expect(status).toBe(1);
    const file = /--replay (\S+)/.exec(output)?.[1] ?? "";
    // All but the hang and the full heap end a replay, too; of a callback the input is known but roughly.
    if (kind === "exception" && defect !== "throws-later")
      expect(await fuzz("--target", `broken-${defect}`, "--replay", file)).toMatchObject({
        status: 1,
        output: expect.stringContaining("TypeError") as string,
      });
    else expect(readFileSync(file).length).toBeLessThanOrEqual(2_048);
    rmSync(file);
  });

  it("makes the same inputs of the same seed, others of another, and ends with 0 where nothing is found", async () => {
    const rows = await Promise.all(
      ["7", "7", "8"].map(async (seed) => fuzz("--target", "certificate", "--inputs", "2000", "--seed", seed)),
    );
    const outcomes = rows.map(({ output }) => /BAD_CERTIFICATE.*/.exec(output)?.[0]);
    expect(outcomes[0]).toBeDefined();
    expect(outcomes[1]).toBe(outcomes[0]);
    expect(outcomes[2]).not.toBe(outcomes[0]);
    expect(rows.map(({ status }) => status)).toEqual([0, 0, 0]);
  });

  it.concurrent.each([
    [["--target", "nothing"], 'there is no target "nothing". Next: Give one of these: packets, '],
    [["--replay", "x"], "--replay needs the --target that the input is for. Next: Run: npm run fuzz -- --help."],
    [["--target", "packets", "--replay", "no-file"], '--replay "no-file": this file is not there. Next: Give a file of '],
    [["--target", "packets", "--replay", "test"], '--replay "test": this file is a folder. Next: '],
    [["--target", "tls", "--minutes", "1"], "--minutes does not go with --target tls. Next: "],
    [["--inputs", "many"], '--inputs wants a whole number from 1 to 1,000,000,000,000, not "many". Next: '],
    [["--inputs", "0"], '--inputs wants a whole number from 1 to 1,000,000,000,000, not "0". Next: '],
    [["--seed", "x"], '--seed wants a whole number from 0 to 1,000,000,000,000,000, not "x". Next: '],
    [["--what"], "Unknown option '--what'. Next: "],
  ])("refuses %j in one line and ends with 2, which is no finding", async (args, line) => {
    const { status, output } = await fuzz(...args);
    expect(output).toContain(`error BAD_ARGUMENT: ${line}`);
    expect([status, output.trimEnd().split("\n")]).toEqual([2, [expect.any(String)]]);
  });

  it("explains its options and exit codes when asked", async () => {
    const { status, output } = await fuzz("--help");
    expect(status).toBe(0);
    for (const { name } of TARGETS) expect(output).toContain(name);
    expect(output).toMatch(/\nExit codes: 0 .*; 1 a finding; 2 .*\n$/);
  });
});
