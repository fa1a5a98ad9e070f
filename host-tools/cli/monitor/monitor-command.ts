/** `hawser monitor`. */
import { Option } from "commander";
import type { Command } from "commander";
import { LOG_FORMATS } from "../../monitor/log-formats.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parseCount, parsePort, parsePositiveDurationMs } from "../flag-values.js";
import { json, parsePath } from "../shared-options.js";

export function addMonitorCommand(program: Command, run: Run): void {
  const monitor = program
    .command("monitor")
    .description("Watch a broker: turn mosquitto's log, or what RabbitMQ says of itself, into events.")
    // So that `monitor top --log` is top's.
    .enablePositionalOptions()
    .option("--log <file>", "mosquitto's log, followed through rotations; - reads standard input (required without --rabbitmq)", parsePath)
    .addOption(new Option("--log-format <format>", "what wrote the log; embedded: `hawser broker run --json`").choices(LOG_FORMATS))
    .option("--events <file>", "append events to this file as JSON lines, and resume where the last run stopped", parsePath)
    .option("--events-size <MiB>", "rename the event file before it grows larger than this", parseCount, 64)
    .option("--events-keep <count>", "how many renamed event files to keep", parseCount, 5)
    .option("--config <file>", "the broker's mosquitto.conf: refuse to start if its log can be forged", parsePath)
    .option("--broker-version <version>", "mosquitto's version, if the log no longer has its first line")
    .option("--hooks <file>", "tell webhooks and commands of events: a YAML file, see docs/monitoring.md", parsePath)
    .option("--state <file>", "learn what is normal, tell what is not, and remember both in this file", parsePath)
    .option("--dir <path>", "follow this CA's audit trail too; serve its metrics, and take roles and limits from it for --state", parsePath)
    .option("--metrics <port>", "serve Prometheus metrics at http://localhost:PORT/metrics (0 lets the system choose)", parsePort)
    .option("--sys <url>", "also read the broker's $SYS topics for --metrics: mqtts://HOST:PORT, or mqtt://HOST:PORT without TLS")
    .option(
      "--reports <topic>",
      "also read devices' own reports at the broker of --sys, {id} for the device: devices/{id}/identity/report",
      parsePath,
    )
    .option("--rabbitmq <url>", "read RabbitMQ's management API: https://HOST:15671, or http to localhost; --log may be left out")
    .option(
      "--credentials <path>",
      "for --sys and --rabbitmq: directory made by `hawser issue`, or a JSON file with username, password, cert, key, ca",
      parsePath,
    )
    .option(
      "--ca <file>",
      "for --sys and --rabbitmq: trust only the CA certificates in this file (default: those of --credentials, else the system's)",
      parsePath,
    )
    .option("--new-only", "skip what is in the log already")
    .option("--once", "stop at the end of the log");
  json(monitor);
  addHelp(monitor, {
    notes: [
      "Client ids in refusals are what the sender called itself (claimedClient): nothing proves them. mosquitto 2.0 gives no address for most refusals.",
      "Refuses logs with lines of log_type subscribe, unsubscribe or all: clients can forge any line in them.",
      "The event file is created with mode 600. FILE.position says how far the log was read. docs/monitoring.md has the details.",
    ],
    json: [
      '{"time":"..","event":"refused","reason":"password","claimedClient":"pump-1","address":"192.0.2.7"}',
      '{"time":"..","event":"denied","client":"pump-1","topic":"devices/pump-2/up/a","sizeBytes":1}',
      '{"time":"..","event":"alert","rule":"clone-suspected","by":"client","offender":"pump-1","count":3}',
      '{"time":"..","event":"alert","rule":"message-rate","by":"client","offender":"pump-1","role":"pump","observed":"..","normal":".."}',
      '{"time":"..","event":"report","client":"pump-1","report":"denied","count":3,"topic":"devices/pump-1/up/a"}',
      '{"time":"..","event":"authority","change":"enrolled","name":"pump-1","detail":"serial=.."}',
      "also: connected, disconnected, timed-out, taken-over, kicked, broker-started, broker-stopped, reloaded, configuration-error (detail), log-gap (detail), metrics (url),",
      "log-unfamiliar (detail), broker-unreachable (reason), hook-failed (hook, reason), roles-unread and authority-unread (reason)",
    ],
    examples: [
      "hawser monitor --log /var/log/mosquitto/mosquitto.log --events events.jsonl",
      "hawser monitor --log mosquitto.log --once --json",
      "hawser monitor --log mosquitto.log --metrics 9883 --sys mqtts://localhost:8883 --credentials watcher",
      "hawser monitor --log mosquitto.log --events events.jsonl --hooks hooks.yaml",
      "hawser monitor --log mosquitto.log --events events.jsonl --state normal.json --dir ca",
      "hawser monitor --log mosquitto.log --metrics 9883 --dir ca",
      "hawser monitor --rabbitmq https://localhost:15671 --credentials watcher.json --metrics 9883",
      "hawser monitor top --log mosquitto.log --dir ca",
      "journalctl -fu mosquitto -o cat | hawser monitor --log -",
      "hawser broker run --dir ca --json | hawser monitor --log - --log-format embedded",
    ],
    exits: [3, 4, 5, 6],
  });
  monitor.action(run(async () => (await import("./monitor.js")).runMonitor));
  addTop(monitor, run);
}

function addTop(monitor: Command, run: Run): void {
  const top = monitor
    .command("top")
    .description("Show who is connected, refused and denied, and who fails most: a live table.")
    .option("--log <file>", "mosquitto's log, followed through rotations; - reads standard input (required without --rabbitmq)", parsePath)
    .addOption(new Option("--log-format <format>", "what wrote the log; embedded: `hawser broker run --json`").choices(LOG_FORMATS))
    .option("--rabbitmq <url>", "in place of a log, RabbitMQ's management API: https://HOST:15671, or http to localhost")
    .option("--broker-version <version>", "mosquitto's version, if the log no longer has its first line")
    .option("--dir <path>", "also show states, enrolments and expiring certificates of this CA directory", parsePath)
    .option("--sys <url>", "take the number of connected clients from the broker's $SYS topics", parsePath)
    .option("--credentials <path>", "for --sys and --rabbitmq: as `hawser monitor` takes them", parsePath)
    .option("--ca <file>", "for --sys and --rabbitmq: trust only the CA certificates in this file", parsePath)
    .addOption(new Option("--every <duration>", "how often to draw").argParser(parsePositiveDurationMs).default(1000, "1s"))
    .option("--once", "print the table at the end of the log, and stop");
  json(top);
  addHelp(top, {
    notes: [
      "q or Ctrl-C ends it. Where output is not a terminal, the table is printed again and again; with --json, an object a line.",
      "Names are what senders call themselves. All but printable ASCII in them is shown as escapes. The CA directory is read, not proved.",
      "Counts go by the log's times and begin with the log's present file. With --once, the last minute and hour are those before its newest event.",
    ],
    json: [
      '{"at":"..","version":"2.0.21","broker":"mosquitto","connected":41,"connectedBy":"log","alerts":{"lastMinute":3,"lastHour":90,"total":120},"offenders":[{"rule":"failed-logins","by":"address","offender":"192.0.2.7","score":12}],"notices":[]}',
      "like alerts: refused, denied, takenOver, timedOut, kicked, letIn; refusedBy has refused for each reason",
      'with --dir: "fleet":{"names":9,"states":{"active":9},"enrolmentsLastHour":{"issued":1,"refused":0},"expiringWithin14Days":{"count":1,"first":[{"name":"pump-1","notAfter":".."}]}}',
    ],
    examples: [
      "hawser monitor top --log /var/log/mosquitto/mosquitto.log --dir ca",
      "hawser monitor top --log mosquitto.log --once --json",
      "journalctl -fu mosquitto -o cat | hawser monitor top --log -",
      "hawser broker run --dir ca --json | hawser monitor top --log - --log-format embedded",
      "hawser monitor top --rabbitmq https://localhost:15671 --credentials watcher.json",
    ],
    exits: [6],
  });
  top.action(run(async () => (await import("./top.js")).runTop));
}
