/** Checks a policy, alone or against the names it is for. */
import { HawserError } from "../../../sdk/errors.js";
import { checkPolicy } from "../../policy/policy-check.js";
import { parsePolicy } from "../../policy/policy-file.js";
import { PolicyError } from "../../policy/policy-text.js";
import type { Finding } from "../../policy/policy-text.js";
import type { Context } from "../command-runner.js";
import { loadNames, policyText } from "./policy-place.js";
import type { PolicySources } from "./policy-place.js";
import { printable } from "../terminal.js";
import type { Json } from "../terminal.js";

export interface CheckOptions extends PolicySources {
  strict?: boolean;
}

export async function check(options: CheckOptions, { terminal }: Context): Promise<void> {
  const { text, file } = policyText(options);
  const names = loadNames(options);
  const findings = findingsOf(text, file, names);
  const errors = findings.filter(({ level }) => level === "error").length;
  const warnings = findings.length - errors;
  const summary = findings.length === 0 ? `${file}: nothing to complain about` : `${file}: ${errors} errors, ${warnings} warnings`;
  terminal.result({ ok: errors === 0, policy: file, findings: findings.map(asJson) }, [
    ...findings.map((finding) => findingLine(file, finding)),
    summary,
  ]);
  if (errors > 0) throw new HawserError("POLICY_INVALID", `${file} has ${errors} errors`, "Fix the lines above, then check again.");
  if (warnings > 0 && options.strict === true)
    throw new HawserError("POLICY_DOUBTFUL", `${file} has ${warnings} warnings`, "Fix the lines above, or check without --strict.");
}

function findingsOf(text: string, file: string, names: Parameters<typeof checkPolicy>[1]): readonly Finding[] {
  try {
    return checkPolicy(parsePolicy(text, file), names);
  } catch (error) {
    if (error instanceof PolicyError) return error.findings;
    throw error;
  }
}

function asJson({ level, code, message, source }: Finding): Json {
  return { level, code, message, line: source?.line, path: source?.path };
}

function findingLine(file: string, { level, code, message, source }: Finding): string {
  return printable(`${source === undefined ? file : `${file}:${source.line}`}: ${level} ${code}: ${message}`);
}
