/** `hawser broker config` and `hawser broker run`. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parseFixedPort, parsePort } from "../values.js";
import { caDirectory, caPassphrase, json, parsePath } from "./shared-options.js";

export function addBrokerCommands(program: Command, run: Run): void {
  const broker = program.command("broker").description("Configure or run a broker that knows the fleet.");
  addConfig(broker, run);
  addSync(broker, run);
  addRun(broker, run);
}

function addSync(broker: Command, run: Run): void {
  const sync = caDirectory(broker.command("sync").description("Bring every configured broker up to date, end the sessions that should have ended, and prove it."));
  json(caPassphrase(sync));
  addHelp(sync, {
    notes: ["For when a broker was stopped or out of reach during a change. Names that were held back at a broker get their rights there again."],
    json: ['{"brokers":[{"broker":"/srv/broker","filesLoaded":true,"sessionsEnded":["sensor-1"],"held":[]}]}'],
    examples: ["hawser broker sync --dir ca"],
    exits: [3, 4, 5, 6],
  });
  sync.action(run(async () => (await import("../actions/broker-sync.js")).syncBrokers));
}

function addConfig(broker: Command, run: Run): void {
  const config = caDirectory(broker.command("config").description("Write a hardened broker configuration and the files it names."))
    .addOption(new Option("--for <broker>", "the kind of broker").choices(["mosquitto"]).makeOptionMandatory())
    .requiredOption("--out <out>", "the directory to write", parsePath)
    .requiredOption("--mtls-port <port>", "port for certificates", parseFixedPort)
    .requiredOption("--psk-port <port>", "port for pre-shared keys (recovery only)", parseFixedPort);
  config
    .option("--bind <address>", "address to listen on (default: all)", parsePath)
    .option("--reach <host>", "host under which this machine reaches the broker (a container, another machine)", parsePath)
    .option("--plugin <path>", "mosquitto_dynamic_security.so as the broker finds it, or none (default: looked for here)", parsePath)
    .option("--retain", "let clients leave retained messages, which mosquitto does not bound");
  json(caPassphrase(config));
  addHelp(config, {
    notes: [
      "The CA directory remembers OUT: every change (revoke, provision, ...) rewrites its files and has a mosquitto that runs with them reload.",
      "A client's id is its certificate's name: give each tool of a backend a name of its own. limits.nft holds connection limits for nft.",
      "A broker that was started before its configuration was written again has to be restarted.",
    ],
    json: ['{"for":"mosquitto","config":"out/mosquitto.conf","files":["mosquitto.conf",".."],"user":"mosquitto","mtlsPort":8883,"pskPort":8884}'],
    examples: ["hawser broker config --dir ca --for mosquitto --out broker --mtls-port 8883 --psk-port 8884", "mosquitto -c broker/mosquitto.conf"],
    exits: [3, 4, 5, 6],
  });
  config.action(run(async () => (await import("../actions/broker-config.js")).writeBrokerConfiguration));
}

function addRun(broker: Command, run: Run): void {
  const command = caDirectory(broker.command("run").description("Run a broker on loopback in the foreground until SIGINT or SIGTERM; it reloads when the CA directory changes."))
    .addOption(new Option("--engine <engine>", "which broker").choices(["embedded", "mosquitto"]).default("embedded"))
    .requiredOption("--mtls-port <port>", "port for certificates; 0 lets the system choose", parsePort)
    .requiredOption("--psk-port <port>", "port for pre-shared keys (recovery only); 0 lets the system choose", parsePort);
  json(caPassphrase(command));
  addHelp(command, {
    notes: ["One line says that it is ready, with the ports. The CRL is renewed while it runs."],
    json: [
      '{"time":"...","event":"ready","engine":"embedded","host":"localhost","mtlsPort":8883,"pskPort":8884}',
      "also: reloaded, reload-failed (code), crl-renewed (nextUpdate), crl-failed (code), stopped",
      "embedded: connected, disconnected (reason), refused (reason), denied (topic), dropped; mosquitto: log (line)",
    ],
    examples: ["hawser broker run --dir ca --mtls-port 8883 --psk-port 8884", "hawser broker run --dir ca --engine mosquitto --mtls-port 0 --psk-port 0 --json"],
    exits: [3, 4, 5, 6],
  });
  command.action(run(async () => (await import("../actions/broker-run.js")).runBroker));
}
