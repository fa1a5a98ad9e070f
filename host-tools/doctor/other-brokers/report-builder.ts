/** Collects what is found in a configuration whose files are read, but not played through. */
import { sortFindings } from "../finding.js";
import type { DoctorReport, Edit, Finding, Note, Place, Severity } from "../finding.js";
import { ruleOf } from "../rule-book.js";
import type { RuleId } from "../rule-book.js";

export class ReportBuilder {
  readonly #findings: Finding[] = [];
  readonly #notes: Note[] = [];

  find(
    id: RuleId,
    what: string,
    place: Place | undefined,
    options: { severity?: Severity; fix?: readonly string[]; edits?: readonly Edit[] } = {},
  ): void {
    const { severity = ruleOf(id).severity, edits = [], fix = edits.flatMap(({ lines }) => lines) } = options;
    this.#findings.push({ id, severity, what, place, fix, edits });
  }

  note(what: string, place?: Place): void {
    this.#notes.push({ what, place });
  }

  report(target: string, broker: string, version: string, checked: readonly string[]): DoctorReport {
    return { kind: "config", target, broker, version, findings: sortFindings(this.#findings), notes: this.#notes, checked };
  }
}

/** Addresses that only this machine reaches. */
export function isLoopbackBind(bind: string): boolean {
  return /^\[?(127(\.\d+){3}|::1|localhost)\]?(:\d+)?$/i.test(bind.trim().replace(/^.*:\/\//, ""));
}

/** Of suites written out by OpenSSL's or the standard's names, those that nobody should use. */
export function weakSuites(suites: readonly string[]): readonly string[] {
  return suites.filter((suite) => /(^|[-_])(RC4|3DES|DES|CBC3|NULL|MD5|EXP(ORT)?|ADH|AECDH|anon|SEED|IDEA|RC2)([-_]|$)/i.test(suite));
}

/** Passwords of vendors' defaults and of the lists that every scanner begins with. */
export function isWellKnown(user: string, password: string): boolean {
  return (
    password !== "" &&
    (password === user || /^(admin|password|public|guest|mqtt|123456|12345678|changeme|secret|test|root)$/i.test(password))
  );
}
