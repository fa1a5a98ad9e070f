/** `hawser ca verify` and `ca checkpoint`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";
import { collect } from "../flag-values.js";

export function addVerifyCommands(ca: Command, run: Run): void {
  addVerify(ca, run);
  addCheckpoint(ca, run);
}

function addVerify(ca: Command, run: Run): void {
  const command = caDirectory(
    ca.command("verify").description("Prove that files, registry, certificates, revocation lists and audit trail agree."),
  ).option("--checkpoint <file>", "also prove that nothing was undone since this checkpoint; repeatable", collect);
  json(caPassphrase(command));
  addHelp(command, {
    notes: ["Names what was removed, changed or added. Every change of the CA proves the same of what it touches before it begins."],
    json: ['{"dir":"ca","ok":true,"instance":"..","revision":12,"names":3,"certificates":5,"auditLines":12,"problems":[],"strangers":[]}'],
    examples: ["hawser ca verify --dir ca", "hawser ca verify --dir ca --checkpoint /media/other/ca.checkpoint"],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-verify.js")).verify));
}

function addCheckpoint(ca: Command, run: Run): void {
  const command = caDirectory(
    ca.command("checkpoint").description("Write what the audit trail is now, signed by the issuing CA, to be kept elsewhere."),
  ).requiredOption("--out <file>", "file to write; an earlier checkpoint there is replaced", parsePath);
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "`hawser ca verify --checkpoint FILE` then shows a trail that was shortened or replaced, even by somebody with the passphrase.",
    ],
    json: ['{"checkpoint":"ca.checkpoint","revision":12,"madeAt":"..","sizeBytes":4096,"sha256":".."}'],
    examples: ['hawser ca checkpoint --dir ca --out "/media/other/ca-$(date +%F).checkpoint"'],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-checkpoint.js")).writeCheckpoint));
}
