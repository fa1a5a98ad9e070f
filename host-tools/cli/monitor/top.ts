/** Shows what a broker's log says, kept up to date. */
import { errorMessage } from "../../../sdk/errors.js";
import { MosquittoVersion } from "../../doctor/mosquitto/version.js";
import { LogMonitor } from "../../monitor/log-monitor.js";
import { Fleet } from "../../monitor/authority/fleet-summary.js";
import type { FleetSummary } from "../../monitor/authority/fleet-summary.js";
import { TopCounts } from "../../monitor/top/top-counts.js";
import type { Context } from "../command-runner.js";
import { FullScreen } from "../full-screen.js";
import { isoTime } from "../dates.js";
import type { Json, Screen, Terminal } from "../terminal.js";
import { checkLogIsThere, followLog, logFileOf } from "./follow-log.js";
import { checkSysLogin, sysSourceOf } from "./sys-login.js";
import type { SysLogin } from "./sys-login.js";
import { topLines } from "./top-lines.js";
import type { TopLine, TopView } from "./top-lines.js";

export interface TopOptions extends SysLogin {
  log?: string;
  brokerVersion?: string;
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
  checkSysLogin(options);
  const version = options.brokerVersion === undefined ? undefined : MosquittoVersion.parse(options.brokerVersion).text;
  const file = logFileOf(options.log);
  if (file !== undefined) checkLogIsThere(file);
  const isOnce = options.once === true;
  const counts = new TopCounts();
  const monitor = new LogMonitor(file, { event: (event) => counts.event(event), accepted: () => undefined }, { version });
  const sys = new SysConnected();
  const source = sysSourceOf(options, sys);
  const fleet = options.dir === undefined ? undefined : new FleetReader(options.dir);
  const view = (): TopView => {
    const log = counts.at(Date.now());
    // Of an old log, the end of it is what `--once` is asked for.
    const atMs = isOnce ? (log.newestMs ?? Date.now()) : Date.now();
    const { summary, problem } = fleet?.at(Date.now()) ?? {};
    const notices = [sys.problem, problem].filter((notice) => notice !== undefined);
    const offenders = monitor.topOffenders(OFFENDERS, atMs);
    return { atMs, log: counts.at(atMs), offenders, sysConnected: sys.connected, fleet: summary, notices };
  };
  const display = isOnce ? undefined : startDisplay(terminal, view, options.every, () => stop.request());
  source?.start();
  try {
    if (isOnce && source !== undefined) await sys.answered;
    await followLog(monitor, { file, once: isOnce, stop, onRead: () => display?.ready() });
  } finally {
    display?.close();
    monitor.close();
    await source?.close();
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

function asJson({ atMs, log, offenders, sysConnected, fleet, notices }: TopView): Json {
  const { alert, refused, denied, "taken-over": takenOver, "timed-out": timedOut, kicked, connected } = log.counts;
  const counted = { alerts: alert, refused, denied, takenOver, timedOut, kicked, letIn: connected };
  return {
    at: isoTime(atMs),
    version: log.version,
    connected: sysConnected ?? log.connected,
    connectedBy: sysConnected === undefined ? "log" : "sys",
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
class SysConnected {
  connected: number | undefined;
  problem: string | undefined;
  #answer: () => void = () => undefined;
  /** Settles with the first number, or the first failure to get one. */
  readonly answered = new Promise<void>((resolve) => (this.#answer = resolve));

  sysMessage(topic: string, payload: string): void {
    if (topic !== CONNECTED_TOPIC || !/^\d{1,9}$/.test(payload)) return;
    this.connected = Number(payload);
    this.#answer();
  }

  setUp(isUp: boolean): void {
    if (isUp) this.problem = undefined;
    else this.connected = undefined;
  }

  unreachable(reason: string): void {
    this.problem = `$SYS: ${reason}`;
    this.#answer();
  }
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
