/** Shows what a broker's log says, kept up to date. */
import { errorMessage } from "../../../sdk/errors.js";
import { MosquittoVersion } from "../../doctor/mosquitto/version.js";
import { LogMonitor } from "../../monitor/log-monitor.js";
import type { MonitorEvent } from "../../monitor/log-monitor.js";
import { Fleet } from "../../monitor/authority/fleet-summary.js";
import type { FleetSummary } from "../../monitor/authority/fleet-summary.js";
import { TopCounts } from "../../monitor/top/top-counts.js";
import type { Context } from "../command-runner.js";
import { FullScreen } from "../full-screen.js";
import { isoTime } from "../dates.js";
import type { Json, Screen, Terminal } from "../terminal.js";
import { checkLogIsThere, followLog, followNoLog, logFileOf } from "./follow-log.js";
import type { LogFormat } from "../../monitor/log-formats.js";
import { rabbitmqSourceOf } from "../rabbitmq-login.js";
import { parseManagementUrl } from "../../brokers/management-api.js";
import { HawserError } from "../../../sdk/errors.js";
import { checkSysLogin, sysSourceOf } from "./sys-login.js";
import type { SysLogin } from "./sys-login.js";
import { topLines } from "./top-lines.js";
import type { TopLine, TopView } from "./top-lines.js";

export interface TopOptions extends SysLogin {
  log?: string;
  logFormat?: LogFormat;
  brokerVersion?: string;
  rabbitmq?: string;
  dir?: string;
  every: number;
  once?: boolean;
  json?: boolean;
}

const OFFENDERS = 8;
/** A CA directory is looked at again after this. */
const FLEET_MS = 15_000;
const CONNECTED_TOPIC = "$SYS/broker/clients/connected";

export async function runTop(options: TopOptions, { terminal, stop }: Context): Promise<void> {
  checkSource(options);
  const version = options.brokerVersion === undefined ? undefined : MosquittoVersion.parse(options.brokerVersion).text;
  const hasLog = options.rabbitmq === undefined;
  const file = hasLog ? logFileOf(options.log) : undefined;
  if (file !== undefined) checkLogIsThere(file);
  const isOnce = options.once === true;
  const counts = new TopCounts();
  // RabbitMQ's own numbers say how many logins failed; its events are only the senders that it names.
  const isCounted = (event: MonitorEvent): boolean => hasLog || event.kind !== "refused";
  const owner = { event: (event: MonitorEvent) => isCounted(event) && counts.event(event), accepted: () => undefined };
  const monitor = new LogMonitor(file, owner, { version, format: options.logFormat });
  const asked = new BrokersCount();
  const source = sysSourceOf(options, asked);
  const rabbitmq = rabbitmqSourceOf(options, {
    looked: ({ overview, refusals, connects }) => {
      counts.looked({ refusals, connects, version: overview.version }, Date.now());
      asked.answered(overview.connections);
      display?.ready();
    },
    event: (event) => monitor.reported(event),
    unreachable: (reason) => {
      asked.lost(`RabbitMQ: ${reason}`);
      display?.ready();
    },
  });
  const fleet = options.dir === undefined ? undefined : new FleetReader(options.dir);
  const view = (): TopView => {
    const log = counts.at(Date.now());
    // Of an old log, the end of it is what `--once` is asked for.
    const atMs = isOnce ? (log.newestMs ?? Date.now()) : Date.now();
    const { summary, problem } = fleet?.at(Date.now()) ?? {};
    const notices = [asked.problem, problem].filter((notice) => notice !== undefined);
    const offenders = monitor.topOffenders(OFFENDERS, atMs);
    const broker = hasLog ? (options.logFormat ?? "mosquitto") : "rabbitmq";
    return { atMs, log: counts.at(atMs), offenders, broker, brokersCount: asked.connected, fleet: summary, notices };
  };
  const display = isOnce ? undefined : startDisplay(terminal, view, options.every, () => stop.request());
  source?.start();
  rabbitmq?.start();
  try {
    if (isOnce && source !== undefined) await asked.first;
    if (hasLog) await followLog(monitor, { file, once: isOnce, stop, onRead: () => display?.ready() });
    else await followNoLog(monitor, { stop, onRead: () => undefined });
  } finally {
    display?.close();
    monitor.close();
    await Promise.all([source?.close(), rabbitmq?.close()]);
  }
  if (isOnce || terminal.screen !== undefined) print(terminal, view());
}

/** Draws on a terminal; elsewhere the table, or a line of JSON, is printed again and again. */
function startDisplay(terminal: Terminal, view: () => TopView, everyMs: number, quit: () => void): { ready(): void; close(): void } {
  const { screen } = terminal;
  let isReady = false;
  const onKeys = (chunk: Buffer): void => {
    if (/[q\u0003]/.test(chunk.toString("latin1"))) quit();
  };
  const keyboard = process.stdin.isTTY === true ? process.stdin : undefined;
  const taken = screen === undefined ? undefined : new FullScreen(screen, keyboard, onKeys);
  const draw = (): void => {
    // Half of an old log would be shown as if it were all.
    if (!isReady) return;
    if (screen !== undefined) taken?.draw(fitting(topLines(view()), screen));
    else print(terminal, view());
  };
  const timer = setInterval(draw, everyMs);
  const stopWatchingSize = screen?.onResize(draw);
  return {
    ready() {
      const isFirst = !isReady;
      isReady = true;
      if (isFirst) draw();
    },
    close() {
      clearInterval(timer);
      stopWatchingSize?.();
      taken?.leave();
    },
  };
}

function fitting(lines: readonly TopLine[], screen: Screen): string[] {
  const { columns, rows } = screen.size();
  return lines.slice(0, rows).map(({ text, colour }) => {
    const shown = text.slice(0, columns).trimEnd();
    return colour === undefined ? shown : screen.paint(colour, shown);
  });
}

function print(terminal: Terminal, view: TopView): void {
  terminal.result(
    terminal.json ? asJson(view) : undefined,
    terminal.json
      ? []
      : [...topLines(view).map(({ text, colour }) => (colour === undefined ? text.trimEnd() : terminal.paint(colour, text.trimEnd()))), ""],
  );
}

function asJson({ atMs, log, offenders, broker, brokersCount, fleet, notices }: TopView): Json {
  const { alert, refused, denied, "taken-over": takenOver, "timed-out": timedOut, kicked, connected } = log.counts;
  const counted = { alerts: alert, refused, denied, takenOver, timedOut, kicked, letIn: connected };
  return {
    at: isoTime(atMs),
    version: log.version,
    broker,
    connected: brokersCount ?? (broker === "rabbitmq" ? undefined : log.connected),
    connectedBy: broker === "rabbitmq" ? broker : brokersCount === undefined ? "log" : "sys",
    ...Object.fromEntries(Object.entries(counted).map(([name, recent]) => [name, { ...recent }])),
    refusedBy: Object.fromEntries(Object.entries(log.refusals).map(([reason, recent]) => [reason, { ...recent }])),
    offenders: offenders.map(({ rule, by, offender, score }) => ({ rule, by, offender, score: Math.round(score) })),
    fleet: fleet && {
      names: fleet.names,
      states: fleet.states,
      enrolmentsLastHour: { ...fleet.enrolments },
      expiringWithin14Days: {
        count: fleet.expiring.count,
        first: fleet.expiring.first.map(({ name, notAfterMs }) => ({ name, notAfter: isoTime(notAfterMs) })),
      },
    },
    notices,
  };
}

/** How many clients the broker itself counts. */
class BrokersCount {
  connected: number | undefined;
  problem: string | undefined;
  #answer: () => void = () => undefined;
  /** Settles with the first number, or the first failure to get one. */
  readonly first = new Promise<void>((resolve) => (this.#answer = resolve));

  sysMessage(topic: string, payload: string): void {
    if (topic === CONNECTED_TOPIC && /^\d{1,9}$/.test(payload)) this.answered(Number(payload));
  }

  setUp(isUp: boolean): void {
    if (isUp) this.problem = undefined;
    else this.connected = undefined;
  }

  unreachable(reason: string): void {
    this.lost(`$SYS: ${reason}`);
  }

  answered(connected: number): void {
    this.connected = connected;
    this.problem = undefined;
    this.#answer();
  }

  lost(problem: string): void {
    this.connected = undefined;
    this.problem = problem;
    this.#answer();
  }
}

/** @throws HawserError `USAGE`, `BAD_URL` */
function checkSource(options: TopOptions): void {
  const { rabbitmq, sys, log, logFormat, once, credentials } = options;
  if (rabbitmq === undefined) return checkSysLogin(options);
  parseManagementUrl(rabbitmq);
  const next = "Run: hawser monitor top --help";
  if (sys !== undefined || log !== undefined || logFormat !== undefined)
    throw new HawserError("USAGE", "--rabbitmq goes with neither --log nor --sys: each names the broker", next);
  if (once === true) throw new HawserError("USAGE", "--rabbitmq and --once do not go together: its counts need two looks", next);
  if (credentials === undefined) throw new HawserError("USAGE", "--rabbitmq needs --credentials", next);
}

class FleetReader {
  readonly #directory: string;
  readonly #fleet: Fleet;
  #readMs = Number.NEGATIVE_INFINITY;
  #last: { readonly summary?: FleetSummary; readonly problem?: string } = {};

  constructor(directory: string) {
    this.#directory = directory;
    this.#fleet = new Fleet(directory);
  }

  /** As it was a while ago at most; a directory that cannot be read is told, and looked at again. */
  at(nowMs: number): { readonly summary?: FleetSummary; readonly problem?: string } {
    if (nowMs - this.#readMs < FLEET_MS) return this.#last;
    this.#readMs = nowMs;
    try {
      this.#last = { summary: this.#fleet.summary(nowMs) };
    } catch (error) {
      this.#last = { problem: `${this.#directory}: ${errorMessage(error)}` };
    }
    return this.#last;
  }
}
