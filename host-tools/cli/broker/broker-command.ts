/** `hawser broker config` and `hawser broker run`. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { addBrokerAgentCommands } from "./broker-agent-command.js";
import { collect, parseFixedPort, parsePort, parsePositiveDurationMs } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";

export function addBrokerCommands(program: Command, run: Run): void {
  const broker = program.command("broker").description("Configure, run or update the fleet's broker.");
  addConfig(broker, run);
  addSync(broker, run);
  addEndSessions(broker, run);
  addBlock(broker, run);
  addUnban(broker, run);
  addRun(broker, run);
  addBrokerAgentCommands(broker, run);
}

const TAKE_OVER = ["--take-over", "even if the configuration belongs to another CA, or this is a copy of its CA"] as const;

function addSync(broker: Command, run: Run): void {
  const sync = caDirectory(
    broker.command("sync").description("Update every configured broker, end the sessions that should have ended, and verify both."),
  ).option(...TAKE_OVER);
  json(caPassphrase(sync));
  addHelp(sync, {
    notes: ["Use it after a broker was stopped or unreachable during a change. Names that were held back there get their rights again."],
    json: ['{"brokers":[{"broker":"/srv/broker","filesLoaded":true,"sessionsEnded":["sensor-1"],"held":[]}]}'],
    examples: ["hawser broker sync --dir ca"],
    exits: [3, 4, 5, 6],
  });
  sync.action(run(async () => (await import("./broker-sync-now.js")).syncBrokers));
}

function addEndSessions(broker: Command, run: Run): void {
  const end = caDirectory(
    broker.command("end-sessions").description("End every session of a name at a mosquitto configured by `hawser policy compile`."),
  )
    .requiredOption("--id <id>", "the device or client; repeatable", collect)
    .requiredOption("--host <host>", "the broker's host name or address", parsePath)
    .requiredOption("--port <port>", "the broker's port for certificates", parseFixedPort);
  json(caPassphrase(end));
  addHelp(end, {
    notes: [
      "First compile and reload, or the names come straight back. Needs the dynamic-security plugin, which the compiled configuration loads.",
      "Brokers written by `hawser broker config` need nothing: `hawser revoke` and `hawser broker sync` end sessions there.",
    ],
    json: ['{"broker":"mqtt.example.com:8883","ended":["sensor-1"]}'],
    examples: ["hawser broker end-sessions --dir ca --id sensor-1 --host mqtt.example.com --port 8883"],
    exits: [3, 4, 5, 6],
  });
  end.action(run(async () => (await import("./broker-end-sessions.js")).endSessionsElsewhere));
}

function addBlock(broker: Command, run: Run): void {
  const network = ["--network <network>", "IPv4 or IPv6 address or network: 203.0.113.0/24"] as const;
  const target = (command: Command): Command =>
    command
      .option("--port <port>", "also this port; the ports of the CA's own brokers are known; repeatable", collectPort)
      .option("--out <file>", "write the rules to this file, for another machine, in place of loading them here", parsePath);
  const block = caDirectory(
    broker.command("block").description("Keep a source network from every broker, by nftables, for a while or for good."),
  )
    .requiredOption(...network)
    .option("--for <duration>", "let it in again after this time, at most 24d (default: for good)", parsePositiveDurationMs)
    .option("--reason <text>", "for the audit trail", "unspecified");
  json(caPassphrase(target(block)));
  addHelp(block, {
    notes: [
      "No broker denies by source address: the kernel in front of it does. Every client behind the network is shut out, connected ones too.",
      "Takes effect on this machine at once (as root). For brokers elsewhere, write the rules with --out and load them there with nft -f.",
      "What is blocked follows from the CA's audit trail. After a restart of the machine, run `hawser broker blocks --apply`.",
    ],
    json: ['{"blocks":[{"network":"203.0.113.0/24","reason":"flood","until":".."}],"appliedHere":true}'],
    examples: [
      "hawser broker block --dir ca --network 203.0.113.0/24 --for 2h --reason flood",
      "hawser broker block --dir ca --network 2001:db8::/48 --out blocks.nft",
    ],
    exits: [3, 4, 5, 6],
  });
  block.action(run(async () => (await import("./broker-block.js")).block));
  const unblock = caDirectory(broker.command("unblock").description("Let a blocked source network in again.")).requiredOption(...network);
  json(caPassphrase(target(unblock)));
  addHelp(unblock, {
    json: ['{"blocks":[],"appliedHere":true}'],
    examples: ["hawser broker unblock --dir ca --network 203.0.113.0/24"],
    exits: [3, 4, 5, 6],
  });
  unblock.action(run(async () => (await import("./broker-block.js")).unblock));
  const blocks = caDirectory(
    broker.command("blocks").description("Show which source networks are blocked, and load the rules again."),
  ).option("--apply", "load the rules on this machine");
  json(target(blocks));
  addHelp(blocks, {
    notes: ["Reads the CA's audit trail without its passphrase, so nothing is proved."],
    json: ['{"blocks":[{"network":"203.0.113.0/24","reason":"flood","until":".."}],"appliedHere":false}'],
    examples: ["hawser broker blocks --dir ca", "hawser broker blocks --dir ca --apply"],
    exits: [4, 6],
  });
  blocks.action(run(async () => (await import("./broker-block.js")).listBlocks));
}

function addUnban(broker: Command, run: Run): void {
  const unban = caDirectory(
    broker.command("unban").description("Let a name in again at an EMQX where `hawser revoke --emqx` has banned it."),
  )
    .requiredOption("--id <id>", "device id or client name; it must not be revoked any more")
    .requiredOption("--emqx <url>", "EMQX 5's REST API: https://HOST:18083, or http to localhost", parsePath)
    .requiredOption("--emqx-key <file>", "JSON file with username (the API key) and password (its secret)", parsePath)
    .option("--emqx-ca <file>", "trust only the CA certificates in this file", parsePath);
  json(caPassphrase(unban));
  addHelp(unban, {
    notes: ["Run it after `hawser provision --replace` or `hawser issue --replace` has given the name a new identity."],
    json: ['{"id":"sensor-1","broker":"https://localhost:18083","unbanned":["sensor-1"]}'],
    examples: ["hawser broker unban --dir ca --id sensor-1 --emqx https://localhost:18083 --emqx-key emqx-key.json"],
    exits: [3, 4, 5, 6],
  });
  unban.action(run(async () => (await import("./broker-unban.js")).unban));
}

/** The port as text, checked. */
function collectPort(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), String(parseFixedPort(text))];
}

function addConfig(broker: Command, run: Run): void {
  const config = caDirectory(broker.command("config").description("Write a hardened broker configuration and the files it refers to."))
    .addOption(new Option("--for <broker>", "broker to configure").choices(["mosquitto"]).makeOptionMandatory())
    .requiredOption("--out <out>", "directory to write to", parsePath)
    .requiredOption("--mtls-port <port>", "port for certificates", parseFixedPort)
    .requiredOption("--psk-port <port>", "port for pre-shared keys (recovery only)", parseFixedPort);
  config
    .option(
      "--backend-port <port>",
      "separate port for backends, operators and the authority (default: the port of devices)",
      parseFixedPort,
    )
    .option("--bind <address>", "address to listen on (default: all addresses)", parsePath)
    .option("--reach <host>", "host name by which this machine reaches the broker (if in a container or elsewhere)", parsePath)
    .option("--plugin <path>", "path of mosquitto_dynamic_security.so on the broker's machine, or none (default: found here)", parsePath)
    .option(
      "--agent <fingerprint>",
      "for a broker on another machine: what `hawser broker agent-init` printed there; needs --reach",
      parsePath,
    )
    .option("--agent-dir <dir>", "directory of the broker's files on that machine (default: /var/lib/hawser-broker)", parsePath)
    .option("--user <name>", "user that mosquitto becomes when started as root (default: chosen; with --agent: mosquitto)", parsePath)
    .option("--retain", "allow clients to publish retained messages; mosquitto does not limit their number")
    .option("--log-publishes", "log each packet, so that `hawser monitor`, fed through a pipe, sees floods and denied publishes")
    .option(...TAKE_OVER);
  json(caPassphrase(config));
  addHelp(config, {
    notes: [
      "The CA directory remembers OUT: every change (revoke, provision, ...) rewrites its files and reloads any mosquitto that uses them.",
      "A client's id is the name in its certificate: give each backend tool a separate name. limits.nft holds connection limits for nft.",
      "With --backend-port, close that port to the outside: only there can a backend's or an operator's key be used.",
      "With --agent, OUT holds what the agent fetches from `hawser authority --agents`; mosquitto is started there, by the agent.",
      "Restart a broker that was started before its configuration was rewritten.",
      "--take-over makes sure that no revocation is undone; a CA that is older than OUT is refused all the same.",
    ],
    json: [
      '{"for":"mosquitto","config":"out/mosquitto.conf","files":["mosquitto.conf",".."],"user":"mosquitto","mtlsPort":8883,"pskPort":8884}',
    ],
    examples: [
      "hawser broker config --dir ca --for mosquitto --out broker --mtls-port 8883 --psk-port 8884",
      "mosquitto -c broker/mosquitto.conf",
    ],
    exits: [3, 4, 5, 6],
  });
  config.action(run(async () => (await import("./broker-config.js")).writeBrokerConfiguration));
}

function addRun(broker: Command, run: Run): void {
  const command = caDirectory(
    broker
      .command("run")
      .description("Run a broker on loopback in the foreground until SIGINT or SIGTERM. Reloads when the CA directory changes."),
  )
    .addOption(new Option("--engine <engine>", "broker to run").choices(["embedded", "mosquitto"]).default("embedded"))
    .requiredOption("--mtls-port <port>", "port for certificates; 0 lets the system choose", parsePort)
    .requiredOption("--psk-port <port>", "port for pre-shared keys (recovery only); 0 lets the system choose", parsePort);
  json(caPassphrase(command));
  addHelp(command, {
    notes: ["Prints one line with its ports when ready. Renews the CRL while running."],
    json: [
      '{"time":"...","event":"ready","engine":"embedded","host":"localhost","mtlsPort":8883,"pskPort":8884}',
      "also: reloaded, reload-failed (code), crl-renewed (nextUpdate), crl-failed (code), stopped",
      "embedded: connected, disconnected (reason), refused (reason), denied (topic), dropped; mosquitto: log (line)",
    ],
    examples: [
      "hawser broker run --dir ca --mtls-port 8883 --psk-port 8884",
      "hawser broker run --dir ca --engine mosquitto --mtls-port 0 --psk-port 0 --json",
    ],
    exits: [3, 4, 5, 6],
  });
  command.action(run(async () => (await import("./broker-run.js")).runBroker));
}
