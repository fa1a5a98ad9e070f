/** `hawser broker agent` and `hawser broker agent-init`: a broker on another machine than the CA. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parseHostAndPort, parsePositiveDurationMs } from "../flag-values.js";
import { json, parsePath } from "../shared-options.js";

export function addBrokerAgentCommands(broker: Command, run: Run): void {
  const init = broker
    .command("agent-init")
    .description("Make the key of a broker's agent, on the broker's machine, and a systemd unit for it.")
    .requiredOption("--dir <dir>", "directory to make", parsePath)
    .requiredOption("--ca <file>", "the CA's root certificate (ca/root.crt.pem)", parsePath)
    .requiredOption("--authority <host:port>", "where hawser authority --agents listens", parseHostAndPort)
    .requiredOption("--out <dir>", "directory for the broker's files", parsePath);
  json(init);
  addHelp(init, {
    notes: [
      "Then, on the CA's machine: hawser broker config --agent FINGERPRINT --agent-dir OUT. The key never leaves this machine; it opens no broker.",
      "Copy the unit to /etc/systemd/system. It runs as the user mosquitto, without any capability.",
    ],
    json: ['{"dir":"/var/lib/hawser-agent","fingerprint":"3f..","unit":"/var/lib/hawser-agent/hawser-broker-agent.service"}'],
    examples: [
      "hawser broker agent-init --dir /var/lib/hawser-agent --ca root.crt.pem --authority ca.example.com:8899 --out /var/lib/hawser-broker",
    ],
    exits: [5, 6],
  });
  init.action(run(async () => (await import("./broker-agent.js")).initAgent));

  const agent = broker
    .command("agent")
    .description("Run a mosquitto that the CA of another machine configures: fetches signed configurations and serves with nothing older.")
    .requiredOption("--dir <dir>", "directory made by agent-init", parsePath)
    .requiredOption("--authority <host:port>", "where hawser authority --agents listens", parseHostAndPort)
    .requiredOption("--out <dir>", "directory for the broker's files", parsePath)
    .option(
      "--alone <duration>",
      "stop the broker when the authority was silent for so long (default: it serves on until its revocation list expires)",
      parsePositiveDurationMs,
    )
    .option("--mosquitto <path>", "the mosquitto program (default: found here)", parsePath);
  json(agent);
  addHelp(agent, {
    notes: [
      "Opens no port of its own and starts nothing but mosquitto, without a shell. Run it as an ordinary user.",
      "With --alone, a start waits for the authority too; so nobody who was shut out meanwhile is served. Without it, a start waits ten seconds.",
      "Files that the broker does not show to have loaded are not served: the broker is stopped, and the authority told.",
    ],
    json: [
      '{"time":"...","event":"serving","sequence":1795944000000}',
      "also: connected, cut-off (code), shut (why), failed (code), broker-ended (why), stopped",
    ],
    examples: ["hawser broker agent --dir /var/lib/hawser-agent --authority ca.example.com:8899 --out /var/lib/hawser-broker --alone 5m"],
    exits: [4, 6],
  });
  agent.action(run(async () => (await import("./broker-agent.js")).runAgent));
}
