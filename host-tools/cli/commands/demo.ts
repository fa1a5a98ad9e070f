/** `hawser demo`. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { json } from "./shared-options.js";

export function addDemoCommand(program: Command, run: Run): void {
  const demo = program
    .command("demo")
    .description("Play the whole story in under a minute: provision, connect, refuse strangers, survive, rotate, recover, shut out.")
    .addOption(new Option("--engine <engine>", "which broker").choices(["embedded", "mosquitto"]).default("embedded"));
  json(demo);
  addHelp(demo, {
    notes: ["Everything happens in a temporary directory and on loopback. It ends non-zero if any step did not happen."],
    json: ["one object a line for every step"],
    examples: ["hawser demo", "hawser demo --engine mosquitto --json"],
    exits: [4],
  });
  demo.action(run(async () => (await import("../demo/demo.js")).runDemo));
}
