/** Watches a broker's log. */
import { HawserError } from "../../../sdk/errors.js";
import { MosquittoVersion } from "../../doctor/mosquitto/version.js";
import { EventFile } from "../../monitor/event-file.js";
import type { HookQueue, HookResult } from "../../monitor/hooks/hook-queue.js";
import { parseManagementUrl } from "../../brokers/management-api.js";
import { openCaParts } from "../../ca/ca-without-passphrase.js";
import { DeviceReports } from "../../monitor/device-reports.js";
import type { DeviceReport } from "../../monitor/device-reports.js";
import { FleetMetrics } from "../../monitor/authority/fleet-metrics.js";
import { Fleet } from "../../monitor/authority/fleet-summary.js";
import { BrokerMetrics } from "../../monitor/broker-metrics.js";
import { startMetricsServer } from "../../monitor/metrics-server.js";
import { checkLogTypes } from "../../monitor/log-types.js";
import { MonitorState } from "../../monitor/monitor-state.js";
import type { LogFormat } from "../../monitor/log-formats.js";
import { eventFields, LogMonitor } from "../../monitor/log-monitor.js";
import type { MonitorEvent } from "../../monitor/log-monitor.js";
import type { Context } from "../command-runner.js";
import type { Terminal } from "../terminal.js";
import { KnownRoles, NO_ROLES } from "./known-roles.js";
import { checkLogIsThere, followLog, followNoLog, logFileOf } from "./follow-log.js";
import { readHookFile } from "./hook-file.js";
import { monitorColour, monitorSummary } from "./monitor-lines.js";
import { rabbitmqSourceOf } from "../rabbitmq-login.js";
import type { SysExtra } from "../../monitor/sys-source.js";
import { checkSysLogin, sysSourceOf } from "./sys-login.js";

export interface MonitorCommandOptions {
  log?: string;
  events?: string;
  eventsSize: number;
  eventsKeep: number;
  logFormat?: LogFormat;
  config?: string;
  brokerVersion?: string;
  hooks?: string;
  state?: string;
  dir?: string;
  metrics?: number;
  sys?: string;
  reports?: string;
  rabbitmq?: string;
  credentials?: string;
  ca?: string;
  newOnly?: boolean;
  once?: boolean;
  json?: boolean;
}

const MEBIBYTE = 1024 * 1024;

/** A service manager's own lines may stand before the broker's first. */
const FOREIGN_LINES = 20;

function foreignLog({ log = "-", logFormat = "mosquitto" }: MonitorCommandOptions, lines: number): string {
  const what = `${log === "-" ? "standard input" : log}: none of ${lines} lines is the broker's`;
  return logFormat === "mosquitto"
    ? `${what}. Is it mosquitto's log? Times are read in seconds, or as log_timestamp_format %Y-%m-%dT%H:%M:%S; from syslog, use: journalctl -u mosquitto -o cat | hawser monitor --log -`
    : `${what}. Is it the output of: hawser broker run --json?`;
}

export async function runMonitor(options: MonitorCommandOptions, context: Context): Promise<void> {
  const { terminal, stop } = context;
  checkTogether(options);
  const version = options.brokerVersion === undefined ? undefined : MosquittoVersion.parse(options.brokerVersion).text;
  if (options.config !== undefined) for (const note of checkLogTypes(options.config)) terminal.note(note);
  let counted: Counted | undefined;
  let undelivered = 0;
  const hooks = startHooks(options, context, (result) => {
    if (result === "failed") undelivered += 1;
    counted?.metrics.hook(result);
  });
  const hasLog = options.log !== undefined || options.rabbitmq === undefined;
  const file = hasLog ? logFileOf(options.log) : undefined;
  const isOnce = options.once === true;
  const events =
    options.events === undefined
      ? undefined
      : new EventFile(options.events, { maxBytes: options.eventsSize * MEBIBYTE, keep: options.eventsKeep });
  let state: OpenState | undefined;
  try {
    if (file !== undefined && events?.resume === undefined) checkLogIsThere(file);
    state = openState(options, context);
    let failure: unknown;
    const orStop = (act: () => void): void => {
      try {
        act();
      } catch (error) {
        failure ??= error;
        stop.request();
      }
    };
    let reported: (report: DeviceReport) => void = () => undefined;
    counted = await startMetrics(options, context, (report) => reported(report));
    let isCounted = true;
    const print = (event: MonitorEvent): void => {
      for (const hook of hooks) hook.offer(event);
      if (isCounted || event.kind === "alert") counted?.event(event);
      terminal.event(event.kind, eventFields(event), monitorSummary(event), monitorColour(event), new Date(event.timeMs));
    };
    const owner = { event: print, accepted: () => counted?.metrics.accepted() };
    const remembered = { behaviour: state?.kept.behaviour, offenders: state?.kept.offenders };
    const monitor = new LogMonitor(file, owner, {
      events,
      version,
      newOnly: options.newOnly,
      authority: options.dir,
      format: options.logFormat,
      ...remembered,
    });
    reported = (report) => orStop(() => monitor.deviceReported(report));
    const rabbitmq = rabbitmqSourceOf(options, {
      looked: (look) => counted?.metrics.rabbitmq(look),
      event: (event) => {
        // RabbitMQ's own numbers say how many logins failed; these events are only the senders that it names.
        isCounted = event.kind !== "refused";
        orStop(() => monitor.reported(event));
        isCounted = true;
      },
      unreachable: (reason) => {
        counted?.metrics.setUp(false);
        terminal.event("broker-unreachable", { reason }, reason, "red");
      },
    });
    try {
      rabbitmq?.start();
      const onRead = (): void => {
        // An old log says nothing of who is silent now.
        if (!isOnce) monitor.look(Date.now());
        monitor.lookAtAuthority();
        state?.kept.saveNowAndThen();
        if (hasLog) counted?.metrics.logRead(Date.now());
        tellOfForeign(FOREIGN_LINES);
      };
      let hasToldOfForeign = false;
      const tellOfForeign = (least: number): void => {
        if (hasToldOfForeign || monitor.unfamiliarLines < least) return;
        hasToldOfForeign = true;
        const detail = foreignLog(options, monitor.unfamiliarLines);
        terminal.event("log-unfamiliar", { detail }, detail, "yellow");
      };
      await (hasLog ? followLog(monitor, { file, once: isOnce, stop, onRead }) : followNoLog(monitor, { stop, onRead }));
      if (failure !== undefined) throw failure;
      tellOfForeign(1);
      state?.kept.save();
    } finally {
      await rabbitmq?.close();
      monitor.close();
      const lost = await Promise.all(hooks.map((hook) => hook.close()));
      undelivered = Math.max(undelivered, ...lost);
      await counted?.close();
    }
  } finally {
    state?.close();
    events?.close();
  }
  if (isOnce && undelivered > 0) throw notDelivered(undelivered);
}

/** Who watches for ever says so when it happens; a run to the end of the log is a job that others wait for. */
function notDelivered(count: number): HawserError {
  return new HawserError(
    "HOOKS_FAILED",
    `${count} ${count === 1 ? "message" : "messages"} did not reach the hooks`,
    "Correct what hook-failed says above, and tell the hooks again: run it without --events.",
  );
}

interface OpenState {
  readonly kept: MonitorState;
  close(): void;
}

function openState({ state, dir }: MonitorCommandOptions, { terminal }: Context): OpenState | undefined {
  if (state === undefined) return undefined;
  const failed = (reason: string): void => terminal.event("roles-unread", { reason }, reason, "red");
  const roles = dir === undefined ? NO_ROLES : new KnownRoles(dir, failed);
  try {
    const kept = new MonitorState(state, roles);
    const close = (): void => {
      roles.close();
      kept.close();
    };
    return { kept, close };
  } catch (error) {
    roles.close();
    throw error;
  }
}

function checkTogether(options: MonitorCommandOptions): void {
  const { metrics, sys, once, dir } = options;
  const next = "Run: hawser monitor --help";
  if (metrics !== undefined && once === true) throw new HawserError("USAGE", "--metrics and --once do not go together", next);
  if (sys !== undefined && metrics === undefined) throw new HawserError("USAGE", "--sys needs --metrics", next);
  if (options.reports !== undefined && sys === undefined) throw new HawserError("USAGE", "--reports needs --sys", next);
  if (options.reports !== undefined) new DeviceReports(options.reports);
  if (dir !== undefined) openCaParts(dir);
  checkSources(options);
}

function checkSources(options: MonitorCommandOptions): void {
  const next = "Run: hawser monitor --help";
  if (options.rabbitmq === undefined) return checkSysLogin(options);
  parseManagementUrl(options.rabbitmq);
  if (options.sys !== undefined) throw new HawserError("USAGE", "--rabbitmq and --sys do not go together: each names the broker", next);
  if (options.once === true) throw new HawserError("USAGE", "--rabbitmq and --once do not go together: its counts need two looks", next);
  if (options.credentials === undefined) throw new HawserError("USAGE", "--rabbitmq needs --credentials", next);
}

function startHooks({ hooks }: MonitorCommandOptions, { terminal }: Context, settled: (result: HookResult) => void): HookQueue[] {
  if (hooks === undefined) return [];
  const failed = (hook: string, reason: string): void => terminal.event("hook-failed", { hook, reason }, `${hook}: ${reason}`, "red");
  return readHookFile(hooks, { failed, settled });
}

interface Counted {
  readonly metrics: BrokerMetrics;
  event(event: MonitorEvent): void;
  close(): Promise<void>;
}

async function startMetrics(
  options: MonitorCommandOptions,
  { terminal }: Context,
  reported: (report: DeviceReport) => void,
): Promise<Counted | undefined> {
  if (options.metrics === undefined) return undefined;
  const metrics = new BrokerMetrics(HAWSER_VERSION);
  const owner = {
    sysMessage: metrics.sysMessage.bind(metrics),
    setUp: metrics.setUp.bind(metrics),
    unreachable: (reason: string) => terminal.event("broker-unreachable", { reason }, reason, "red"),
  };
  const source = sysSourceOf(options, owner, reportsOf(options, reported));
  const fleet = options.dir === undefined ? undefined : fleetMetricsOf(options.dir, terminal);
  const server = await startMetricsServer(options.metrics, () => metrics.render() + (fleet?.render(Date.now()) ?? ""));
  source?.start();
  const url = `http://localhost:${server.port}/metrics`;
  terminal.event("metrics", { url }, url);
  const event = (event: MonitorEvent): void => (event.kind === "authority" ? fleet?.event(event) : metrics.event(event));
  return { metrics, event, close: async () => void (await Promise.all([server.close(), source?.close()])) };
}

function reportsOf({ reports: template }: MonitorCommandOptions, reported: (report: DeviceReport) => void): SysExtra | undefined {
  if (template === undefined) return undefined;
  const reports = new DeviceReports(template);
  const message = (topic: string, payload: Uint8Array): void => {
    const report = reports.read(topic, payload, Date.now());
    if (report !== undefined) reported(report);
  };
  return { filter: reports.filter, message };
}

function fleetMetricsOf(directory: string, terminal: Terminal): FleetMetrics {
  const fleet = new Fleet(directory);
  const failed = (reason: string): void => terminal.event("authority-unread", { reason }, reason, "red");
  return new FleetMetrics((nowMs) => fleet.facts(nowMs), failed);
}
