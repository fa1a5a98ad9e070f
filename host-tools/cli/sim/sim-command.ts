/** `hawser sim run`, and the commands beside it. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect, parseBrokerUrl, parseCount, parsePositiveDurationMs } from "../flag-values.js";
import { connectTimeout, json, parsePath } from "../shared-options.js";
import { addSimFleetCommand } from "./sim-fleet-command.js";
import { addSimFleetWorkerCommand } from "./sim-fleet-worker-command.js";
import { addSimProxyCommand } from "./sim-proxy-command.js";
import { addSimScenarioCommand } from "./sim-scenario-command.js";

export function addSimCommands(program: Command, run: Run): void {
  const sim = program.command("sim").description("Simulate devices: the SDK itself, on Node or on XS.");
  const command = sim
    .command("run")
    .description("Run one simulated device from its vault until SIGINT or SIGTERM.")
    .requiredOption("--vault <path>", "vault created by `hawser provision`", parsePath)
    .requiredOption("--url <url>", "the broker's mTLS port, mqtts://HOST:PORT", parseBrokerUrl)
    .option("--psk-url <url>", "the broker's PSK port, for recovery (default: no recovery)", parseBrokerUrl)
    .addOption(
      new Option("--publish-every <duration>", "interval between messages: 500ms, 1s, 5m")
        .argParser(parsePositiveDurationMs)
        .default(1000, "1s"),
    )
    .addOption(
      new Option("--engine <engine>", "engine to run the SDK on: node, or xs (as on an ESP32, with TLS and key store in C)")
        .choices(["node", "xs"])
        .default("node"),
    )
    .addOption(
      new Option(
        "--recovery-patience <duration>",
        "how long a broker must refuse the device before it falls back to its PSK; real devices: 3 to 15 minutes",
      )
        .argParser(parsePositiveDurationMs)
        .default(5000, "5s"),
    )
    .addOption(
      new Option("--retry-cap <duration>", "longest wait between attempts, unless the broker asks for more")
        .argParser(parsePositiveDurationMs)
        .default(120_000, "2m"),
    )
    .option("--identity-base <topic>", "where the policy has the device ask for certificates (default: devices/{id}/identity)")
    .option("--topic <topic>", "topic to publish to, below devices/{id}/; must begin with up/", "up/temperature")
    .option(
      "--count <n>",
      "exit with 0 once this many messages are acknowledged, with 130 if stopped before (default: publish until stopped, then 0)",
      parseCount,
    )
    .option("--program <file>", "run your own device program instead: a module, .js or .ts, whose default export is a `Program`", parsePath)
    .option("--sensor <name=value>", "a sensor of it, or NAME=LOWEST..HIGHEST to draw each reading; repeatable", collect)
    .option("--press <name=interval>", "press a button of it again and again; repeatable", collect)
    .option("--passphrase-file <file>", "file whose first line is the passphrase (default: $HAWSER_PASSPHRASE, else a prompt)")
    .option("--vault-passphrase-file <file>", "the same, for the vault only (default: $HAWSER_VAULT_PASSPHRASE)");
  json(connectTimeout(command));
  addHelp(command, {
    notes: [
      "Shows every message on devices/{id}/down/#. Answers down/ping on up/pong with the same payload.",
      "Both engines use the same sealed vault, and each resumes where the other stopped, even during a rotation. --engine xs passes keys to",
      "the engine's process through a pipe and writes them nowhere else. It needs a checkout of hawser and gcc, and builds in half a minute at first use.",
      "--program runs what you flash, on either engine. --count then counts the messages that the device took, and waits until they are sent. The",
      "command fails with file and line when the program throws. --topic and --publish-every are then without effect. On XS it says too when the",
      "program holds the engine for a second, and when its memory grows steadily by more than 64 KB a minute.",
      "SIGUSR1 requests a new certificate now. Messages not yet acknowledged stay in the vault.",
    ],
    json: [
      '{"time":"...","event":"connected","credential":"mtls","serial":"4f..","tlsVersion":"TLSv1.3"}',
      '{"time":"...","event":"published","n":1,"topic":"devices/sensor-1/up/temperature"}',
      '{"time":"...","event":"renewed","oldSerial":"3a..","newSerial":"4f.."}',
      '{"time":"...","event":"message","topic":"devices/sensor-1/down/ping","payload":"..."} (payloadBase64 when it is not text)',
      "also: preparing (what), connecting, disconnected (code, class), retrying (delayMs), credential-changed (from, to, code), renewing (reason), pending (serial),",
      "recovered (serial), login-refused (code), enrolment-stopped (code, retryMs), identity-dropped, renewal-failed, publish-failed (code), message-dropped,",
      "message-uncertain, subscription-refused, protocol-version, redirected, commands-failed, stopped; with --program also: subscribed (filter),",
      "program-blocks (where), program-blocked (where, tookMs), program-grows (kilobytesPerMinute), program-hears-nothing",
    ],
    examples: [
      "hawser sim run --vault sensor-1.vault --url mqtts://localhost:8883 --count 3",
      "hawser sim run --vault sensor-1.vault --url mqtts://localhost:8883 --psk-url mqtts://localhost:8884 --publish-every 500ms --json",
      "hawser sim run --vault sensor-1.vault --url mqtts://localhost:8883 --program src/thermometer.ts --sensor temperature=21.5 --count 3",
      "hawser sim run --vault sensor-1.vault --url mqtts://localhost:8883 --program src/thermometer.ts --sensor temperature=21.5 --engine xs",
    ],
    exits: [3, 4, 5, 6, 130],
  });
  command.action(run(async () => (await import("./sim-run.js")).runSimulatedDevice));
  addSimFleetCommand(sim, run);
  addSimFleetWorkerCommand(sim, run);
  addSimProxyCommand(sim, run);
  addSimScenarioCommand(sim, run);
}
