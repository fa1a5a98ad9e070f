/** `hawser sim scenario`. */
import type { Command } from "commander";
import type { SimScenarioOptions } from "./sim-scenario.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caPassphrase, json, parsePath } from "../shared-options.js";

export function addSimScenarioCommand(sim: Command, run: Run): void {
  const command = sim
    .command("scenario")
    .description("Play a scenario from a YAML file: a fleet, a broker, what happens when, and what is expected.")
    .argument("[file]", "the scenario", parsePath)
    .option("--virtual", "play it in the virtual world: seeded, a week in seconds")
    .option("--check", "only read the file, and name what is wrong with it")
    .option("--seed <text>", "takes the place of the file's (default: a new one)")
    .option("--schema <file>", "write the JSON Schema for editors to this file", parsePath)
    .option("--result <file>", "write the result as JSON", parsePath)
    .option("--junit <file>", "write it as JUnit XML, a case for each expectation", parsePath)
    .option("--html <file>", "write a report with plots, one file without network", parsePath);
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "In real time the devices run in worker processes against a real broker, and a watcher that shares no code with them counts every message.",
      "With --virtual the same file runs in a simulated world; equal seeds give equal runs, to the last message. Application messages are then the world's own, at the file's interval.",
      "Expectations are sentences: `within 30s: 99% online by mtls`, `within 10s of the end of NAME: ...`, `no message lost`, `no device used psk`.",
      "A wrong sentence is answered with all there are. In a GitHub step ($GITHUB_STEP_SUMMARY) the summary and annotations are written too. See docs/testing.md.",
    ],
    json: [
      '{"time":"...","event":"timeline","atMs":5003,"what":"outage: broker down"}',
      '{"event":"result","passed":true,"checks":[{"name":"no message lost","passed":true,"detail":"..."}],...}',
    ],
    examples: [
      "hawser sim scenario outage.yaml",
      "hawser sim scenario outage.yaml --virtual --seed 7 --html report.html --junit report.xml",
      "hawser sim scenario --schema scenario.schema.json",
    ],
    exits: [3, 4, 5, 6, 130],
  });
  const play = run<SimScenarioOptions>(async () => (await import("./sim-scenario.js")).runScenario);
  command.action((file: string | undefined, options: SimScenarioOptions) => play(file === undefined ? options : { ...options, file }));
}
