/** `hawser provision`. */
import { Option } from "commander";
import type { Command } from "commander";
import { HawserError } from "../../../sdk/errors.js";
import type { ProvisionOptions } from "../actions/provision.js";
import type { ProvisionSerialOptions } from "../actions/provision-serial.js";
import { addHelp } from "../command-runner.js";
import type { Context, Run } from "../command-runner.js";
import { parseBaud, parsePositiveDurationMs } from "../values.js";
import { caDirectory, caPassphrase, json, parsePath, vaultPassphrase, weakPassphrase } from "./shared-options.js";

/** One of the two places. */
type Flags = Omit<ProvisionOptions, "vault"> & Omit<ProvisionSerialOptions, "serial"> & { vault?: string; serial?: string };

export function addProvisionCommand(program: Command, run: Run): void {
  const provision = caDirectory(program.command("provision").description("Give a device its identity: key, certificate, pre-shared key; into a new vault, or into the device on a serial port."))
    .requiredOption("--id <id>", "the device's id, 1..64 letters, digits, '.', '_', '-'")
    .option("--role <role>", "the device's role", "sensor")
    .option("--vault <path>", "the vault directory to make, for a simulated device", parsePath)
    .option("--serial <port>", "the serial port of a real one, which makes its key itself: /dev/ttyUSB0, /dev/cu.usbserial-110", parsePath)
    .addOption(new Option("--baud <rate>", "with --serial: bits a second").argParser(parseBaud).default(115_200))
    .addOption(new Option("--wait <duration>", "with --serial: how long to wait for a device").argParser(parsePositiveDurationMs).default(30_000, "30s"))
    .option("--replace", "revoke what a device of this id had and replace its vault");
  json(weakPassphrase(vaultPassphrase(caPassphrase(provision))));
  addHelp(provision, {
    notes: [
      "Into a vault: a failure at any point leaves the disk and the registry as they were. After a kill the name may stay reserved: run the command again,",
      "with --replace if the vault is there.",
      "Over a serial port: the key is made in the device. After any failure run the same command again; it goes on where it was.",
      "A device that has an identity takes no other over its serial port.",
    ],
    json: ['{"id":"sensor-1","role":"sensor","serial":"4f..","notAfter":"2027-02-18T12:00:00.000Z","vault":"sensor-1.vault","replaced":[]}', 'with --serial: "port":"/dev/ttyUSB0" instead of "vault"'],
    examples: [
      "hawser provision --dir ca --id sensor-1 --vault sensor-1.vault",
      "hawser provision --dir ca --id sensor-1 --vault sensor-1.vault --replace",
      "hawser provision --dir ca --id sensor-1 --serial /dev/ttyUSB0",
    ],
    exits: [3, 4, 5, 6, 130],
  });
  provision.action(run(() => Promise.resolve(provisionSomewhere)));
}

async function provisionSomewhere({ vault, serial, ...options }: Flags, context: Context): Promise<void> {
  if (vault !== undefined && serial === undefined) return (await import("../actions/provision.js")).provision({ ...options, vault }, context);
  if (serial !== undefined && vault === undefined) return (await import("../actions/provision-serial.js")).provisionSerial({ ...options, serial }, context);
  throw new HawserError("USAGE", "the identity goes to one place: --vault PATH or --serial PORT", "Run: hawser provision --help.");
}
