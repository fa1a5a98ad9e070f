/** One line for each event of a device. */
import type { DeviceEvent } from "../../../sdk/index.js";

/** The event's type and its fields in the order they were given. */
export function describeEvent(event: DeviceEvent): string {
  const { type, ...fields } = event;
  return [type, ...Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`)].join(" ");
}
