/** Plays a scenario file, in real time or in the virtual world. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import type { Context } from "../command-runner.js";
import { caPassphrase, type PassphraseOptions } from "../passphrases.js";
import { showResult, writeResults, type ResultFiles } from "../results/write-results.js";
import { SCENARIO_SCHEMA } from "../scenario/scenario-schema.js";
import { readScenario } from "../scenario/scenario.js";

export interface SimScenarioOptions extends PassphraseOptions, ResultFiles {
  file?: string;
  virtual?: boolean;
  check?: boolean;
  seed?: string;
  schema?: string;
  json?: boolean;
}

export async function runScenario(options: SimScenarioOptions, context: Context): Promise<void> {
  const { terminal, env } = context;
  if (options.schema !== undefined) writeFileSync(options.schema, `${JSON.stringify(SCENARIO_SCHEMA, null, 2)}\n`);
  if (options.file === undefined) {
    if (options.schema !== undefined) return terminal.result({ schema: options.schema }, [`wrote ${options.schema}`]);
    throw new HawserError("USAGE", "there is no scenario file", "Give one: hawser sim scenario outage.yaml");
  }
  const scenario = readScenario(options.file, options.seed ?? "");
  if (options.check === true) return terminal.result({ file: options.file, valid: true }, [`${options.file} is a valid scenario`]);
  const result =
    options.virtual === true
      ? await (await import("../scenario/virtual-scenario.js")).playVirtual(scenario, scenario.seed || randomBytes(6).toString("hex"))
      : await (
          await import("../scenario/real-scenario.js")
        ).playReal(scenario, () => caPassphrase({ ...options, dir: scenario.own?.ca ?? "" }, env), context);
  writeResults(result, options, env, terminal);
  showResult(terminal, result);
  if (result.passed) return;
  const failed = result.checks.filter(({ passed }) => !passed).map(({ name }) => name);
  throw new HawserError("SCENARIO_FAILED", `failed: ${failed.join("; ")}`, `Run it again with --seed ${result.seed}`);
}
