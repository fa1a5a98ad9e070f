import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { sarifFaults } from "../../../test/support/host-tools/sarif-structure.js";
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

const place = (file: string, line = 3): { file: string; line: number; text: string } => ({ file, line, text: "x" });
const finding = { id: "HW020", severity: "low", what: "x", fix: [], edits: [] } as const;

test.each<[DoctorReport["kind"], string, string | undefined, string]>([
  ["config", "broker/mosquitto.conf", "conf.d/a b.conf", "broker/conf.d/a%20b.conf"],
  ["config", "mosquitto.conf", "/etc/a.conf", "/etc/a.conf"],
  ["config", "100%#?\u00fc.conf", undefined, "100%25%23%3F%C3%BC.conf"],
  ["config", "a:b.conf", "c:d.conf", "c%3Ad.conf"],
  ["fleet", "my ca", undefined, "my%20ca"],
  ["live", "mqtts://[2001:db8::7]:8883", undefined, "mqtts://[2001:db8::7]:8883"],
])("SARIF of a %s report is valid for %j, and its place is a URI", (kind, target, file, uri) => {
  const report = { ...reportOf(OPEN), kind, target };
  const findings = [{ ...finding, place: file === undefined ? undefined : place(file) }, ...report.findings];
  const sarif = sarifReport({ ...report, findings: kind === "config" ? findings : findings.slice(0, 1) }, "1.2.3");
  expect(sarifFaults(sarif)).toEqual([]);
  expect(JSON.stringify(sarif)).toContain(`"artifactLocation":{"uri":"${uri}"}`);
});

test("SARIF of a report without findings, or of a file as a whole, is valid", () => {
  expect(sarifFaults(sarifReport({ ...reportOf(OPEN), findings: [] }, "1.2.3"))).toEqual([]);
  expect(sarifFaults(sarifReport({ ...reportOf(OPEN), findings: [{ ...finding, place: place("a.conf", 0) }] }, "1.2.3"))).toEqual([]);
});

test.each<[string, (text: string) => string]>([
  ["another version", (text) => text.replace('"2.1.0"', '"2.2.0"')],
  ["a level that there is not", (text) => text.replace('"level":"error"', '"level":"fatal"')],
  ["a member that there is not", (text) => text.replace('"ruleId"', '"rule_id"')],
  ["line 0", (text) => text.replace('"startLine":2', '"startLine":0')],
  ["a blank in a place", (text) => text.replace("mosquitto.conf", "mosquitto conf")],
  ["no message", (text) => text.replace(/"message":\{"text":"[^"]*"\}/, '"message":{}')],
])("the check of SARIF finds %s", (_what, spoil) => {
  const good = JSON.stringify(sarifReport({ ...reportOf(OPEN), target: "mosquitto.conf" }, "1.2.3"));
  expect(sarifFaults(JSON.parse(good))).toEqual([]);
  expect(spoil(good)).not.toBe(good);
  expect(sarifFaults(JSON.parse(spoil(good)))).not.toEqual([]);
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
