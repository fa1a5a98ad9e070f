import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "hawser-outcome-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the last lines of .ci/run", () => {
  test("name each test that failed and each that needed a second attempt, then count", () => {
    const report = join(folder, "report.json");
    const tests = [
      { fullName: "a broker refuses it", status: "failed", failureMessages: ["Error: it did not\n    at broker.test.ts:1"] },
      { fullName: "a device waits", status: "passed", failureMessages: ["Error: it timed out"] },
      { fullName: "a key stays secret", status: "passed", failureMessages: [] },
    ];
    const file = { name: join(process.cwd(), "sdk/some.test.ts"), status: "failed", message: "", assertionResults: tests };
    writeFileSync(report, JSON.stringify({ numPassedTests: 2, numFailedTests: 1, testResults: [file] }));

    expect(outcome("1", report)).toEqual([
      "Failed: sdk/some.test.ts: a broker refuses it",
      "  Error: it did not",
      "      at broker.test.ts:1",
      "Passed only at the second attempt: sdk/some.test.ts: a device waits",
      "  Error: it timed out",
      "2 passed, 1 failed",
    ]);
  });

  test("count a failure when no test failed but a command did", () => {
    expect(outcome("1", join(folder, "never-written.json"))).toEqual(["0 passed, 1 failed"]);
  });
});

function outcome(...parameters: string[]): string[] {
  const { stdout } = spawnSync(process.execPath, ["test/ci-outcome.mjs", ...parameters], { encoding: "utf8" });
  return stdout.trimEnd().split("\n");
}
