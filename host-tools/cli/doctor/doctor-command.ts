/** `hawser doctor`: of a configuration file, of a live broker, of a fleet; and the page of a finding. */
import { Option } from "commander";
import type { Command } from "commander";
import { CONFIG_BROKERS } from "../../doctor/broker-names.js";
import type { DoctorConfigOptions } from "./doctor-config.js";
import type { ExplainOptions } from "./doctor-explain.js";
import type { DoctorFleetOptions } from "./doctor-fleet.js";
import type { DoctorLiveOptions } from "./doctor-live.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parseFixedPort } from "../flag-values.js";
import { caDirectory, json, parsePath } from "../shared-options.js";

const REPORT_JSON = [
  '{"kind":"config","target":"mosquitto.conf","broker":"mosquitto","version":"2.0.11","starts":true,"grade":"D",',
  ' "counts":{"critical":0,"high":1,"medium":0,"low":0},',
  ' "findings":[{"id":"HW040","severity":"high","title":"..","what":"..","file":"mosquitto.conf","line":3,"text":"listener 1883",',
  '  "why":"..","fix":["listener 1883 127.0.0.1"],"mendable":true,"live":"..","references":[".."]}],"notes":[..],"checked":[..]}',
];

export function addDoctorCommands(program: Command, run: Run): void {
  const doctor = program.command("doctor").description("Find what is wrong with an MQTT broker, and how to fix it.");
  doctor.option("--explain <rule>", "explain a finding, e.g. HW040, or all of them");
  addHelp(doctor, {
    notes: [
      "docs/doctor.md lists every finding. Grades: A no findings, B low, C medium, D one or two high, F critical or more.",
      "Examines a running broker only at the host you name. Prints the cost before the first connection.",
      "Examine only your own brokers, or those whose owner asked you to.",
    ],
    json: REPORT_JSON,
    examples: [
      "hawser doctor config /etc/mosquitto/mosquitto.conf",
      "hawser doctor mqtts://localhost:8883 --ca ca/root.crt.pem",
      "hawser doctor mqtts://localhost:8883 --credentials dashboard --active",
      "hawser doctor fleet --dir ca",
      "hawser doctor --explain HW042",
    ],
    exits: [4, 6, 8],
  });
  doctor
    .argument("[url]", "broker to examine: mqtts://HOST:PORT, or mqtt://HOST:PORT without TLS")
    .option("--ca <file>", "trust only the CA certificates in this file (default: those of --credentials, else the system's)", parsePath)
    .option("--credentials <path>", "directory made by `hawser issue`, or a JSON file with username, password, cert, key, ca", parsePath)
    .option("--other-credentials <path>", "credentials of a second client, for --active", parsePath)
    .option("--plain-port <port>", "also try this port without TLS (repeatable; default: 1883)", collectPorts)
    .option("--try-passwords", "try a few well-known passwords")
    .option("--active", "also probe limits and takeover; other clients may notice");
  reportOptions(doctor);
  const explain = run<ExplainOptions>(async () => (await import("./doctor-explain.js")).explainRule);
  const examine = run<DoctorLiveOptions>(async () => (await import("./doctor-live.js")).examineLive);
  doctor.action((url: string | undefined, options: Omit<DoctorLiveOptions, "url"> & ExplainOptions) =>
    url === undefined ? explain(options) : examine({ ...options, url }),
  );
  addConfig(doctor, run);
  addFleet(doctor, run);
}

function addFleet(doctor: Command, run: Run): void {
  const fleet = caDirectory(
    doctor
      .command("fleet")
      .description("Examine the fleet of a CA directory: certificates, revocation, names and broker files. Needs no passphrase."),
  );
  fleet.option(
    "--broker-version <version>",
    "judge the broker files for this version (default: the mosquitto installed here, else 2.0.11)",
  );
  reportOptions(fleet);
  addHelp(fleet, {
    json: REPORT_JSON,
    examples: ["hawser doctor fleet --dir ca", "hawser doctor fleet --dir ca --html fleet.html --fail-on high"],
    exits: [6, 8],
  });
  const examine = run<DoctorFleetOptions>(async () => (await import("./doctor-fleet.js")).examineFleet);
  fleet.action((_: unknown, command: Command) => examine(givenOptions<DoctorFleetOptions>(command)));
}

/** `doctor` has options of the same name: what was given to either counts, and the command's own first. */
function givenOptions<Options extends object>(command: Command): Options {
  const { parent } = command;
  const above = Object.entries(parent?.opts() ?? {}).filter(
    ([name]) => parent?.getOptionValueSource(name) !== "default" && command.getOptionValueSource(name) !== "cli",
  );
  return { ...command.opts<Options>(), ...Object.fromEntries(above) };
}

function collectPorts(text: string, previous: readonly number[] | undefined): number[] {
  return [...(previous ?? []), parseFixedPort(text)];
}

/** The options every examination has: what to do with its report. */
export function reportOptions(command: Command): Command {
  return json(command)
    .option("--sarif <file>", "also write SARIF 2.1.0, for code hosts and editors", parsePath)
    .option("--html <file>", "also write one HTML page", parsePath)
    .addOption(
      new Option("--fail-on <severity>", "exit with code 8 if a finding is at least this severe")
        .choices(["critical", "high", "medium", "low", "never"])
        .default("medium"),
    );
}

function addConfig(doctor: Command, run: Run): void {
  const config = doctor
    .command("config <file>")
    .description("Examine a broker's configuration and the files it includes or refers to.")
    .addOption(new Option("--broker <broker>", "broker the configuration is for (default: detected from the file)").choices(CONFIG_BROKERS))
    .option("--broker-version <version>", "judge for this version, e.g. 2.0.11 or 2.1 (default: the mosquitto installed here, else 2.0.11)")
    .option("--fix <dir>", "write a hardened copy to this new directory, and examine the copy", parsePath);
  reportOptions(config);
  addHelp(config, {
    notes: [
      "Relative paths start at the file's directory. Files missing on this machine are noted, but do not count.",
      "--fix leaves the originals unchanged. It prints what only you can decide (passwords, certificates).",
    ],
    json: [...REPORT_JSON, 'with --fix also: "fixed":{"main":"..","written":[".."],"mended":["HW040"],"remaining":{..}}'],
    examples: [
      "hawser doctor config /etc/mosquitto/mosquitto.conf",
      "hawser doctor config mosquitto.conf --broker-version 2.1 --sarif doctor.sarif --fail-on high",
      "hawser doctor config mosquitto.conf --fix hardened --html report.html",
    ],
    exits: [5, 6, 8],
  });
  const examine = run<DoctorConfigOptions>(async () => (await import("./doctor-config.js")).examineConfig);
  // Options that `doctor` has too are read by it, wherever they stand.
  config.action((file: string, _: unknown, command: Command) =>
    examine({ ...givenOptions<Omit<DoctorConfigOptions, "file">>(command), file }),
  );
}
