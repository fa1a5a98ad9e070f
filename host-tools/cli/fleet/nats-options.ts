/** How a command reaches the NATS server of a fleet on many machines. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { connectBus, type FleetBus, type NatsUrl } from "../../../sim/fleet/remote/fleet-bus.js";
import { readSecretFile } from "../secret-files.js";
import { parsePath } from "../shared-options.js";

export interface NatsFlags {
  natsCa?: string;
  natsCredentials?: string;
}

export function natsOptions(command: Command): Command {
  return command
    .option("--nats-ca <file>", "PEM of the CA of the NATS server's certificate (default: the system's)", parsePath)
    .option(
      "--nats-credentials <file>",
      "a .creds file, or a file with a token, for the NATS server; readable by its owner alone",
      parsePath,
    );
}

/** @throws HawserError as `connectBus` and `readSecretFile` */
export async function openBus(url: NatsUrl, name: string, { natsCa, natsCredentials }: NatsFlags): Promise<FleetBus> {
  return connectBus({
    url,
    name,
    ...(natsCa === undefined ? {} : { caPem: readFileSync(natsCa, "utf8") }),
    ...(natsCredentials === undefined ? {} : { credentials: readSecretFile(natsCredentials).toString("utf8") }),
  });
}
