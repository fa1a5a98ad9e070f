/** Watches a broker's log. */
import { existsSync, readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { MosquittoVersion } from "../../doctor/mosquitto/version.js";
import { EventFile } from "../../monitor/event-file.js";
import { parseBrokerUrl } from "../../../sim/node/url-link.js";
import { readProbeCredentials } from "../../doctor/live/probe-credentials.js";
import type { HookQueue } from "../../monitor/hooks/hook-queue.js";
import { BrokerMetrics } from "../../monitor/broker-metrics.js";
import { startMetricsServer } from "../../monitor/metrics-server.js";
import { SysSource } from "../../monitor/sys-source.js";
import { checkLogTypes } from "../../monitor/log-types.js";
import { eventFields, LogMonitor } from "../../monitor/log-monitor.js";
import type { MonitorEvent } from "../../monitor/log-monitor.js";
import type { Context } from "../command-runner.js";
import { readHookFile } from "./hook-file.js";
import { monitorColour, monitorSummary } from "./monitor-lines.js";

export interface MonitorCommandOptions {
  log: string;
  events?: string;
  eventsSize: number;
  eventsKeep: number;
  config?: string;
  brokerVersion?: string;
  hooks?: string;
  metrics?: number;
  sys?: string;
  credentials?: string;
  ca?: string;
  newOnly?: boolean;
  once?: boolean;
  json?: boolean;
}

const POLL_MS = 250;
const MEBIBYTE = 1024 * 1024;

export async function runMonitor(options: MonitorCommandOptions, context: Context): Promise<void> {
  const { terminal, stop } = context;
  checkTogether(options);
  const version = options.brokerVersion === undefined ? undefined : MosquittoVersion.parse(options.brokerVersion).text;
  if (options.config !== undefined) for (const note of checkLogTypes(options.config)) terminal.note(note);
  const hooks = startHooks(options, context);
  const file = options.log === "-" ? undefined : options.log;
  const events =
    options.events === undefined
      ? undefined
      : new EventFile(options.events, { maxBytes: options.eventsSize * MEBIBYTE, keep: options.eventsKeep });
  try {
    if (file !== undefined && events?.resume === undefined && !existsSync(file)) {
      throw new HawserError("NOT_FOUND", `no such file or directory: ${file}`, "Check the path: log_dest in mosquitto.conf names the log.");
    }
    const counted = await startMetrics(options, context);
    const print = (event: MonitorEvent): void => {
      for (const hook of hooks) hook.offer(event);
      counted?.metrics.event(event);
      terminal.event(event.kind, eventFields(event), monitorSummary(event), monitorColour(event), new Date(event.timeMs));
    };
    const owner = { event: print, accepted: () => counted?.metrics.accepted() };
    const monitor = new LogMonitor(file, owner, { events, version, newOnly: options.newOnly });
    try {
      if (file === undefined) await readInput(monitor, context, counted?.metrics);
      else {
        do {
          await monitor.poll();
          monitor.idle();
          counted?.metrics.logRead(Date.now());
        } while (options.once !== true && (await isToContinue(stop)));
        monitor.checkpoint();
      }
    } finally {
      monitor.close();
      await Promise.all(hooks.map((hook) => hook.close()));
      await counted?.close();
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

async function readInput(monitor: LogMonitor, { stop }: Context, metrics?: BrokerMetrics): Promise<void> {
  const input = process.stdin;
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const orReject =
        <A extends unknown[]>(act: (...args: A) => void) =>
        (...args: A): void => {
          try {
            act(...args);
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        };
      input.on(
        "data",
        orReject((bytes: Buffer) => monitor.input(bytes)),
      );
      input.once("end", resolve).once("error", reject);
      void stop.asked.then(resolve);
      // A line whose pair is still to come is not held back for longer than the file's reader would.
      const look = (): void => {
        monitor.idle();
        metrics?.logRead(Date.now());
      };
      timer = setInterval(orReject(look), POLL_MS);
    });
    monitor.inputEnded();
    monitor.idle();
    monitor.checkpoint();
  } finally {
    clearInterval(timer);
    input.removeAllListeners("data").destroy();
  }
}

function checkTogether({ metrics, sys, credentials, ca, once }: MonitorCommandOptions): void {
  const next = "Run: hawser monitor --help";
  if (metrics !== undefined && once === true) throw new HawserError("USAGE", "--metrics and --once do not go together", next);
  if (sys !== undefined && metrics === undefined) throw new HawserError("USAGE", "--sys needs --metrics", next);
  if (sys !== undefined) parseBrokerUrl(sys);
  if (sys === undefined && (credentials ?? ca) !== undefined) throw new HawserError("USAGE", "--credentials and --ca need --sys", next);
}

function startHooks({ hooks }: MonitorCommandOptions, { terminal }: Context): HookQueue[] {
  if (hooks === undefined) return [];
  return readHookFile(hooks, (hook, reason) => terminal.event("hook-failed", { hook, reason }, `${hook}: ${reason}`, "red"));
}

interface Counted {
  readonly metrics: BrokerMetrics;
  close(): Promise<void>;
}

async function startMetrics(
  { metrics: port, sys, credentials, ca }: MonitorCommandOptions,
  { terminal }: Context,
): Promise<Counted | undefined> {
  if (port === undefined) return undefined;
  const metrics = new BrokerMetrics(HAWSER_VERSION);
  const login = credentials === undefined ? {} : readProbeCredentials(credentials);
  const anchors = ca === undefined ? login.ca : readFileSync(ca, "utf8");
  const given = Object.entries({ ...login, ca: anchors }).filter(([, value]) => value !== undefined);
  const owner = {
    sysMessage: metrics.sysMessage.bind(metrics),
    setUp: metrics.setUp.bind(metrics),
    unreachable: (reason: string) => terminal.event("broker-unreachable", { reason }, reason, "red"),
  };
  const source = sys === undefined ? undefined : new SysSource(sys, Object.fromEntries(given), owner);
  const server = await startMetricsServer(port, () => metrics.render());
  source?.start();
  const url = `http://localhost:${server.port}/metrics`;
  terminal.event("metrics", { url }, url);
  return { metrics, close: async () => void (await Promise.all([server.close(), source?.close()])) };
}
