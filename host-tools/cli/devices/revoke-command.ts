/** `hawser revoke`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json } from "../shared-options.js";

export function addRevokeCommand(program: Command, run: Run): void {
  const revoke = caDirectory(
    program
      .command("revoke")
      .description("Shut out a device or client: update the CRL, withdraw the pre-shared key, rewrite broker files."),
  )
    .requiredOption("--id <id>", "device id or client name")
    .option(
      "--reason <reason>",
      "CRL reason: unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn",
      "unspecified",
    )
    .option("--certificate-only", "revoke only the certificates: the device may recover with its pre-shared key and enrol again");
  json(caPassphrase(revoke));
  addHelp(revoke, {
    notes: [
      "Checks over the network that every mosquitto set up by `hawser broker config` has loaded its new files and ended all sessions of the",
      "name, under any client id. Reports what could not be verified, and exits with 4. `hawser broker run` updates itself.",
    ],
    json: [
      '{"id":"sensor-1","state":"revoked","revoked":["4f.."],"reason":"keyCompromise","brokers":[{"broker":"/srv/broker","filesLoaded":true,"sessionsEnded":["sensor-1"],"held":[]}]}',
    ],
    examples: ["hawser revoke --dir ca --id sensor-1 --reason keyCompromise", "hawser revoke --dir ca --id sensor-1 --certificate-only"],
    exits: [3, 4, 5, 6],
  });
  revoke.action(run(async () => (await import("./revoke.js")).revoke));
}
