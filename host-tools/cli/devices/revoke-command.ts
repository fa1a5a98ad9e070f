/** `hawser revoke`. */
import type { Command } from "commander";
import { addHelp, onCa } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";

export function addRevokeCommand(program: Command, run: Run): void {
  const revoke = caDirectory(
    program
      .command("revoke")
      .description("Shut out a device or client: update the CRL, withdraw the pre-shared key, rewrite broker files."),
  )
    .option("--id <id>", "device id or client name")
    .option("--serial <hex>", "instead of --id: the name that has, or had, the certificate with this serial number")
    .option("--certificate <file>", "instead of --id: the name of this certificate (PEM or DER)", parsePath)
    .option(
      "--reason <reason>",
      "CRL reason: unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn",
      "unspecified",
    )
    .option("--rabbitmq <url>", "also end its connections at a RabbitMQ, by its management API: https://HOST:15671, or http to localhost")
    .option("--rabbitmq-login <file>", "JSON file with username and password of a user with the tag `administrator`", parsePath)
    .option("--rabbitmq-ca <file>", "trust only the CA certificates in this file for --rabbitmq", parsePath)
    .option(
      "--emqx <url>",
      "also ban it and end its sessions at an EMQX 5, by its REST API: https://HOST:18083, or http to localhost",
      parsePath,
    )
    .option("--emqx-key <file>", "JSON file with username (the API key) and password (its secret), of the role administrator", parsePath)
    .option("--emqx-ca <file>", "trust only the CA certificates in this file for --emqx", parsePath)
    .option("--certificate-only", "revoke only the certificates: the device may recover with its pre-shared key and enrol again");
  json(caPassphrase(revoke));
  addHelp(revoke, {
    notes: [
      "Checks over the network that every mosquitto set up by `hawser broker config` has loaded its new files and ended all sessions of the",
      "name, under any client id. Reports what could not be verified, and exits with 4. `hawser broker run` updates itself.",
      "With --rabbitmq and --emqx, sessions are ended until the name stays away for a moment; who comes back is reported. EMQX bans the",
      "name's user names for good, but for --certificate-only: `hawser broker unban` lets a name in again with a new identity.",
    ],
    json: [
      '{"id":"sensor-1","state":"revoked","revoked":["4f.."],"reason":"keyCompromise","brokers":[{"broker":"/srv/broker","filesLoaded":true,"sessionsEnded":["sensor-1"],"held":[]}]}',
    ],
    examples: [
      "hawser revoke --dir ca --id sensor-1 --reason keyCompromise",
      "hawser revoke --dir ca --id sensor-1 --certificate-only",
      "hawser revoke --dir ca --serial 4f:0a:31 --reason keyCompromise",
      "hawser revoke --dir ca --id sensor-1 --rabbitmq https://localhost:15671 --rabbitmq-login admin.json",
      "hawser revoke --dir ca --id sensor-1 --emqx https://localhost:18083 --emqx-key emqx-key.json",
    ],
    exits: [3, 4, 5, 6],
  });
  revoke.action(run(onCa(async () => (await import("./revoke.js")).revoke)));
}
