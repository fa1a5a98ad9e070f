/** `hawser init`. */
import type { Command } from "commander";
import type { InitOptions } from "./first-setup.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect, parseFixedPort } from "../flag-values.js";
import { caPassphrase, json, parsePath, vaultPassphrase, weakPassphrase } from "../shared-options.js";

const DEFAULT_MTLS_PORT = 8883;
const DEFAULT_PSK_PORT = 8884;

export function addInitCommand(program: Command, run: Run): void {
  const init = program
    .command("init")
    .description("Create a CA, a broker configuration and a first device in one folder, ready to run.")
    .argument("[dir]", "directory to create; must not exist, or must be empty", parsePath, "fleet")
    .option("--id <id>", "id of the first device", "sensor-1")
    .option(
      "--broker-host <host>",
      "DNS name or IP address by which devices reach the broker; repeatable (default: localhost, 127.0.0.1, ::1)",
      collect,
    )
    .option("--mtls-port <port>", "broker port for certificates", parseFixedPort, DEFAULT_MTLS_PORT)
    .option("--psk-port <port>", "broker port for pre-shared keys (recovery only)", parseFixedPort, DEFAULT_PSK_PORT);
  json(weakPassphrase(vaultPassphrase(caPassphrase(init))));
  addHelp(init, {
    notes: [
      "Without a passphrase option or variable, writes a random passphrase to DIR/passphrase. Move that file elsewhere before you use the fleet in production.",
      "DIR/README.md lists the next commands. A failure removes everything that was created.",
    ],
    json: [
      '{"dir":"fleet","ca":"fleet/ca","broker":"fleet/broker","id":"sensor-1","vault":"fleet/sensor-1.vault","mtlsPort":8883,"pskPort":8884,"passphraseFile":"fleet/passphrase"}',
    ],
    examples: ["hawser init", "hawser init plant-7 --id press-1 --broker-host mqtt.example.com --passphrase-file /run/secrets/ca"],
    exits: [3, 5, 6, 130],
  });
  init.action((dir: string, options: Omit<InitOptions, "dir">) =>
    run<InitOptions>(async () => (await import("./first-setup.js")).initFleet)({ ...options, dir }),
  );
}
