import { describe, expect, it } from "vitest";
import type { FleetResult } from "../../../sim/fleet/fleet-result.js";
import { htmlReport } from "./run-report-page.js";
import { junitXml } from "./junit.js";
import { annotations, stepSummary } from "./step-summary.js";

const quantiles = { count: 1, p50Ms: 1, p90Ms: 2, p99Ms: 3, p999Ms: 4, maxMs: 5 };
const hostile = 'a|b <script>alert("1")</script> & ]]> \u0000 100%\n::error::x';
const sample = { connected: 1, asleep: 0, attempts: 1, messages: 1, waiting: 0, p50Ms: 1, p99Ms: 1, rssMb: 50, byCredential: { mtls: 1 } };
const result: FleetResult = {
  v: 1,
  name: hostile,
  seed: hostile,
  client: "hawser",
  broker: hostile,
  startedAt: "2026-01-01T00:00:00.000Z",
  durationMs: 1_500,
  devices: 1,
  workers: 1,
  passed: false,
  checks: [
    { name: "good", passed: true, detail: "fine" },
    { name: hostile, passed: false, detail: hostile },
  ],
  messages: {
    accepted: { qos0: 0, qos1: 1, qos2: 0 },
    delivered: 1,
    copiesAtQos1: 0,
    lostAtQos0: 0,
    refused: 0,
    faults: [],
    faultCount: 0,
  },
  commands: { sent: 0, answered: 0, unanswered: [] },
  delivery: quantiles,
  answer: quantiles,
  connections: { most: 1, accepted: 1, attempts: 1, allOnlineMs: 100, renewed: 0, devicesByCredential: {} },
  failures: { [hostile]: 1 },
  cost: { kilobytesPerDevice: 1, cpuPercentPerThousand: 1, cpuMicrosPerMessage: 1 },
  samples: [
    { atMs: 0, ...sample },
    { atMs: 1_000, ...sample },
  ],
  events: [{ atMs: 500, what: hostile }],
};

describe("results whatever the texts in them are", () => {
  it("give JUnit XML with a case a check and no byte that XML 1.0 forbids", () => {
    const xml = junitXml(result);
    expect(xml.match(/<testcase /g)).toHaveLength(2);
    expect(xml).toContain('tests="2" failures="1"');
    expect(xml).not.toMatch(/<script|[\u0000-\u0008]/);
  });

  it("give a summary whose tables keep their columns, and one annotation a failed check on one line", () => {
    const rows = stepSummary(result)
      .split("\n")
      .filter((line) => line.startsWith("|"));
    for (const row of rows) expect(row.replace(/\\\|/g, "").match(/\|/g)?.length).toBeGreaterThanOrEqual(3);
    expect(stepSummary(result)).not.toContain("<script");
    expect(annotations(result)).toHaveLength(1);
    expect(annotations(result)[0]).toMatch(/^::error title=[^\n]*::[^\n]*100%25%0A::error::x$/);
  });

  it("give one HTML file without script and without anything from elsewhere", () => {
    const html = htmlReport(result);
    expect(html).not.toMatch(/<script|<link|src=|href=|url\(|https?:/);
    expect(html.match(/<svg/g)).toHaveLength(7);
    expect(html).not.toContain("NaN");
  });

  it("give no time where none was measured", () => {
    const nothing = { count: 0, p50Ms: 0, p90Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 };
    const unmeasured = { ...result, delivery: nothing, answer: nothing };
    for (const text of [stepSummary(unmeasured), htmlReport(unmeasured)]) expect(text).not.toMatch(/\b0 ms/);
    expect(stepSummary(unmeasured)).toContain("| delivery | not measured |");
  });
});
