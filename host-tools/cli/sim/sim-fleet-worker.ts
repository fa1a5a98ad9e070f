/** Lends this machine to fleets that are led from elsewhere. */
import { availableParallelism } from "node:os";
import { HawserError } from "../../../sdk/errors.js";
import type { Endpoint } from "../../../sdk/platform.js";
import type { NatsUrl } from "../../../sim/fleet/remote/fleet-bus.js";
import { FleetMachine, type MachineEvent } from "../../../sim/fleet/remote/fleet-machine.js";
import type { Context } from "../command-runner.js";
import { fleetProgram } from "../fleet/fleet-start.js";
import { openBus, type NatsFlags } from "../fleet/nats-options.js";

export interface FleetWorkerOptions extends NatsFlags {
  nats: NatsUrl;
  url: Endpoint;
  devicesAtMost: number;
  workers?: number;
  once?: boolean;
  json?: boolean;
}

export async function runFleetWorker(options: FleetWorkerOptions, { terminal, stop }: Context): Promise<void> {
  const { nats, url: broker, devicesAtMost, workers: slots = availableParallelism(), once = false } = options;
  const bus = await openBus(nats, "hawser-fleet-worker", options);
  let served = (): void => undefined;
  const isServed = new Promise<void>((resolve) => (served = resolve));
  const onEvent = (event: MachineEvent): void => {
    const { type, ...fields } = event;
    terminal.event(type, fields, lineOf(event), type === "refused" ? "red" : "cyan");
    if (type === "let-go" && once) served();
  };
  const machine = new FleetMachine({ bus, broker, devicesAtMost, slots, program: fleetProgram(), onEvent });
  const { machine: id, name } = machine;
  terminal.event(
    "offering",
    { machine: id, name, devicesAtMost, slots },
    `as ${name} (${id}): ${devicesAtMost} devices, ${slots} processes`,
  );
  try {
    const lost = bus.closed.then((why) => {
      throw new HawserError(
        "NATS_UNREACHABLE",
        `the connection to NATS is over: ${why}`,
        "Check that nats-server runs, and start it again.",
      );
    });
    await Promise.race([stop.asked, isServed, lost]);
  } finally {
    machine.close();
    await bus.close();
  }
}

function lineOf(event: MachineEvent): string {
  if (event.type === "hired") return `run ${event.run}`;
  if (event.type === "refused") return event.why;
  return `${event.devices} devices; ${event.why}`;
}
