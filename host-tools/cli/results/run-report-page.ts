/** A result as one HTML file that needs nothing else: plots are SVG drawn here, no script, no network. */
import type { TopicSummary } from "../../../sim/program/program-plan.js";
import type { FleetResult, Sample } from "../../../sim/fleet/fleet-result.js";
import { costText } from "./cost-text.js";

interface Line {
  readonly name: string;
  readonly colour: string;
  readonly of: (sample: Sample, before: Sample | undefined) => number;
}

const WIDTH = 860;
const HEIGHT = 220;
const LEFT = 70;
const BOTTOM = 30;
/** The legend stands above the curves. */
const TOP = 30;
/** Room for half of the last label. */
const RIGHT = 30;
/** More labels run into each other. */
const MOST_TIMES = 9;
const TIME_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400];
/** More points than pixels show nothing. */
const MOST_POINTS = 800;

interface Plot {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
  /** Left out where this says no: it was not measured. */
  readonly needs?: (result: FleetResult) => boolean;
}

const PLOTS: readonly Plot[] = [
  {
    title: "Connections",
    unit: "devices",
    lines: [
      { name: "connected", colour: "#1a7f37", of: ({ connected }) => connected },
      { name: "asleep", colour: "#8c959f", of: ({ asleep }) => asleep },
    ],
  },
  {
    title: "Attempts to connect",
    unit: "a second",
    lines: [{ name: "attempts", colour: "#bc4c00", of: rate((sample) => sample.attempts) }],
  },
  {
    title: "Credentials in use",
    unit: "devices",
    lines: [
      { name: "mtls", colour: "#0969da", of: ({ byCredential }) => byCredential["mtls"] ?? 0 },
      { name: "psk", colour: "#cf222e", of: ({ byCredential }) => byCredential["psk"] ?? 0 },
    ],
  },
  {
    title: "Messages delivered",
    unit: "a second",
    lines: [{ name: "messages", colour: "#0969da", of: rate((sample) => sample.messages) }],
  },
  {
    title: "Messages that wait on devices",
    unit: "messages",
    lines: [{ name: "waiting", colour: "#8250df", of: ({ waiting }) => waiting }],
  },
  {
    title: "Delivery since the start, end to end",
    unit: "ms",
    needs: ({ delivery }) => delivery.count > 0,
    lines: [
      { name: "p50", colour: "#1a7f37", of: ({ p50Ms = 0 }) => p50Ms },
      { name: "p99", colour: "#cf222e", of: ({ p99Ms = 0 }) => p99Ms },
    ],
  },
  {
    title: "Memory of the fleet's processes",
    unit: "MB",
    lines: [{ name: "RSS", colour: "#57606a", of: ({ rssMb }) => rssMb }],
    needs: ({ samples }) => samples.some(({ rssMb }) => rssMb > 0),
  },
];

export function htmlReport(result: FleetResult): string {
  const { messages, connections, delivery } = result;
  const accepted = messages.accepted.qos0 + messages.accepted.qos1 + messages.accepted.qos2;
  const facts: readonly (readonly [string, string])[] = [
    ["Devices", `${result.devices}, client ${result.client}, ${result.workers} workers`],
    ["Broker", result.broker],
    ["Started", `${result.startedAt}, ${(result.durationMs / 1000).toFixed(1)} s`],
    ["Seed", result.seed],
    [
      "Messages",
      `${accepted} accepted (${messages.accepted.qos0} at QoS 0, ${messages.accepted.qos1} at QoS 1, ${messages.accepted.qos2} at QoS 2), ${messages.delivered} delivered, ${messages.copiesAtQos1} copies at QoS 1, ${messages.refused} not accepted`,
    ],
    ["Commands", commandsText(result)],
    ...(result.program
      ? [["Program", `${result.program.source}, subscribed to ${result.program.filters.join(", ") || "nothing"}`] as const]
      : []),
    [
      "Delivery",
      delivery.count === 0
        ? "not measured"
        : `p50 ${delivery.p50Ms}, p90 ${delivery.p90Ms}, p99 ${delivery.p99Ms}, p99.9 ${delivery.p999Ms}, most ${delivery.maxMs} ms`,
    ],
    ["Connections", `${connections.accepted} accepted, ${connections.attempts} attempts, ${connections.renewed} certificates renewed`],
    ["Cost", costText(result)],
  ];
  const failures = Object.entries(result.failures).sort((a, b) => b[1] - a[1]);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${text(result.name)}: ${result.passed ? "passed" : "failed"}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #d0d7de;padding:.3rem .6rem .3rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}
td:first-child{white-space:nowrap}.passed{color:#1a7f37}.failed{color:#cf222e;font-weight:600}svg{width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:#57606a}
</style></head><body>
<h1>${text(result.name)}: <span class="${result.passed ? "passed" : "failed"}">${result.passed ? "passed" : "failed"}</span></h1>
<table>${result.checks.map(({ name, passed, detail }) => `<tr><td class="${passed ? "passed" : "failed"}">${passed ? "passed" : "failed"}</td><td>${text(name)}</td><td>${text(detail)}</td></tr>`).join("")}</table>
<h2>What was run</h2>
<table>${facts.map(([name, value]) => `<tr><td>${name}</td><td>${text(value)}</td></tr>`).join("")}</table>
${result.program ? topicTable(result.program.topics) : ""}
${PLOTS.filter(({ needs }) => needs?.(result) ?? true)
  .map(({ title, unit, lines }) => plot(title, unit, lines, result))
  .join("\n")}
<h2>Failures by code</h2>
${failures.length === 0 ? "<p>none</p>" : `<table>${failures.map(([code, count]) => `<tr><td>${count}</td><td>${text(code)}</td></tr>`).join("")}</table>`}
</body></html>
`;
}

/** A program's commands are taken, not answered, and how long that took is not measured. */
function commandsText({ commands, answer, program }: FleetResult): string {
  if (program) return `${program.commands.sent} sent, ${program.commands.taken} taken by the program`;
  const took = answer.count === 0 ? "" : `, p50 ${answer.p50Ms} ms, p99 ${answer.p99Ms} ms`;
  return `${commands.sent} sent, ${commands.answered} answered${took}`;
}

function topicTable(topics: readonly TopicSummary[]): string {
  const rows = topics.map(
    ({ topic, qos, count, leastBytes, mostBytes, example }) =>
      `<tr><td>${text(topic)}</td><td>${qos}</td><td>${count}</td><td>${leastBytes} to ${mostBytes}</td><td>${text(example)}</td></tr>`,
  );
  return `<h2>What the program publishes</h2>\n<table><tr><th>topic</th><th>QoS</th><th>messages</th><th>bytes</th><th>first payload</th></tr>${rows.join("")}</table>`;
}

function plot(title: string, unit: string, lines: readonly Line[], { samples, events }: FleetResult): string {
  const step = Math.max(1, Math.ceil(samples.length / MOST_POINTS));
  const shown = samples.filter((_, index) => index % step === 0);
  const lastMs = Math.max(1_000, samples.at(-1)?.atMs ?? 0);
  const values = lines.map((line) => shown.map((sample, index) => line.of(sample, shown[index - 1])));
  const most = niceCeiling(Math.max(1, ...values.flat()));
  const x = (atMs: number): number => LEFT + (Math.max(0, Math.min(atMs, lastMs)) / lastMs) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
  const grid = [0, 0.5, 1].map(
    (share) =>
      `<path d="M${LEFT} ${y(most * share)}H${WIDTH - RIGHT}" stroke="#d0d7de"/><text x="${LEFT - 6}" y="${y(most * share) + 4}" text-anchor="end">${number(most * share)}</text>`,
  );
  const times = timesUpTo(lastMs).map(
    (atMs) => `<text x="${x(atMs).toFixed(1)}" y="${HEIGHT - 8}" text-anchor="middle">${clock(atMs)}</text>`,
  );
  const marks = events.map(
    ({ atMs, what }) =>
      `<path d="M${x(atMs)} ${TOP}V${HEIGHT - BOTTOM}" stroke="#bf8700" stroke-dasharray="3 3"><title>${text(what)}</title></path>`,
  );
  const curves = lines.map(
    ({ colour }, at) =>
      `<polyline fill="none" stroke="${colour}" stroke-width="1.6" points="${shown.map((sample, index) => `${x(sample.atMs).toFixed(1)},${y(values[at]?.[index] ?? 0).toFixed(1)}`).join(" ")}"/>`,
  );
  const legend = lines.map(
    ({ name, colour }, at) =>
      `<rect x="${LEFT + at * 110}" y="6" width="10" height="10" fill="${colour}"/><text x="${LEFT + 14 + at * 110}" y="15">${name}</text>`,
  );
  return `<h2>${title} (${unit})</h2>\n<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">${[...grid, ...times, ...marks, ...curves, ...legend].join("")}</svg>`;
}

/** Round moments from 0 on. */
function timesUpTo(lastMs: number): number[] {
  const longest = TIME_STEPS_S.at(-1) ?? 1;
  const stepS =
    TIME_STEPS_S.find((step) => lastMs / 1_000 / step < MOST_TIMES) ?? longest * Math.ceil(lastMs / 1_000 / longest / MOST_TIMES);
  return Array.from({ length: Math.floor(lastMs / 1_000 / stepS) + 1 }, (_, index) => index * stepS * 1_000);
}

/** `45 s`, `2:30`, `3 h`, `2 d`. */
function clock(atMs: number): string {
  const seconds = Math.round(atMs / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  return seconds < 86_400 ? `${number(seconds / 3_600)} h` : `${number(seconds / 86_400)} d`;
}

function rate(of: (sample: Sample) => number): Line["of"] {
  return (sample, before) => (before === undefined ? 0 : (of(sample) - of(before)) / Math.max(0.001, (sample.atMs - before.atMs) / 1000));
}

/** 1, 2 or 5 times a power of ten. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10) * power;
}

function number(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : String(Math.round(value * 10) / 10);
}

function text(raw: string): string {
  return raw.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
