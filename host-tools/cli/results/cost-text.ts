/** What a device costs its simulator, in words; or that a run was too small to tell. */
import type { FleetResult } from "../../../sim/fleet/fleet-result.js";

/** With fewer, a process's own growth is most of what is measured. */
const LEAST_DEVICES = 100;

export function costText({ cost, connections }: Pick<FleetResult, "cost" | "connections">): string {
  // The virtual world has no processes to measure.
  if (cost.cpuPercentPerThousand <= 0) return "not measured";
  if (connections.most < LEAST_DEVICES || cost.kilobytesPerDevice <= 0) return `not told for fewer than ${LEAST_DEVICES} devices online`;
  const { kilobytesPerDevice, cpuPercentPerThousand, cpuMicrosPerMessage } = cost;
  return `${kilobytesPerDevice} KB a device, ${cpuPercentPerThousand} % of a core for 1,000 devices, ${cpuMicrosPerMessage} us of CPU a message`;
}
