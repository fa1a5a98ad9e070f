/** `hawser provision`. */
import { Option } from "commander";
import type { Command } from "commander";
import { HawserError } from "../../../sdk/errors.js";
import type { ProvisionOptions } from "./provision.js";
import type { ProvisionSerialOptions } from "./provision-serial.js";
import { addHelp, onCa } from "../command-runner.js";
import type { Context, Run } from "../command-runner.js";
import { collect, parseBaud, parsePositiveDurationMs } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath, vaultPassphrase, weakPassphrase } from "../shared-options.js";

/** One of the two places. */
type Flags = Omit<ProvisionOptions, "vault"> & Omit<ProvisionSerialOptions, "serial"> & { vault?: string; serial?: string };

export function addProvisionCommand(program: Command, run: Run): void {
  const provision = caDirectory(
    program
      .command("provision")
      .description("Give a device its identity (key, certificate, pre-shared key), in a new vault or over a serial port."),
  )
    .requiredOption("--id <id>", "device id: 1 to 64 letters, digits, '.', '_', '-'")
    .option("--role <role>", "device role; left out: sensor, or with --replace the role that the device has")
    .option("--attribute <name=value>", "an attribute that the policy declares, such as site=b1; repeatable", collect)
    .option("--vault <path>", "vault directory to create, for a simulated device", parsePath)
    .option("--serial <port>", "serial port of a real device, which makes its own key: /dev/ttyUSB0, /dev/cu.usbserial-110", parsePath)
    .addOption(new Option("--baud <rate>", "with --serial: bits per second").argParser(parseBaud).default(115_200))
    .addOption(
      new Option("--wait <duration>", "with --serial: how long to wait for a device")
        .argParser(parsePositiveDurationMs)
        .default(30_000, "30s"),
    )
    .option("--replace", "revoke the device's old certificates and replace its vault");
  json(weakPassphrase(vaultPassphrase(caPassphrase(provision))));
  addHelp(provision, {
    notes: [
      "With --vault: a failure changes neither the disk nor the registry. If the command is killed, the name may stay reserved: run it again,",
      "with --replace if the vault exists.",
      "With --serial: the device makes its key. After a failure, run the same command again: it resumes where it stopped.",
      "A device that already has an identity accepts no other over its serial port.",
    ],
    json: [
      '{"id":"sensor-1","role":"sensor","serial":"4f..","notAfter":"2027-02-18T12:00:00.000Z","vault":"sensor-1.vault","replaced":[]}',
      'with --serial: "port":"/dev/ttyUSB0" instead of "vault"',
    ],
    examples: [
      "hawser provision --dir ca --id sensor-1 --vault sensor-1.vault",
      "hawser provision --dir ca --id sensor-1 --vault sensor-1.vault --replace",
      "hawser provision --dir ca --id sensor-1 --attribute site=b1 --serial /dev/ttyUSB0",
    ],
    exits: [3, 4, 5, 6, 130],
  });
  provision.action(run(onCa(() => Promise.resolve(provisionSomewhere))));
}

async function provisionSomewhere({ vault, serial, ...options }: Flags, context: Context): Promise<void> {
  if (vault !== undefined && serial === undefined) return (await import("./provision.js")).provision({ ...options, vault }, context);
  if (serial !== undefined && vault === undefined)
    return (await import("./provision-serial.js")).provisionSerial({ ...options, serial }, context);
  throw new HawserError("USAGE", "--vault PATH or --serial PORT is required, not both", "Run: hawser provision --help.");
}
