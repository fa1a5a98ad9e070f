/** `hawser ca backup` and `ca restore`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";

export function addBackupCommands(ca: Command, run: Run): void {
  addBackup(ca, run);
  addRestore(ca, run);
}

function addBackup(ca: Command, run: Run): void {
  const command = caDirectory(
    ca.command("backup").description("Back the CA up into one encrypted file, while services run."),
  ).requiredOption("--out <file>", "file to create, with mode 0600", parsePath);
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "Holds everything but an offline root that is still there, and keys in tokens. Opens with the passphrase that the CA has now: keep it elsewhere.",
      "Prove it from time to time: hawser ca restore --backup FILE",
    ],
    json: ['{"backup":"ca.backup","revision":4711,"names":120,"sizeBytes":98304}'],
    examples: ['hawser ca backup --dir ca --out "ca-$(date +%F).backup"'],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-backup.js")).backUp));
}

function addRestore(ca: Command, run: Run): void {
  const command = ca
    .command("restore")
    .description("Verify a backup without changing anything; with --dir, make a CA of it again.")
    .requiredOption("--backup <file>", "file of `hawser ca backup`", parsePath)
    .option("--dir <dir>", "directory to create, the CA's new home; must not exist, or must be empty", parsePath)
    .option("--crl <file>", "with --dir: the newest crl.pem that a broker has; repeatable", collect)
    .option("--without-crl", "with --dir: no broker has one; certificates revoked since the backup are valid again");
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "Revocations that --crl tells of are repeated. A name whose certificate was revoked is shut out, unless the certificate was superseded.",
      "Refused while the CA that was backed up is still where this user saw it last.",
      "The restored CA is another instance: it configures no broker until `hawser broker config`, and its numbers continue beyond those in use.",
    ],
    json: [
      '{"backup":"ca.backup","name":"Plant 7","madeAt":"..","revision":4711,"names":120,"certificates":131,"problems":[],"changesSince":3}',
      'with --dir: {"dir":"ca","revision":1000001,"names":120,"repeated":["4f.."],"shutOut":["sensor-1"],"lost":0,"formerBrokers":[]}',
    ],
    examples: ["hawser ca restore --backup ca.backup", "hawser ca restore --backup ca.backup --dir ca --crl /etc/mosquitto/hawser/crl.pem"],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-restore.js")).restore));
}
