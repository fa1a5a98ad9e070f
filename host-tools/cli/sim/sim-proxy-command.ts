/** `hawser sim proxy`. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect, parsePort } from "../flag-values.js";
import { json } from "../shared-options.js";

export function addSimProxyCommand(sim: Command, run: Run): void {
  const command = sim
    .command("proxy")
    .description("Put faults between devices and a broker: a TCP proxy with Toxiproxy's words and HTTP control.")
    .requiredOption("--upstream <host:port>", "the broker")
    .option("--listen <host:port>", "where devices connect; port 0 takes a free one", "127.0.0.1:0")
    .option("--name <name>", "the proxy's name", "broker")
    .option("--mqtt", "read MQTT packets, for the mqtt_ toxics; for a plaintext listener, TLS hides them")
    .option("--toxic <type:key=value,...>", "a fault from the start; again for more", collect)
    .addOption(
      new Option("--control <port>", "port of the HTTP control on loopback; 0 takes a free one").argParser(parsePort).default(0, "0"),
    )
    .option("--seed <text>", "draws jitter and chance (default: a new one)");
  json(command);
  addHelp(command, {
    notes: [
      "Toxics as in Toxiproxy: latency (latency, jitter), bandwidth (rate in KB/s), slow_close (delay), timeout (timeout; 0: a black hole), reset_peer (timeout),",
      "slicer (average_size, size_variation, delay), limit_data (bytes). Beyond it: stall (probability, stall), half_open, captive_portal,",
      "mqtt_drop, mqtt_duplicate, mqtt_delay (delay), mqtt_disconnect (reason): each with packet, probability, skip, count; mqtt_session_present (value).",
      "stream=upstream is what devices send, downstream (the default) what the broker sends. toxicity=0.1 works on a tenth of the connections.",
      'Toxiproxy\'s HTTP calls: GET /proxies, POST /proxies, POST /proxies/NAME {"enabled":false}, POST /proxies/NAME/toxics, DELETE .../toxics/TOXIC, POST /reset.',
    ],
    json: ['{"time":"...","event":"ready","port":41883,"control":"http://127.0.0.1:8474","seed":"..."}'],
    examples: [
      "hawser sim proxy --upstream localhost:8883 --listen 127.0.0.1:9883 --toxic latency:latency=200,jitter=50",
      "hawser sim proxy --upstream localhost:1883 --mqtt --toxic mqtt_drop:packet=puback,probability=0.1",
      'curl -d \'{"type":"timeout"}\' http://127.0.0.1:8474/proxies/broker/toxics',
    ],
    exits: [4, 130],
  });
  command.action(run(async () => (await import("./sim-proxy.js")).runProxy));
}
