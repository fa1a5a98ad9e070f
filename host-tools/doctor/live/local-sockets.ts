/**
 * Whether a port of this machine that was reached over loopback is open to others too: a probe from here cannot see the difference, the
 * kernel can.
 */
import { readFileSync } from "node:fs";
import type { ProbeTarget } from "./observed-connection.js";
import { isLoopbackAddress } from "../mosquitto/model.js";

const LISTENING = "0A";

/** True for other machines, and where the kernel does not tell. */
export function isOpenBeyondLoopback({ host, port }: ProbeTarget): boolean {
  if (!isLoopbackAddress(host)) return true;
  let wide = false;
  let seen = false;
  for (const [table, loopback] of [
    ["/proc/net/tcp", /^[0-9A-F]{6}7F$/],
    ["/proc/net/tcp6", /^(0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F)$/],
  ] as const) {
    for (const line of linesOf(table)) {
      const [, local = "", , state] = line.trim().split(/\s+/);
      const [address = "", hexPort = ""] = local.split(":");
      if (state !== LISTENING || Number.parseInt(hexPort, 16) !== port) continue;
      seen = true;
      if (!loopback.test(address)) wide = true;
    }
  }
  return wide || !seen;
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n").slice(1);
  } catch {
    return [];
  }
}
