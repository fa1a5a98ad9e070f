/** `hawser export`. */
import { Option } from "commander";
import type { Command } from "commander";
import { EXPORT_FORMS } from "./export-forms.js";
import type { ExportOptions } from "./export.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath, vaultPassphrase } from "../shared-options.js";

export function addExportCommand(program: Command, run: Run): void {
  const command = caDirectory(program.command("export").description("Write files for other systems: ERP, cloud services, EMQX, gateways."))
    .argument("<form>", `one of: ${EXPORT_FORMS.join(", ")}`)
    .requiredOption("--out <file>", "file to create; must not exist", parsePath)
    .option("--device <id>", "only this device; repeatable", collect)
    .option("--role <role>", "only devices with this role")
    .option("--secrets", "let secrets out: json: pre-shared keys; emqx-users: new passwords; pem, pkcs12: the private key")
    .option("--station <dir>", "erp: directory of a station, whose ledger knows MAC, order, operator and result", parsePath)
    .addOption(new Option("--separator <separator>", "erp: between cells").choices([",", ";"]).default(","))
    .option("--no-bom", "erp: leave out the byte order mark that spreadsheets look for")
    .option("--aws-policy <name>", "aws-template, aws-jitp: AWS IoT policy of the devices")
    .option("--role-arn <arn>", "aws-jitp: role that may register things")
    .option("--group <id>", "azure-group: id of the enrollment group", "hawser")
    .option("--passwords <file>", "emqx-users: file to create with the new passwords", parsePath)
    .option("--vault <path>", "pem, pkcs12: vault of the gateway's identity", parsePath)
    .option("--credentials <dir>", "pem, pkcs12: directory of hawser issue", parsePath)
    .option("--out-passphrase-file <file>", "pkcs12: file whose first line protects the new file", parsePath);
  json(vaultPassphrase(caPassphrase(command)));
  addHelp(command, {
    notes: [
      "Each export is on the CA's audit trail before its file is written. Files have mode 0600. Without --secrets none holds a secret.",
      "erp: CSV with a fixed header; cells that a spreadsheet could take for formulas begin with an apostrophe.",
      "aws-bulk: lines for start-thing-registration-task; aws-template: its template; aws-jitp: registration configuration of the CA.",
      "azure-group: enrollment group; azure-individual: a line for each call of ten. emqx-users: CSV for import_users (sha256, salt as suffix).",
    ],
    json: ['{"form":"erp","out":"fleet.csv","devices":120,"secrets":false}'],
    examples: [
      "hawser export erp --dir ca --station station --out fleet.csv --separator ';'",
      "hawser export aws-bulk --dir ca --role sensor --out things.json",
      "hawser export azure-group --dir ca --group plant-7 --out group.json",
      "hawser export emqx-users --dir ca --secrets --passwords passwords.csv --out users.csv",
      "hawser export pkcs12 --dir ca --vault gw.vault --secrets --out-passphrase-file p12.pass --out gw.p12",
    ],
    exits: [3, 5, 6],
  });
  command.action((form: string, options: Omit<ExportOptions, "form">) =>
    run<ExportOptions>(async () => (await import("./export.js")).exportFor)({ ...options, form }),
  );
}
