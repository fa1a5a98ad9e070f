/** `hawser enrol`. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { json, parsePath, vaultPassphrase, weakPassphrase } from "../shared-options.js";
import { parseDurationMs } from "../flag-values.js";

export function addEnrolCommand(program: Command, run: Run): void {
  const enrol = program
    .command("enrol")
    .description("Give a device its first identity by an EST server (RFC 7030), in a vault.")
    .requiredOption("--est <url>", "the EST server: https://HOST or https://HOST:PORT")
    .requiredOption("--est-ca <file>", "PEM file with the CAs by which the EST server is judged", parsePath)
    .requiredOption("--id <id>", "device id: 1 to 64 letters, digits, '.', '_', '-'")
    .requiredOption("--vault <path>", "vault directory to create, or one that an earlier try has left", parsePath)
    .option("--label <label>", "which of several CAs behind the server")
    .option("--password-file <file>", "file whose first line is the password for the server (default: $HAWSER_EST_PASSWORD)", parsePath)
    .option("--username <name>", "user name for the server (default: the id)")
    .option("--broker-ca <file>", "PEM file with the CAs by which brokers are judged (default: the roots that the server names)", parsePath)
    .addOption(
      new Option("--wait <duration>", "how long to wait where somebody has to approve the request")
        .argParser(parseDurationMs)
        .default(0, "0"),
    )
    .option(
      "--passphrase-file <file>",
      "file whose first line is the passphrase (default: $HAWSER_PASSPHRASE or the file $HAWSER_PASSPHRASE_FILE, else a prompt)",
    );
  json(weakPassphrase(vaultPassphrase(enrol)));
  addHelp(enrol, {
    notes: [
      "The device's key is made in the vault and stays there. After a failure, run the same command again: it uses the same key, so a request",
      "that waits for approval stays the same one.",
      "A program renews the certificate with `estEnrolment` of hawser/node: see docs/any-broker.md.",
    ],
    json: ['{"id":"meter-7","serial":"4f..","notAfter":"2027-02-18T12:00:00.000Z","vault":"meter-7.vault"}'],
    examples: [
      "hawser enrol --est https://est.example.com --est-ca root.crt --id meter-7 --vault meter-7.vault --password-file one-time-password",
    ],
    exits: [3, 4, 5, 6, 130],
  });
  enrol.action(run(async () => (await import("./enrol.js")).enrol));
}
