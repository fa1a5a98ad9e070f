import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { auditConfig } from "../config-audit.js";
import type { DoctorReport } from "../finding.js";
import { allRules } from "../rule-book.js";
import { doctorPage } from "./doctor-page.js";
import { htmlReport } from "./doctor-report-page.js";
import { jsonReport } from "./json-report.js";
import { sarifReport } from "./sarif-report.js";
import { terminalReport } from "./terminal-report.js";

function reportOf(text: string): DoctorReport {
  const directory = mkdtempSync(join(tmpdir(), "hawser-doctor-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, "mosquitto.conf"), text);
  return auditConfig(join(directory, "mosquitto.conf"), { version: "2.0.11", nowMs: 0 });
}

const OPEN = "listener 1883\nallow_anonymous true\n";

test("docs/doctor.md is what the rule book says", async () => {
  await expect(doctorPage()).toMatchFileSnapshot("../../../docs/doctor.md");
});

test("every rule says why, what to do, and begins like a sentence", () => {
  for (const [id, { title, why, remedy }] of allRules()) {
    expect([id, title]).toEqual([id, expect.stringMatching(/^[A-Z].*[^.]$/) as string]);
    for (const text of [why, remedy]) expect([id, text]).toEqual([id, expect.stringMatching(/^\S.*\.$/) as string]);
  }
});

test("JSON has the grade, the place and the lines to paste", () => {
  expect(jsonReport(reportOf(OPEN))).toMatchObject({
    grade: "F",
    starts: true,
    counts: { critical: 1, high: 1 },
    findings: [
      {
        id: "HW020",
        severity: "critical",
        file: "mosquitto.conf",
        line: 2,
        text: "allow_anonymous true",
        fix: ["allow_anonymous false"],
        mendable: true,
      },
      { id: "HW040", severity: "high", line: 1, fix: ["listener 1883 127.0.0.1"] },
    ],
  });
});

test("SARIF names rule, level and line, and the file beside the one examined", () => {
  const sarif = sarifReport({ ...reportOf(OPEN), target: "broker/mosquitto.conf" }, "1.2.3");
  expect(sarif).toMatchObject({
    version: "2.1.0",
    runs: [
      {
        tool: { driver: { name: "hawser doctor", version: "1.2.3" } },
        results: [
          {
            ruleId: "HW020",
            level: "error",
            locations: [{ physicalLocation: { artifactLocation: { uri: "broker/mosquitto.conf" }, region: { startLine: 2 } } }],
          },
          { ruleId: "HW040", level: "error" },
        ],
      },
    ],
  });
});

test("HTML loads nothing and believes no text of a configuration", () => {
  const html = htmlReport(reportOf(`${OPEN}<script>alert(1)</script> "x"\n`), new Date(0));
  expect(html).not.toContain("<script");
  expect(html).toContain("&#60;script&#62;");
  expect(html).not.toMatch(/(src|href)=/);
  expect(html).toContain("default-src 'none'");
});

test("a terminal's lines fit into 80 columns, but for file names and lines to paste", () => {
  const lines = terminalReport(reportOf(OPEN), (_, text) => text);
  for (const line of lines.slice(1)) expect(line.length).toBeLessThanOrEqual(80);
  expect(lines.at(-1)).toBe("Grade F: 1 critical, 1 high.");
});
