/** `hawser sim fleet`. */
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect, parseBrokerUrl, parseCount, parseDurationMs, parsePositiveDurationMs } from "../flag-values.js";
import { GROWTH_LIMIT, PUBLISH_LIMIT } from "../../../sim/program/program-plan.js";
import { parseNatsUrl } from "../../../sim/fleet/remote/fleet-bus.js";
import { natsOptions } from "../fleet/nats-options.js";
import { caPassphrase, json, parsePath } from "../shared-options.js";

export function addSimFleetCommand(sim: Command, run: Run): void {
  const command = sim
    .command("fleet")
    .description("Run many simulated devices, and settle every message by an independent watcher.")
    .requiredOption("--devices <n>", "how many", parseCount)
    .addOption(new Option("--duration <duration>", "how long they publish").argParser(parsePositiveDurationMs).default(60_000, "1m"))
    .addOption(
      new Option("--drain <duration>", "how long what was accepted may take to arrive after that")
        .argParser(parsePositiveDurationMs)
        .default(120_000, "2m"),
    )
    .addOption(
      new Option("--broker <engine>", "the passing broker to run against (default: mosquitto where it is installed)").choices([
        "mosquitto",
        "embedded",
      ]),
    )
    .option("--dir <dir>", "provision from this CA instead of a passing one; with --url", parsePath)
    .option("--url <url>", "the broker's mTLS port, mqtts://HOST:PORT; with --dir", parseBrokerUrl)
    .option("--psk-url <url>", "the broker's PSK port, for recovery", parseBrokerUrl)
    .option("--identities <file>", "keep the fleet's keys and certificates here, sealed, for the next run with --dir", parsePath)
    .option("--ids <pattern>", "ids, with {n} or {n:5} for the number", "fleet-{n}")
    .option("--role <role>", "the devices' role", "sensor")
    .addOption(new Option("--start-rate <n>", "devices started a second").argParser(parseCount).default(100))
    .addOption(
      new Option("--publish-every <duration>", "how often each device publishes").argParser(parsePositiveDurationMs).default(10_000, "10s"),
    )
    .addOption(
      new Option("--qos <qos>", "0, 1 or 2; or mixed: a third of the messages each").choices(["0", "1", "2", "mixed"]).default("1"),
    )
    .addOption(new Option("--payload <bytes>", "size of a payload, N or LOWEST-HIGHEST").argParser(parseSizes).default([64, 256], "64-256"))
    .option("--topic <topic>", "where to, below devices/{id}/up/", "telemetry")
    .addOption(
      new Option(
        "--commands <n>",
        "commands a second to devices drawn at random; to each in turn with --command (default: none, 10 with --command)",
      ).argParser(parseRate),
    )
    .addOption(
      new Option("--sleepers <percent>", "share of devices that sleep: awake 10 s, asleep 20 s").argParser(parsePercent).default(0),
    )
    .addOption(new Option("--reboots <n>", "restarts a device and hour").argParser(parseRate).default(0))
    .addOption(new Option("--renewals <n>", "new certificates a device and hour").argParser(parseRate).default(0))
    .addOption(
      new Option("--retry-cap <duration>", "the longest a device waits between two attempts")
        .argParser(parsePositiveDurationMs)
        .default(30_000, "30s"),
    )
    .addOption(
      new Option("--restart-broker <duration>", "kill -9 the passing broker half-way, and start it again after this").argParser(
        parseDurationMs,
      ),
    )
    .addOption(new Option("--client <client>", "the SDK, or MQTT.js doing the same").choices(["hawser", "mqttjs"]).default("hawser"))
    .addOption(new Option("--workers <n>", "worker processes (default: one a core)").argParser(parseCount))
    .option("--threads", "worker threads of one process instead; memory is then told for all of them together")
    .option("--program <file>", "run your own device program instead: a module, .js or .ts, whose default export is a `Program`", parsePath)
    .option("--sensor <name=value>", "a sensor of it, or NAME=LOWEST..HIGHEST to draw each reading; repeatable", collect)
    .option("--press <name=interval>", "press a button of it again and again; repeatable", collect)
    .option("--command <topic=payload>", "a command to send to it, e.g. down/led=on; {n} is its number; repeatable", collect)
    .addOption(
      new Option("--publish-limit <n>", "messages a second that a device with it may publish, over 10 s")
        .argParser(parseRate)
        .default(PUBLISH_LIMIT),
    )
    .addOption(
      new Option("--growth-limit <kb>", "KB a device and minute that its memory may grow").argParser(parseRate).default(GROWTH_LIMIT),
    )
    .option(
      "--coordinator <url>",
      "on many machines: tls://HOST:PORT of the NATS server that they offer themselves on; with --dir",
      parseNatsUrl,
    )
    .addOption(new Option("--machines <n>", "how many of them to wait for; with --coordinator").argParser(parseCount).default(1))
    .addOption(
      new Option("--machines-wait <duration>", "how long to wait for them").argParser(parsePositiveDurationMs).default(60_000, "1m"),
    )
    .option("--seed <text>", "draws payloads, intervals and sleepers (default: a new one)")
    .option("--result <file>", "write the result as JSON", parsePath)
    .option("--junit <file>", "write it as JUnit XML", parsePath)
    .option("--html <file>", "write a report with plots, one file without network", parsePath);
  json(caPassphrase(natsOptions(command)));
  addHelp(command, {
    notes: [
      "Without --dir the command makes a CA, a broker on free ports and an enrolment authority in memory, and removes them at the end.",
      "Each accepted message has to be seen by a watcher that shares no code with the devices: at least once at QoS 1, exactly once at QoS 2.",
      "A message that is not, a device that never comes online or a worker that dies fails the run, and is named.",
      "--program runs what you flash on each device. A run fails, and names file and line, when it throws, blocks for a second, leaks, publishes too",
      "fast, is refused a message or does not take a command. --qos, --payload, --topic and --publish-every are then without effect.",
      "In a GitHub step ($GITHUB_STEP_SUMMARY) the summary and annotations are written too.",
      "Ctrl-C publishes no more, lets what was accepted arrive, and reports.",
    ],
    json: [
      '{"time":"...","event":"progress","connected":990,"asleep":0,"attempts":1004,"messages":5210,"waiting":3,"p50Ms":1.2,"p99Ms":8.4,...}',
      '{"event":"result","passed":true,"checks":[...],"messages":{...},"delivery":{...},"cost":{...},...}',
    ],
    examples: [
      "hawser sim fleet --devices 1000",
      "hawser sim fleet --devices 200 --duration 2m --qos mixed --commands 10 --restart-broker 20s --html fleet.html --junit fleet.xml",
      "hawser sim fleet --devices 1000 --program src/thermometer.ts --sensor temperature=18..24 --command down/interval=5",
      "hawser sim fleet --devices 20000 --dir ca --url mqtts://broker.example.com:8883 --coordinator tls://nats.example.com:4222 --machines 4",
      "hawser sim fleet --devices 50 --dir ca --url mqtts://localhost:8883 --identities fleet.sealed",
    ],
    exits: [3, 4, 5, 6, 130],
  });
  command.action(run(async () => (await import("./sim-fleet.js")).runFleet));
}

function parseSizes(value: string): [number, number] {
  const match = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(value);
  const lowest = Number(match?.[1] ?? Number.NaN);
  const highest = Number(match?.[2] ?? lowest);
  if (!(lowest >= 1 && highest >= lowest && highest <= 100_000)) throw new InvalidArgumentError("Give bytes up to 100000: 200, or 64-256.");
  return [lowest, highest];
}

function parseRate(value: string): number {
  const rate = /^\d{1,5}(\.\d{1,3})?$/.test(value) ? Number(value) : Number.NaN;
  if (!(rate <= 10_000)) throw new InvalidArgumentError("Give a number from 0 to 10000.");
  return rate;
}

function parsePercent(value: string): number {
  const percent = /^\d{1,3}%?$/.test(value) ? Number(value.replace("%", "")) : Number.NaN;
  if (!(percent <= 100)) throw new InvalidArgumentError("Give a percentage from 0 to 100.");
  return percent / 100;
}
