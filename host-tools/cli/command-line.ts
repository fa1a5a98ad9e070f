/** The `hawser` command line as a whole: its commands, its help, and usage errors in the same form as all others. */
import { Command, CommanderError } from "commander";
import { HawserError } from "../../sdk/errors.js";
import { finishOutput, runAction, reportError } from "./command-runner.js";
import { addAuthorityCommand } from "./authority/authority-command.js";
import { addBrokerCommands } from "./broker/broker-command.js";
import { addCaCommands } from "./ca/ca-command.js";
import { addDemoCommand } from "./demo/demo-command.js";
import { addDoctorCommands } from "./doctor/doctor-command.js";
import { addEnrolCommand } from "./devices/enrol-command.js";
import { addExplainCommand } from "./explain/explain-command.js";
import { addExportCommand } from "./devices/export-command.js";
import { addImageCommands } from "./image/image-command.js";
import { addInitCommand } from "./first-setup/init-command.js";
import { addIssueCommand } from "./devices/issue-command.js";
import { addLabelCommands } from "./label/label-command.js";
import { addListCommand } from "./devices/list-command.js";
import { addMonitorCommand } from "./monitor/monitor-command.js";
import { addPolicyCommands } from "./policy/policy-command.js";
import { addProvisionCommand } from "./devices/provision-command.js";
import { addRegistryCommands } from "./registry/registry-command.js";
import { addRevokeCommand } from "./devices/revoke-command.js";
import { addSimCommands } from "./sim/sim-command.js";
import { addStationCommands } from "./station/station-command.js";
import { Terminal } from "./terminal.js";

const OVERVIEW = `
A first device, start to end:
  (umask 077; echo 'a long passphrase' > passphrase); export HAWSER_PASSPHRASE_FILE=passphrase
  hawser ca init --dir ca
  hawser provision --dir ca --id sensor-1 --vault sensor-1.vault
  hawser broker run --dir ca --mtls-port 8883 --psk-port 8884 &
  hawser sim run --vault sensor-1.vault --url mqtts://localhost:8883 --count 3

Passphrases come from --passphrase-file, else HAWSER_PASSPHRASE or the file that
HAWSER_PASSPHRASE_FILE names (brokers you start may inherit it), else a prompt.
If CA and vault differ: HAWSER_CA_PASSPHRASE[_FILE], HAWSER_VAULT_PASSPHRASE[_FILE],
or their --...-file options. HAWSER_DEBUG=1 shows a stack trace.
`;

/** Runs one command line (without node and script); sets `process.exitCode`. */
export async function runCommandLine(args: readonly string[]): Promise<void> {
  const terminal = new Terminal(args.includes("--json"), process.stdout, process.stderr, process.env);
  const program = buildProgram(terminal);
  try {
    const asked = args.length === 0 ? [] : helpAsked(program, args);
    if (asked === undefined) await program.parseAsync([...args], { from: "user" });
    else commandNamed(program, asked).outputHelp();
  } catch (error) {
    process.exitCode = finishParsing(misspelled(program, args, error) ?? error, commandPath(program, args), terminal);
  }
  await finishOutput(terminal);
}

export function buildProgram(terminal: Terminal): Command {
  const program = new Command("hawser")
    .description("Moor devices to their MQTT broker: identities, brokers, enrolment, and\nsimulated devices.")
    .version(HAWSER_VERSION, "--version", "print the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand("help [command...]", "show the help of a command")
    // A command below another (`monitor top`) may have options of the same name.
    .enablePositionalOptions()
    .configureOutput({ writeOut: (text) => terminal.text(text), writeErr: () => undefined, outputError: () => undefined })
    .configureHelp({ helpWidth: 80, styleTitle: (title) => terminal.paint("bold", title) })
    .addHelpText("after", OVERVIEW)
    .exitOverride();
  const adders = [
    addInitCommand,
    addCaCommands,
    addProvisionCommand,
    addEnrolCommand,
    addStationCommands,
    addIssueCommand,
    addRevokeCommand,
    addListCommand,
    addRegistryCommands,
    addBrokerCommands,
    addAuthorityCommand,
    addPolicyCommands,
    addDoctorCommands,
    addMonitorCommand,
    addImageCommands,
    addLabelCommands,
    addExplainCommand,
    addExportCommand,
    addSimCommands,
    addDemoCommand,
  ];
  for (const add of adders) add(program, runAction);
  return program;
}

/** Commander throws to end parsing, for help and version too. */
function finishParsing(error: unknown, command: readonly string[], terminal: Terminal): number {
  if (!(error instanceof CommanderError)) return reportError(error, terminal);
  if (error.exitCode === 0) return 0;
  const what = error.code === "commander.help" ? "missing command" : error.message.replace(/^error: /, "");
  return reportError(new HawserError("USAGE", what, `Run: ${["hawser", ...command, "--help"].join(" ")}`), terminal);
}

/**
 * Commander complains of a missing option before an unknown one, so `--dirr ca` would be told that `--dir` is missing.
 * @returns the error that names the unknown option and what it may have been meant to be; undefined where none is unknown
 */
function misspelled(program: Command, args: readonly string[], error: unknown): unknown {
  if (!(error instanceof CommanderError) || error.code !== "commander.missingMandatoryOptionValue") return undefined;
  const command = commandNamed(program, commandPath(program, args));
  const flags = args.filter((arg) => arg.startsWith("--") && arg !== "--").map((arg) => arg.split("=")[0] ?? arg);
  const unknown = flags.find((flag) => !command.options.some(({ long }) => long === flag));
  if (unknown === undefined) return undefined;
  try {
    // Not in commander's declarations, but what its parser calls: it finds the similar option.
    (command as unknown as { unknownOption(flag: string): never }).unknownOption(unknown);
  } catch (better) {
    return better;
  }
}

/** The command that `help sim run` or `sim help run` asks about: commander itself looks at one name only. */
function helpAsked(program: Command, args: readonly string[]): string[] | undefined {
  const path = commandPath(program, args);
  if (args[path.length] !== "help") return undefined;
  return [...path, ...args.slice(path.length + 1).filter((arg) => !arg.startsWith("-"))];
}

/** @throws HawserError `USAGE` for a command that there is not */
function commandNamed(program: Command, names: readonly string[]): Command {
  let at = program;
  names.forEach((name, depth) => {
    const next = at.commands.find((command) => command.name() === name);
    if (next === undefined)
      throw new HawserError("USAGE", `unknown command '${name}'`, `Run: ${["hawser", ...names.slice(0, depth), "--help"].join(" ")}`);
    at = next;
  });
  return at;
}

/** The names of the command that `args` lead to, as far as they are known. */
function commandPath(program: Command, args: readonly string[]): string[] {
  const path: string[] = [];
  let at = program;
  for (const arg of args) {
    const next = at.commands.find((command) => command.name() === arg);
    if (next === undefined) break;
    path.push(arg);
    at = next;
  }
  return path;
}
