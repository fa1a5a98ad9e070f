/** A report in SARIF 2.1.0, which code hosts and editors show beside the lines. */
import { dirname, isAbsolute, join } from "node:path";
import { allRules, ruleOf } from "../rule-book.js";
import type { DoctorReport, Finding, Severity } from "../finding.js";

const LEVELS: Readonly<Record<Severity, string>> = { critical: "error", high: "error", medium: "warning", low: "note" };
/** `security-severity`, on CVSS's scale: what code hosts sort by. */
const SCORES: Readonly<Record<Severity, string>> = { critical: "9.5", high: "8.0", medium: "5.5", low: "2.0" };

export function sarifReport(report: DoctorReport, hawserVersion: string): Record<string, unknown> {
  const ids = allRules().map(([id]) => id);
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "hawser doctor",
            version: hawserVersion,
            rules: allRules().map(([id, { title, why, remedy, severity }]) => ({
              id,
              shortDescription: { text: title },
              fullDescription: { text: why },
              help: { text: remedy },
              defaultConfiguration: { level: LEVELS[severity] },
              properties: { "security-severity": SCORES[severity], tags: ["security", "mqtt"] },
            })),
          },
        },
        results: report.findings.map((finding) => result(report, finding, ids.indexOf(finding.id))),
      },
    ],
  };
}

function result(report: DoctorReport, { id, severity, what, place, fix }: Finding, ruleIndex: number): Record<string, unknown> {
  const remedy = fix.length > 0 ? fix.join("\n") : ruleOf(id).remedy;
  const uri = placeOf(report, place);
  const region = place === undefined || place.line === 0 ? {} : { region: { startLine: place.line, snippet: { text: place.text } } };
  return {
    ruleId: id,
    ruleIndex,
    level: LEVELS[severity],
    message: { text: `${what}\nFix:\n${remedy}` },
    locations: [{ physicalLocation: { artifactLocation: { uri }, ...region } }],
    properties: { severity, "security-severity": SCORES[severity] },
  };
}

/** A URI reference, as the format asks: a broker's URL, or the path of the file with everything escaped that has a meaning in a URI. */
function placeOf({ kind, target }: DoctorReport, place: Finding["place"]): string {
  if (place === undefined && kind === "live") return target;
  const file = place?.file ?? target;
  const isBeside = kind === "config" && place !== undefined && !isAbsolute(file);
  return (isBeside ? join(dirname(target), file) : file).split("/").map(encodeURIComponent).join("/");
}
