/** `hawser provision`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json, vaultPassphrase } from "./shared-options.js";

export function addProvisionCommand(program: Command, run: Run): void {
  const provision = caDirectory(program.command("provision").description("Give a device its identity: key, certificate, pre-shared key, written into a new vault."))
    .requiredOption("--id <id>", "the device's id, 1..64 letters, digits, '.', '_', '-'")
    .option("--role <role>", "the device's role", "sensor")
    .requiredOption("--vault <path>", "the vault directory to make")
    .option("--replace", "revoke what a device of this id had and replace its vault");
  json(vaultPassphrase(caPassphrase(provision)));
  addHelp(provision, {
    notes: ["A failure at any point leaves the disk and the registry as they were."],
    json: ['{"id":"sensor-1","role":"sensor","serial":"4f..","notAfter":"2027-02-18T12:00:00.000Z","vault":"sensor-1.vault","replaced":[]}'],
    examples: [
      "hawser provision --dir ca --id sensor-1 --vault sensor-1.vault",
      "hawser provision --dir ca --id sensor-1 --vault sensor-1.vault --replace",
    ],
    exits: [3, 5, 6, 130],
  });
  provision.action(run(async () => (await import("../actions/provision.js")).provision));
}
