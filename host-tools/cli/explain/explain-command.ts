/** `hawser explain`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { json, parsePath } from "../shared-options.js";
import type { ExplainOptions } from "./explain.js";

export function addExplainCommand(program: Command, run: Run): void {
  const explain = program
    .command("explain")
    .argument("[text...]", "error codes, or messages of a lean device (default: lines of standard input)")
    .description("Explain error codes, and put the texts back into the log of a lean device.")
    .option("--texts <file>", "texts that the firmware's build left out (default: those of this version)", parsePath);
  json(explain);
  addHelp(explain, {
    notes: [
      "A lean build of the firmware leaves texts out: {Ab3x|42} stands for one with a value. docs/firmware.md tells how to make one.",
      "Without arguments, reads lines and prints them with their texts; other lines stay as they are.",
    ],
    json: ['{"code":"OUTBOX_FULL","meaning":"..","nextStep":".."} for a code; {"text":".."} for a message'],
    examples: ["hawser explain OUTBOX_FULL", "hawser explain --texts lean-texts.json < device.log"],
    exits: [6],
  });
  const work = run<ExplainOptions>(async () => (await import("./explain.js")).explain);
  explain.action((words: string[], options: Omit<ExplainOptions, "words">) => work({ ...options, words }));
}
