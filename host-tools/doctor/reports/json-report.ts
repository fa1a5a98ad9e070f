/** A report for scripts. */
import { countOf, gradeOf, SEVERITIES } from "../finding.js";
import type { DoctorReport } from "../finding.js";
import { ruleOf } from "../rule-book.js";

export function jsonReport(report: DoctorReport): Record<string, unknown> {
  const { kind, target, broker, version, starts, findings, notes, checked } = report;
  return {
    kind,
    target,
    broker,
    version,
    ...(starts === undefined ? {} : { starts }),
    grade: gradeOf(findings),
    counts: Object.fromEntries(SEVERITIES.map((severity) => [severity, countOf(findings, severity)])),
    findings: findings.map(({ id, severity, what, place, fix, edits }) => {
      const { title, why, live, references } = ruleOf(id);
      return {
        id,
        severity,
        title,
        what,
        file: place?.file,
        line: place?.line,
        text: place?.text,
        why,
        fix,
        mendable: edits.length > 0,
        live,
        references,
      };
    }),
    notes: notes.map(({ what, place }) => ({ what, file: place?.file, line: place?.line })),
    checked,
  };
}
