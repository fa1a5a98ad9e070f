/** A report for a person at a terminal, 80 columns wide. */
import { countOf, gradeOf, SEVERITIES } from "../finding.js";
import type { DoctorReport, Finding, Severity } from "../finding.js";
import { ruleOf } from "../rule-book.js";

const WIDTH = 80;

export type Paint = (colour: "bold" | "dim" | "red" | "green" | "yellow" | "cyan", text: string) => string;

const COLOURS = { critical: "red", high: "red", medium: "yellow", low: "cyan" } as const satisfies Record<Severity, string>;

export function terminalReport(report: DoctorReport, paint: Paint): string[] {
  const { findings, notes } = report;
  const grade = gradeOf(findings);
  const subject = `${report.target}: ${report.broker} ${report.version}`;
  const counts = SEVERITIES.filter((severity) => countOf(findings, severity) > 0).map(
    (severity) => `${countOf(findings, severity)} ${severity}`,
  );
  const lines = [...wrap(paint("bold", subject), ""), ""];
  for (const finding of findings) lines.push(...findingLines(finding, paint), "");
  if (notes.length > 0)
    lines.push(paint("bold", "Notes"), ...notes.flatMap(({ what, place }) => wrap(`${placeText(place)}${what}`, "  ", "- ")), "");
  const starts = report.starts === false ? " The broker does not start with it." : "";
  lines.push(
    paint(
      grade === "A" || grade === "B" ? "green" : "red",
      `Grade ${grade}: ${counts.length === 0 ? "nothing found" : counts.join(", ")}.${starts}`,
    ),
  );
  return lines;
}

function findingLines({ id, severity, what, place, fix }: Finding, paint: Paint): string[] {
  const head = `${paint(COLOURS[severity], severity.toUpperCase())} ${id} ${placeText(place).replace(/: $/, "")}`.trimEnd();
  const remedy = fix.length > 0 ? fix.map((line) => `      ${line}`) : wrap(ruleOf(id).remedy, "      ");
  return [
    head,
    ...wrap(what, "  "),
    ...(place === undefined || place.text === "" ? [] : [paint("dim", `  > ${place.text.slice(0, WIDTH - 4)}`)]),
    "  Fix:",
    ...remedy,
  ];
}

function placeText(place: Finding["place"]): string {
  if (place === undefined || place.file === "") return "";
  return place.line === 0 ? `${place.file}: ` : `${place.file}:${place.line}: `;
}

/** Breaks text at blanks; `bullet` stands before the first line. */
export function wrap(text: string, indent: string, bullet = "", columns = WIDTH): string[] {
  const lines: string[] = [];
  const room = columns - indent.length - bullet.length;
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((content, index) => `${indent}${index === 0 ? bullet : " ".repeat(bullet.length)}${content}`);
}

/** The page of `hawser doctor --explain`. */
export function explainLines(id: Finding["id"], paint: Paint): string[] {
  const { title, severity, why, remedy, live, references } = ruleOf(id);
  const part = (name: string, text: string | undefined): string[] =>
    text === undefined ? [] : ["", paint("bold", name), ...wrap(text, "  ")];
  return [
    `${paint("bold", id)} ${title}`,
    `Severity: ${severity}`,
    ...part("Why", why),
    ...part("Remedy", remedy),
    ...part("Live", live),
    ...part("See", references.length === 0 ? undefined : references.join("; ")),
  ];
}
