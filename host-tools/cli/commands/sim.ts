/** `hawser sim run`, and the commands beside it. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parseBrokerUrl, parseCount, parsePositiveDurationMs } from "../values.js";
import { connectTimeout, json, parsePath } from "./shared-options.js";
import { addSimFleetCommand } from "./sim-fleet.js";
import { addSimProxyCommand } from "./sim-proxy.js";

export function addSimCommands(program: Command, run: Run): void {
  const sim = program.command("sim").description("Simulate devices: the SDK itself, on Node or on XS.");
  const command = sim
    .command("run")
    .description("Run one simulated device from its vault until SIGINT or SIGTERM.")
    .requiredOption("--vault <path>", "the vault made by `hawser provision`", parsePath)
    .requiredOption("--url <url>", "the broker's mTLS port, mqtts://HOST:PORT", parseBrokerUrl)
    .option("--psk-url <url>", "the broker's PSK port, for recovery (default: no recovery)", parseBrokerUrl)
    .addOption(new Option("--publish-every <duration>", "how often it publishes: 500ms, 1s, 5m").argParser(parsePositiveDurationMs).default(1000, "1s"))
    .addOption(new Option("--engine <engine>", "what the SDK runs on: node, or xs, the engine of an ESP32, with its TLS and key store in C").choices(["node", "xs"]).default("node"))
    .addOption(new Option("--recovery-patience <duration>", "how long a broker has to refuse the device before it turns to its PSK; devices default to 3 to 15 minutes").argParser(parsePositiveDurationMs).default(5000, "5s"))
    .addOption(new Option("--retry-cap <duration>", "the longest it waits between two attempts, but for what a broker asks").argParser(parsePositiveDurationMs).default(120_000, "2m"))
    .option("--topic <topic>", "where to, below devices/{id}/; begins with up/", "up/temperature")
    .option("--count <n>", "end with 0 once this many messages are acknowledged, with 130 when stopped before (default: publish until stopped, then 0)", parseCount)
    .option("--passphrase-file <file>", "file whose first line is the passphrase (default: $HAWSER_PASSPHRASE, else a prompt)")
    .option("--vault-passphrase-file <file>", "the same for the vault alone (default: $HAWSER_VAULT_PASSPHRASE)");
  json(connectTimeout(command));
  addHelp(command, {
    notes: [
      "Every message on devices/{id}/down/# is shown; one on down/ping is answered on up/pong with the same payload.",
      "Either engine keeps records and keys sealed in the same vault and goes on where the other ended, rotations included; --engine xs passes keys to",
      "the engine's process through a pipe and writes them nowhere else. It needs a checkout of hawser and gcc: it is built at first use, in half a minute.",
      "SIGUSR1 asks for a new certificate now. Messages not yet acknowledged survive in the vault.",
    ],
    json: [
      '{"time":"...","event":"connected","credential":"mtls","serial":"4f..","tlsVersion":"TLSv1.3"}',
      '{"time":"...","event":"published","n":1,"topic":"devices/sensor-1/up/temperature"}',
      '{"time":"...","event":"renewed","oldSerial":"3a..","newSerial":"4f.."}',
      '{"time":"...","event":"message","topic":"devices/sensor-1/down/ping","payload":"..."} (payloadBase64 when it is no text)',
      "also: preparing (what), connecting, disconnected (code, class), retrying (delayMs), credential-changed (from, to, code), renewing (reason), pending (serial),",
      "recovered (serial), login-refused (code), enrolment-stopped (code, retryMs), identity-dropped, renewal-failed, publish-failed (code), message-dropped,",
      "message-uncertain, subscription-refused, protocol-version, redirected, commands-failed, stopped",
    ],
    examples: [
      "hawser sim run --vault sensor-1.vault --url mqtts://localhost:8883 --count 3",
      "hawser sim run --vault sensor-1.vault --url mqtts://localhost:8883 --psk-url mqtts://localhost:8884 --publish-every 500ms --json",
    ],
    exits: [3, 4, 5, 6, 130],
  });
  command.action(run(async () => (await import("../actions/sim-run.js")).runSimulatedDevice));
  addSimFleetCommand(sim, run);
  addSimProxyCommand(sim, run);
}
