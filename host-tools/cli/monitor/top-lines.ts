/** The table of `hawser monitor top`: 80 columns, and nothing of a sender's text that a terminal would act on. */
import type { Offender } from "../../monitor/offender-watch.js";
import type { Recent } from "../../monitor/top/recent-count.js";
import type { FleetSummary } from "../../monitor/authority/fleet-summary.js";
import type { TopSnapshot } from "../../monitor/top/top-counts.js";
import { day } from "../dates.js";
import type { Colour } from "../terminal.js";

export const TOP_COLUMNS = 80;

/** Everything that is shown at one time. */
export interface TopView {
  readonly atMs: number;
  readonly log: TopSnapshot;
  readonly offenders: readonly Offender[];
  /** What the log or the numbers are of. */
  readonly broker: keyof typeof BROKERS;
  /** Connected clients as the broker counts them; undefined where it is not asked, or out of reach. */
  readonly brokersCount?: number | undefined;
  readonly fleet?: FleetSummary | undefined;
  /** What is wrong: the broker out of reach, or the CA that cannot be read. */
  readonly notices: readonly string[];
}

export interface TopLine {
  readonly text: string;
  readonly colour?: Colour | undefined;
}

/** Each by its name, and by what it counts its clients. */
const BROKERS = {
  mosquitto: ["mosquitto", "by $SYS"],
  embedded: ["embedded broker", "by the log"],
  rabbitmq: ["RabbitMQ", "by RabbitMQ, every protocol"],
} as const;

const LABEL_COLUMNS = 26;
const COUNT_COLUMNS = 14;
const RULE_COLUMNS = 18;
const BY_COLUMNS = 15;
const SCORE_COLUMNS = 8;
const MOST_SCORE = 999_999;
const BY: Readonly<Record<Offender["by"], string>> = { address: "address", client: "client", claimedClient: "calls itself" };

export function topLines({ atMs, log, offenders, broker, brokersCount, fleet, notices }: TopView): TopLine[] {
  const { counts, refusals } = log;
  const time = `${new Date(atMs).toISOString().slice(0, 19)}Z`;
  const [name, counter] = BROKERS[broker];
  const hasLog = broker !== "rabbitmq";
  const connected = brokersCount ?? (hasLog ? log.connected : "?");
  const least = brokersCount === undefined && log.isConnectedFull ? "at least " : "";
  const source = brokersCount === undefined && hasLog ? "by the log" : counter;
  const reasons = Object.entries(refusals).filter(([, { total }]) => total > 0);
  const lines: TopLine[] = [
    { text: `${log.version === undefined ? name : `${name} ${shownText(log.version, 20)}`}  ${time}`, colour: "bold" },
    ...notices.map((notice) => ({ text: shownText(notice, TOP_COLUMNS), colour: "red" as const })),
    { text: `connected ${least}${connected} (${source})` },
    { text: "" },
    {
      text: `${"".padEnd(LABEL_COLUMNS)}${["last minute", "last hour", "since start"].map((head) => head.padStart(COUNT_COLUMNS)).join("")}`,
      colour: "dim",
    },
    countLine("alerts", counts.alert, "red"),
    countLine("refused", counts.refused, "yellow"),
    ...reasons.map(([reason, count]) => countLine(`  ${reason}`, count)),
    countLine("denied publishes", counts.denied, "yellow"),
    countLine("taken over", counts["taken-over"], "yellow"),
    countLine("timed out", counts["timed-out"]),
    countLine("kicked", counts.kicked),
    countLine("let in", counts.connected),
    { text: "" },
    { text: offenders.length === 0 ? "no offenders in the last minutes" : "top offenders", colour: "dim" },
    ...offenders.map(offenderLine),
  ];
  return fleet === undefined ? lines : [...lines, { text: "" }, ...fleetLines(fleet)];
}

function countLine(label: string, { lastMinute, lastHour, total }: Recent, colour?: Colour): TopLine {
  const numbers = [lastMinute, lastHour, total].map((count) => String(count).padStart(COUNT_COLUMNS)).join("");
  return { text: `${label.padEnd(LABEL_COLUMNS)}${numbers}`, colour: lastHour > 0 ? colour : undefined };
}

function offenderLine({ rule, by, offender, score }: Offender): TopLine {
  const left = `  ${rule.padEnd(RULE_COLUMNS)}${BY[by].padEnd(BY_COLUMNS)}`;
  const columns = TOP_COLUMNS - left.length - SCORE_COLUMNS;
  return {
    text: `${left}${shownText(offender, columns).padEnd(columns)}${String(Math.min(MOST_SCORE, Math.round(score))).padStart(SCORE_COLUMNS)}`,
  };
}

function fleetLines({ names, states, expiring, enrolments }: FleetSummary): TopLine[] {
  const by = Object.entries(states).map(([state, count]) => `${count} ${state}`);
  const first = expiring.first.map(({ name, notAfterMs }) => `${shownText(name, 40)} ${day(notAfterMs)}`);
  return [
    { text: shownText(`names ${names}: ${by.join(", ")}`, TOP_COLUMNS) },
    { text: `enrolments in the last hour: ${enrolments.issued} issued, ${enrolments.refused} refused` },
    { text: `certificates that end within 14 days: ${expiring.count}`, colour: expiring.count > 0 ? "yellow" : undefined },
    ...first.map((text) => ({ text: `  ${text}` })),
  ];
}

/** Printable ASCII alone: control characters, directions of writing and letters that look alike become escapes. Cut to the columns. */
export function shownText(text: string, columns: number): string {
  const escaped = text.slice(0, columns).replace(/[^ -[\]-~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return escaped.length === text.length && text.length <= columns ? text : cut(escaped, columns, text.length > columns);
}

function cut(text: string, columns: number, isPart: boolean): string {
  return text.length <= columns && !isPart ? text : `${text.slice(0, columns - 2)}..`;
}
