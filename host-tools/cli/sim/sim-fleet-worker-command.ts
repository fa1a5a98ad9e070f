/** `hawser sim fleet-worker`. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parseNatsUrl } from "../../../sim/fleet/remote/fleet-bus.js";
import { natsOptions } from "../fleet/nats-options.js";
import { json } from "../shared-options.js";
import { parseBrokerUrl, parseCount } from "../flag-values.js";

export function addSimFleetWorkerCommand(sim: Command, run: Run): void {
  const command = sim
    .command("fleet-worker")
    .description("Lend this machine to fleets of `hawser sim fleet --coordinator`, one after the other, until SIGINT or SIGTERM.")
    .requiredOption("--nats <url>", "the NATS server, tls://HOST:PORT", parseNatsUrl)
    .requiredOption("--url <url>", "the only broker that its devices may connect to, mqtts://HOST:PORT", parseBrokerUrl)
    .addOption(new Option("--devices-at-most <n>", "how many devices it takes").argParser(parseCount).default(5_000))
    .addOption(new Option("--workers <n>", "worker processes (default: one a core)").argParser(parseCount))
    .option("--once", "end after the first fleet");
  json(natsOptions(command));
  addHelp(command, {
    notes: [
      "This machine makes its devices' keys and has the coordinator's CA sign for them: no key leaves it. It runs no program that comes over",
      "NATS. Whoever may publish below hawser.fleet. on the NATS server decides what its devices send to that broker.",
    ],
    json: [
      '{"time":"...","event":"offering","machine":"a91c..","name":"ci-2","devicesAtMost":5000,"slots":2}',
      "also: hired (run), refused (run, why), let-go (run, why, devices)",
    ],
    examples: [
      "hawser sim fleet-worker --nats tls://nats.example.com:4222 --nats-credentials fleet.token --url mqtts://broker.example.com:8883",
    ],
    exits: [4],
  });
  command.action(run(async () => (await import("./sim-fleet-worker.js")).runFleetWorker));
}
