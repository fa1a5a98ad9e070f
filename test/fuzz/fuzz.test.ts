/** Every fuzzing target on its kept corpus and some thousand descendants, and proof that the fuzzer would find what it looks for. `npm run fuzz` does a million. */
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
const INPUTS: Readonly<Record<string, number>> = { packets: 16_000, session: 800, certificate: 24_000, enrolment: 9_000, frames: 8_000, provisioning: 1_000, records: 600, texts: 6_000 };

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
    expect(report.findings.filter((finding) => !known.has(finding.signature)).map(({ number, what }) => `input ${number}: ${what}`)).toEqual([]);
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
    await build({ entryPoints: ["test/fuzz/main.ts"], outfile: program, bundle: true, platform: "node", format: "esm", target: "node20", packages: "external", logLevel: "warning" });
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
    ["hangs", "hang", "not done after"],
    ["keeps", "memory", "the heap grew"],
    ["explodes", "memory", "of heap"],
  ])("finds a reader that %s, and tells how to see it again", async (defect, kind, message) => {
    const { status, output } = await fuzz("--target", `broken-${defect}`, "--inputs", "6000", ...(defect === "hangs" ? ["--patience", "2"] : []));
    expect(output).toContain(`broken-${defect}: ${kind} at input`);
    expect(output).toContain(message);
    expect(status).toBe(1);
    const file = /--replay (\S+)/.exec(output)?.[1] ?? "";
    // All but the hang and the full heap end a replay, too.
    if (kind === "exception") expect(await fuzz("--target", `broken-${defect}`, "--replay", file)).toMatchObject({ status: 1, output: expect.stringContaining("TypeError") as string });
    else expect(readFileSync(file).length).toBeLessThanOrEqual(2_048);
    rmSync(file);
  });

  it("makes the same inputs of the same seed, others of another, and ends with 0 where nothing is found", async () => {
    const rows = await Promise.all(["7", "7", "8"].map(async (seed) => fuzz("--target", "certificate", "--inputs", "2000", "--seed", seed)));
    const outcomes = rows.map(({ output }) => /BAD_CERTIFICATE.*/.exec(output)?.[0]);
    expect(outcomes[0]).toBeDefined();
    expect(outcomes[1]).toBe(outcomes[0]);
    expect(outcomes[2]).not.toBe(outcomes[0]);
    expect(rows.map(({ status }) => status)).toEqual([0, 0, 0]);
  });

  it("says what is wrong with its command line", async () => {
    for (const args of [["--target", "nothing"], ["--replay", "x"], ["--inputs", "many"], ["--what"]]) expect(await fuzz(...args)).toMatchObject({ status: 2 });
  });
});
