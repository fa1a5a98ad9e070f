/** Watches a broker's log. */
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { HawserError } from "../../../sdk/errors.js";
import { MosquittoVersion } from "../../doctor/mosquitto/version.js";
import { EventFile } from "../../monitor/event-file.js";
import { checkLogTypes } from "../../monitor/log-types.js";
import { eventFields, LogMonitor } from "../../monitor/log-monitor.js";
import type { MonitorEvent } from "../../monitor/log-monitor.js";
import type { Context } from "../command-runner.js";
import { monitorColour, monitorSummary } from "../monitor-lines.js";

export interface MonitorCommandOptions {
  log: string;
  events?: string;
  eventsSize: number;
  eventsKeep: number;
  config?: string;
  brokerVersion?: string;
  newOnly?: boolean;
  once?: boolean;
  json?: boolean;
}

const POLL_MS = 250;
const MEBIBYTE = 1024 * 1024;

export async function runMonitor(options: MonitorCommandOptions, context: Context): Promise<void> {
  const { terminal, stop } = context;
  const version = options.brokerVersion === undefined ? undefined : MosquittoVersion.parse(options.brokerVersion).text;
  if (options.config !== undefined) for (const note of checkLogTypes(options.config)) terminal.note(note);
  const file = options.log === "-" ? undefined : options.log;
  const events =
    options.events === undefined
      ? undefined
      : new EventFile(options.events, { maxBytes: options.eventsSize * MEBIBYTE, keep: options.eventsKeep });
  try {
    if (file !== undefined && events?.resume === undefined && !existsSync(file)) {
      throw new HawserError("NOT_FOUND", `no such file or directory: ${file}`, "Check the path: log_dest in mosquitto.conf names the log.");
    }
    const print = (event: MonitorEvent): void =>
      terminal.event(event.kind, eventFields(event), monitorSummary(event), monitorColour(event), new Date(event.timeMs));
    const monitor = new LogMonitor(file, { event: print, accepted: () => undefined }, { events, version, newOnly: options.newOnly });
    try {
      if (file === undefined) await readInput(monitor, context);
      else {
        do {
          await monitor.poll();
          monitor.idle();
        } while (options.once !== true && (await isToContinue(stop)));
      }
    } finally {
      monitor.close();
    }
  } finally {
    events?.close();
  }
}

/** Waits until the next look; false when a stop was asked for. */
async function isToContinue(stop: Context["stop"]): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([new Promise((resolve) => (timer = setTimeout(resolve, POLL_MS))), stop.asked]);
  clearTimeout(timer);
  return !stop.requested;
}

async function readInput(monitor: LogMonitor, { stop }: Context): Promise<void> {
  const input = createInterface({ input: process.stdin });
  void stop.asked.then(() => input.close());
  // A line whose pair is still to come is not held back for longer than the file's reader would.
  const timer = setInterval(() => monitor.idle(), POLL_MS);
  try {
    for await (const line of input) monitor.lines([line]);
    monitor.idle();
  } finally {
    clearInterval(timer);
  }
}
