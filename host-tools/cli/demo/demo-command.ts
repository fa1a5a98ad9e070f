/** `hawser demo`. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { json } from "../shared-options.js";

export function addDemoCommand(program: Command, run: Run): void {
  const demo = program
    .command("demo")
    .description(
      "Show an identity's complete life in under a minute: provision, connect, refuse strangers, survive, rotate, recover, shut out.",
    )
    .addOption(new Option("--engine <engine>", "broker to run").choices(["embedded", "mosquitto"]).default("embedded"));
  json(demo);
  addHelp(demo, {
    notes: ["Uses only a temporary directory and loopback. Exits non-zero if any step fails."],
    json: ["one object per line for each step"],
    examples: ["hawser demo", "hawser demo --engine mosquitto --json"],
    exits: [4],
  });
  demo.action(run(async () => (await import("./demo.js")).runDemo));
}
