import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { AlertHook } from "./alert-hook.js";

test("an operator's command runs at most ten times a minute, and that it does not run is said once", async () => {
  const directory = mkdtempSync(join(tmpdir(), "hawser-hook-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const failures: string[] = [];
  const hook = new AlertHook(`cat >> '${join(directory, "alerts")}'`, { failed: (reason) => failures.push(reason) });
  for (let number = 0; number < 100; number += 1) hook.run({ number });
  await hook.settled();
  const lines = readFileSync(join(directory, "alerts"), "utf8").trimEnd().split("\n");
  expect(lines).toEqual(Array.from({ length: 10 }, (_, number) => JSON.stringify({ number })));
  expect(failures).toEqual([expect.stringMatching(/faster than 10 a minute/) as string]);
});
