/** `policy test`: runs assertion files. */
import { readFileSync, writeFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { PolicyEngine } from "../../policy/policy-engine.js";
import { principalsOf } from "../../policy/inventory.js";
import { assertionText, junitReport, readAssertions, runAssertions } from "../../policy/policy-assertions.js";
import type { AssertionResult } from "../../policy/policy-assertions.js";
import { directoryOf } from "../../policy/policy-model.js";
import type { NameDirectory } from "../../policy/policy-model.js";
import type { Context } from "../command-runner.js";
import { loadNames, loadPolicy } from "./policy-place.js";
import type { PolicySources } from "./policy-place.js";
import { printable } from "../terminal.js";

export interface TestOptions extends PolicySources {
  files: string[];
  junit?: string;
}

export async function test(options: TestOptions, { terminal }: Context): Promise<void> {
  const policy = loadPolicy(options);
  const known = loadNames(options);
  const results: (AssertionResult & { file: string })[] = [];
  for (const file of options.files) {
    const { names, assertions } = readAssertions(readFileSync(file, "utf8"), file, [...policy.listeners.keys()], Date.now());
    const directory = namesFor(file, names, known);
    results.push(...runAssertions(new PolicyEngine(policy, directory), assertions).map((result) => ({ ...result, file })));
  }
  if (options.junit !== undefined) writeFileSync(options.junit, junitReport(`policy ${policy.name}`, results));
  const failed = results.filter(({ passed }) => !passed);
  const json = results.map((result) => ({
    file: result.file,
    group: result.group,
    name: assertionText(result),
    passed: result.passed,
    because: result.because,
    line: result.line,
  }));
  const lines = failed.map((result) =>
    printable(
      `FAILED ${result.file}: ${result.group}: ${assertionText(result)}: ${result.because}${result.line === undefined ? "" : ` (line ${result.line})`}`,
    ),
  );
  terminal.result({ passed: results.length - failed.length, failed: failed.length, results: json }, [
    ...lines,
    `${results.length - failed.length} of ${results.length} assertions hold`,
  ]);
  if (failed.length > 0)
    throw new HawserError(
      "POLICY_TEST_FAILED",
      `${failed.length} of ${results.length} assertions failed`,
      "Fix the policy or the assertions above.",
    );
}

function namesFor(file: string, own: unknown, known: NameDirectory | undefined): NameDirectory {
  if (own !== undefined) return directoryOf([...(known?.all() ?? []), ...principalsOf(own, file)]);
  if (known === undefined)
    throw new HawserError("BAD_POLICY_TEST", `${file} has no names`, "Add names to it, or give --dir CA or --inventory FILE.");
  return known;
}
