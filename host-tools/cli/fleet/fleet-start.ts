/** What every run of a fleet needs beside its plan: the program of its processes, the watcher's credentials, lines of progress. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../../firmware/build/project-files.js";
import { HawserError } from "../../../sdk/errors.js";
import type { ClientPems } from "../../../sim/fleet/fleet-plan.js";
import type { FleetRunOptions } from "../../../sim/fleet/fleet-run.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import type { Terminal } from "../terminal.js";

export const WATCHER = "fleet-watcher";
const WATCHER_LIFETIME_MS = 24 * 3_600_000;

export async function watcherOf(ca: CertificateAuthority, name: string): Promise<ClientPems> {
  return { name, ...(await ca.issueClient({ name, role: "operator", lifetimeMs: WATCHER_LIFETIME_MS })) };
}

/** The program of the fleet's processes. @throws HawserError `NOT_FOUND` */
export function fleetProgram(): string {
  const file = join(packageRoot(), "dist/sim/fleet/fleet-process.js");
  if (!existsSync(file)) throw new HawserError("NOT_FOUND", `there is no ${file}`, "Build hawser first: npm run build.");
  return file;
}

/** A line for each sample. */
export function progressLines(terminal: Terminal): NonNullable<FleetRunOptions["onSample"]> {
  let [lastMessages, lastMs] = [0, 0];
  return (sample, failures) => {
    const perSecond = Math.round((sample.messages - lastMessages) / Math.max(0.001, (sample.atMs - lastMs) / 1000));
    [lastMessages, lastMs] = [sample.messages, sample.atMs];
    const troubles = Object.entries(failures)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 3)
      .map(([code, count]) => `${code} ${count}`)
      .join(", ");
    const { p50Ms, p99Ms } = sample;
    const delivery = p50Ms === undefined || p99Ms === undefined ? "" : `, p50 ${p50Ms} ms, p99 ${p99Ms} ms`;
    const text = `${sample.connected} online, ${perSecond} msg/s${delivery}, ${sample.waiting} wait${troubles === "" ? "" : `; ${troubles}`}`;
    terminal.event("progress", { ...sample, perSecond, failures }, text);
  };
}
