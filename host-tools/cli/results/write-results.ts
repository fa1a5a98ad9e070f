/** Writes a result wherever it was asked for, and shows it to a person. */
import { appendFileSync, writeFileSync } from "node:fs";
import type { TopicSummary } from "../../../sim/program/program-plan.js";
import type { FleetResult } from "../../../sim/fleet/fleet-result.js";
import type { Json, Terminal } from "../terminal.js";
import { costText } from "./cost-text.js";
import { htmlReport } from "./run-report-page.js";
import { junitXml } from "./junit.js";
import { annotations, stepSummary } from "./step-summary.js";

export interface ResultFiles {
  readonly result?: string;
  readonly junit?: string;
  readonly html?: string;
}

/** In a GitHub step the summary and annotations are written without being asked for. */
export function writeResults(
  result: FleetResult,
  files: ResultFiles,
  env: Readonly<Record<string, string | undefined>>,
  terminal: Terminal,
): void {
  if (files.result !== undefined) writeFileSync(files.result, `${JSON.stringify(result, null, 2)}\n`);
  if (files.junit !== undefined) writeFileSync(files.junit, junitXml(result));
  if (files.html !== undefined) writeFileSync(files.html, htmlReport(result));
  const summary = env["GITHUB_STEP_SUMMARY"];
  if (summary === undefined || summary === "") return;
  appendFileSync(summary, stepSummary(result));
  for (const line of annotations(result)) terminal.line(line);
}

export function showResult(terminal: Terminal, result: FleetResult): void {
  const { samples: _samples, ...rest } = result;
  const { messages, delivery, connections, commands, answer } = result;
  const { qos0, qos1, qos2 } = messages.accepted;
  terminal.result({ event: "result", ...rest } as unknown as Json, [
    "",
    ...result.checks.map(
      ({ name, passed, detail }) => `${terminal.paint(passed ? "green" : "red", passed ? "passed" : "FAILED")} ${name}: ${detail}`,
    ),
    "",
    `messages     ${qos0 + qos1 + qos2} accepted, ${messages.delivered} delivered, ${messages.copiesAtQos1} copies at QoS 1`,
    ...(result.program ? result.program.topics.map(topicLine) : []),
    ...(delivery.count === 0 ? [] : [`delivery     p50 ${delivery.p50Ms} ms, p99 ${delivery.p99Ms} ms, most ${delivery.maxMs} ms`]),
    ...(commands.sent > 0
      ? [`commands     ${commands.answered} of ${commands.sent} answered, p50 ${answer.p50Ms} ms, p99 ${answer.p99Ms} ms`]
      : []),
    `connections  ${connections.most} at most, ${connections.attempts} attempts, ${connections.renewed} renewed`,
    `cost         ${costText(result)} (${result.client})`,
    `seed         ${result.seed}`,
  ]);
}

function topicLine({ topic, qos, count, leastBytes, mostBytes, example }: TopicSummary): string {
  const shown = example.length > 60 ? `${example.slice(0, 60)}...` : example;
  return `topic        ${topic}: ${count} at QoS ${qos}, ${leastBytes} to ${mostBytes} bytes, e.g. ${JSON.stringify(shown)}`;
}
