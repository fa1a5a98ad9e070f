/** `hawser registry`: where a CA keeps its names. */
import { Option } from "commander";
import type { Command } from "commander";
import { REGISTRY_KINDS } from "../../ca-directory/registry-kinds.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json } from "../shared-options.js";

export function addRegistryCommands(program: Command, run: Run): void {
  const registry = program.command("registry").description("Choose where a CA keeps its registry.");
  addMove(registry, run);
}

function addMove(registry: Command, run: Run): void {
  const move = caDirectory(registry.command("move").description("Move the registry: verified before, compared before it counts."));
  move.addOption(
    new Option("--to <kind>", "files: one for each name; sqlite: one database in the CA directory")
      .choices(REGISTRY_KINDS)
      .makeOptionMandatory(),
  );
  json(caPassphrase(move));
  addHelp(move, {
    notes: [
      "Services may keep running on the CA. If the command is killed, run it again to finish.",
      "sqlite needs Node 22.13 or later, or the optional package libsql, which npm installs with hawser.",
    ],
    json: ['{"dir":"ca","from":"files","to":"sqlite","names":120}'],
    examples: ["hawser registry move --dir ca --to sqlite", "hawser registry move --dir ca --to files"],
    exits: [3, 5, 6],
  });
  move.action(run(async () => (await import("./move-registry.js")).moveRegistry));
}
