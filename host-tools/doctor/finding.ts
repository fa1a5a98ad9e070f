/** What a doctor says: findings with a place and a remedy, notes that are no alarm, and the grade they add up to. */
import type { RuleId } from "./rule-book.js";

/**
 * From worst to least. `critical`: anybody has everything; `high`: a way in, or nobody gets in; `medium`: weaker than it looks; `low`:
 * without effect.
 */
export const SEVERITIES = ["critical", "high", "medium", "low"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** A line of a file. `file` is the path as the configuration names it, below the directory of the main file where possible. */
export interface Place {
  readonly file: string;
  /** Counted from 1; 0 when the whole file is meant. */
  readonly line: number;
  readonly text: string;
}

/** How `--fix` mends a finding: a change of one line. `after` inserts below the line, at the top of the file when the line is 0. */
export interface Edit {
  readonly place: Place;
  readonly action: "replace" | "remove" | "after";
  readonly lines: readonly string[];
}

export interface Finding {
  readonly id: RuleId;
  readonly severity: Severity;
  /** What is wrong here, in one or two sentences, with the names and ports of this broker. */
  readonly what: string;
  readonly place?: Place | undefined;
  /** Lines to paste, or commands to run. */
  readonly fix: readonly string[];
  /** What `--fix` does; empty when only a person can decide. */
  readonly edits: readonly Edit[];
}

/** Worth knowing, but not a defect: never counts for the grade or the exit code. */
export interface Note {
  readonly what: string;
  readonly place?: Place | undefined;
}

export type Grade = "A" | "B" | "C" | "D" | "F";

export interface DoctorReport {
  readonly kind: "config" | "live" | "fleet";
  /** What was examined: a file, a URL or a directory. */
  readonly target: string;
  readonly broker: string;
  /** The version the verdict holds for. */
  readonly version: string;
  /** Whether a broker starts with this configuration; left out where that is not the question. */
  readonly starts?: boolean | undefined;
  readonly findings: readonly Finding[];
  readonly notes: readonly Note[];
  /** What was looked at, for the reader who wonders. */
  readonly checked: readonly string[];
}

/** Worst first, then by file and line. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  const rank = (finding: Finding): number => SEVERITIES.indexOf(finding.severity);
  return [...findings].sort(
    (a, b) => rank(a) - rank(b) || (a.place?.file ?? "").localeCompare(b.place?.file ?? "") || (a.place?.line ?? 0) - (b.place?.line ?? 0),
  );
}

export function countOf(findings: readonly Finding[], severity: Severity): number {
  return findings.filter((finding) => finding.severity === severity).length;
}

/** A: nothing found. B: low ones. C: medium ones. D: one or two high ones. F: a critical one, or three high ones. */
export function gradeOf(findings: readonly Finding[]): Grade {
  const high = countOf(findings, "high");
  if (countOf(findings, "critical") > 0 || high >= 3) return "F";
  if (high > 0) return "D";
  if (countOf(findings, "medium") > 0) return "C";
  return findings.length > 0 ? "B" : "A";
}

/** Whether any finding is at least as bad as `threshold`. */
export function reaches(findings: readonly Finding[], threshold: Severity): boolean {
  return findings.some(({ severity }) => SEVERITIES.indexOf(severity) <= SEVERITIES.indexOf(threshold));
}
