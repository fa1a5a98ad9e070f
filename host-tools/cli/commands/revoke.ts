/** `hawser revoke`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json } from "./shared-options.js";

export function addRevokeCommand(program: Command, run: Run): void {
  const revoke = caDirectory(program.command("revoke").description("Shut a device or client out: CRL updated, pre-shared key withdrawn, broker files rewritten."))
    .requiredOption("--id <id>", "the device's id or the client's name")
    .option("--reason <reason>", "why, as a CRL says it: unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn", "unspecified")
    .option("--certificate-only", "revoke the certificates alone: the device may recover with its pre-shared key and enrol again");
  json(caPassphrase(revoke));
  addHelp(revoke, {
    notes: [
      "Every mosquitto with a configuration of `hawser broker config` is asked over the network: it has to show that it loaded its new files, and it ends all sessions of the",
      "name, whatever their client ids. What could not be proved at one of them is told, and the exit code is 4. `hawser broker run` follows by itself.",
    ],
    json: ['{"id":"sensor-1","state":"revoked","revoked":["4f.."],"reason":"keyCompromise","brokers":[{"broker":"/srv/broker","filesLoaded":true,"sessionsEnded":["sensor-1"],"held":[]}]}'],
    examples: ["hawser revoke --dir ca --id sensor-1 --reason keyCompromise", "hawser revoke --dir ca --id sensor-1 --certificate-only"],
    exits: [3, 4, 5, 6],
  });
  revoke.action(run(async () => (await import("../actions/revoke.js")).revoke));
}
