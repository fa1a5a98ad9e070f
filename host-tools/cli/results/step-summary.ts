/** A result as GitHub shows it: the step's summary in Markdown, and an annotation for each failed check. */
import type { FleetResult } from "../../../sim/fleet/fleet-result.js";
import { costText } from "./cost-text.js";

export function stepSummary(result: FleetResult): string {
  const { messages, connections, delivery } = result;
  const rows: readonly (readonly [string, string])[] = [
    ["devices", `${result.devices} by ${result.client}, ${connections.most} online at most`],
    ["broker", result.broker],
    ["messages", `${sum(messages.accepted)} accepted, ${messages.delivered} delivered, ${messages.faultCount} faults`],
    ["delivery", delivery.count === 0 ? "not measured" : `p50 ${delivery.p50Ms} ms, p99 ${delivery.p99Ms} ms, most ${delivery.maxMs} ms`],
    ["connections", `${connections.accepted} accepted in ${connections.attempts} attempts`],
    ["cost", costText(result)],
    ["seed", `\`${result.seed.replace(/`/g, "")}\``],
  ];
  return [
    `### ${result.passed ? "\u2705" : "\u274c"} hawser: ${cell(result.name)}`,
    "",
    "| check | | |",
    "|---|---|---|",
    ...result.checks.map(({ name, passed, detail }) => `| ${cell(name)} | ${passed ? "\u2705" : "\u274c"} | ${cell(detail)} |`),
    "",
    "| | |",
    "|---|---|",
    ...rows.map(([name, text]) => `| ${name} | ${cell(text)} |`),
    "",
    "",
  ].join("\n");
}

/** Workflow commands: GitHub reads them from the output of a step. */
export function annotations(result: FleetResult): string[] {
  const data = (text: string): string => text.replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A");
  const property = (text: string): string => data(text).replace(/:/g, "%3A").replace(/,/g, "%2C");
  return result.checks
    .filter(({ passed }) => !passed)
    .map(({ name, detail }) => `::error title=${property(`${result.name}: ${name}`)}::${data(detail)}`);
}

function cell(text: string): string {
  return text
    .replace(/[\r\n]+/g, " ")
    .replace(/\\/g, "\\\\")
    .replace(/\|/g, "\\|")
    .replace(/</g, "&lt;");
}

function sum({ qos0, qos1, qos2 }: { qos0: number; qos1: number; qos2: number }): number {
  return qos0 + qos1 + qos2;
}
