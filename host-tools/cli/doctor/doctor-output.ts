/** What becomes of a doctor's report: the terminal, files, the exit code. */
import { writeFileSync } from "node:fs";
import { reaches } from "../../doctor/finding.js";
import type { DoctorReport, Severity } from "../../doctor/finding.js";
import { htmlReport } from "../../doctor/reports/doctor-report-page.js";
import { sarifReport } from "../../doctor/reports/sarif-report.js";
import type { Context } from "../command-runner.js";
import { EXIT } from "../exit-codes.js";

export interface ReportOptions {
  json?: boolean;
  sarif?: string;
  html?: string;
  failOn: Severity | "never";
}

/** Writes the report's files and settles the exit code. */
export function keepReport(report: DoctorReport, { sarif, html, failOn }: ReportOptions, { terminal }: Context): void {
  if (sarif !== undefined) writeFileSync(sarif, `${JSON.stringify(sarifReport(report, HAWSER_VERSION), null, 2)}\n`);
  if (html !== undefined) writeFileSync(html, htmlReport(report, new Date()));
  for (const file of [sarif, html]) if (file !== undefined) terminal.note(`Written: ${file}`);
  if (failOn !== "never" && reaches(report.findings, failOn)) process.exitCode = EXIT.findings;
}
