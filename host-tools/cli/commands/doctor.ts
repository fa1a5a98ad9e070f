/** `hawser doctor`: of a configuration file, of a live broker, of a fleet; and the page of a finding. */
import { Option } from "commander";
import type { Command } from "commander";
import { CONFIG_BROKERS } from "../../doctor/broker-names.js";
import type { DoctorConfigOptions } from "../actions/doctor-config.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { json, parsePath } from "./shared-options.js";

const REPORT_JSON = [
  '{"kind":"config","target":"mosquitto.conf","broker":"mosquitto","version":"2.0.11","starts":true,"grade":"D",',
  ' "counts":{"critical":0,"high":1,"medium":0,"low":0},',
  ' "findings":[{"id":"HW040","severity":"high","title":"..","what":"..","file":"mosquitto.conf","line":3,"text":"listener 1883",',
  '  "why":"..","fix":["listener 1883 127.0.0.1"],"mendable":true,"live":"..","references":[".."]}],"notes":[..],"checked":[..]}',
];

export function addDoctorCommands(program: Command, run: Run): void {
  const doctor = program.command("doctor").description("Find what is wrong with an MQTT broker, and say how to mend it.");
  doctor.option("--explain <rule>", "print the page of a finding, e.g. HW040, or of all");
  addHelp(doctor, {
    notes: ["docs/doctor.md lists every finding. Grades: A nothing, B low, C medium, D one or two high, F critical or worse."],
    examples: ["hawser doctor config /etc/mosquitto/mosquitto.conf", "hawser doctor --explain HW042"],
    exits: [6, 8],
  });
  const explain = run<{ explain?: string; json?: boolean }>(async () => (await import("../actions/doctor-explain.js")).explainRule);
  doctor.action((options: { explain?: string }) => explain(options));
  addConfig(doctor, run);
}

/** The options every examination has: what to do with its report. */
export function reportOptions(command: Command): Command {
  return json(command)
    .option("--sarif <file>", "also write SARIF 2.1.0, for code hosts and editors", parsePath)
    .option("--html <file>", "also write one HTML page", parsePath)
    .addOption(new Option("--fail-on <severity>", "end with exit code 8 for a finding at least this bad").choices(["critical", "high", "medium", "low", "never"]).default("medium"));
}

function addConfig(doctor: Command, run: Run): void {
  const config = doctor
    .command("config <file>")
    .description("Examine a broker's configuration with the files it includes and names.")
    .addOption(new Option("--broker <broker>", "whose configuration it is (default: told by the file)").choices(CONFIG_BROKERS))
    .option("--broker-version <version>", "judge for this version, e.g. 2.0.11 or 2.1 (default: the mosquitto installed here, else 2.0.11)")
    .option("--fix <dir>", "write a hardened copy into this new directory, and examine the copy", parsePath);
  reportOptions(config);
  addHelp(config, {
    notes: [
      "Relative paths are looked up from the directory of the file. Files that are not on this machine are noted, not counted.",
      "--fix changes no original. What only you can decide (passwords, certificates) remains, and is printed.",
    ],
    json: [...REPORT_JSON, 'with --fix also: "fixed":{"main":"..","written":[".."],"mended":["HW040"],"remaining":{..}}'],
    examples: [
      "hawser doctor config /etc/mosquitto/mosquitto.conf",
      "hawser doctor config mosquitto.conf --broker-version 2.1 --sarif doctor.sarif --fail-on high",
      "hawser doctor config mosquitto.conf --fix hardened --html report.html",
    ],
    exits: [5, 6, 8],
  });
  const examine = run<DoctorConfigOptions>(async () => (await import("../actions/doctor-config.js")).examineConfig);
  config.action((file: string, options: Omit<DoctorConfigOptions, "file">) => examine({ ...options, file }));
}
