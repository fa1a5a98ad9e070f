/** Server references of MQTT 5 (section 4.13): followed only to brokers on the device's own list. */
import type { Endpoint } from "../platform.js";
import type { Failure } from "../failure.js";

/**
 * Where a server's redirect leads, or undefined when the failure is none or its target is not allowed. The reference may name several
 * brokers, separated by spaces; the first that is allowed counts.
 * @param allowed `host:port` entries
 */
export function redirectTarget(reason: Failure, allowed: readonly string[]): Endpoint | undefined {
  if (reason.code !== "USE_ANOTHER_SERVER" && reason.code !== "SERVER_MOVED") return undefined;
  for (const name of (reason.serverReference ?? "").split(" ")) {
    if (!allowed.includes(name)) continue;
    const colon = name.lastIndexOf(":");
    const port = Number(name.slice(colon + 1));
    const host = name.slice(0, colon).replace(/^\[|\]$/g, "");
    if (colon > 0 && port >= 1 && port <= 65_535) return { host, port };
  }
  return undefined;
}
