/** Checks a policy, alone or against the names it is for. */
import { HawserError } from "../../../sdk/errors.js";
import { openCaReadOnly } from "../../ca/ca-without-passphrase.js";
import type { CaView } from "../../ca/ca-without-passphrase.js";
import { requireEmbedded } from "../../brokers/embedded/embedded-target.js";
import { compilePolicy } from "../../brokers/policy-compilers.js";
import { checkPolicy, policyErrors } from "../../policy/policy-check.js";
import { PolicyEngine } from "../../policy/policy-engine.js";
import { parsePolicy } from "../../policy/policy-file.js";
import { directoryOf } from "../../policy/policy-model.js";
import type { NameDirectory, Policy } from "../../policy/policy-model.js";
import { CompileInput } from "../../policy/policy-target.js";
import { PolicyError } from "../../policy/policy-text.js";
import type { Finding } from "../../policy/policy-text.js";
import type { Context } from "../command-runner.js";
import { loadNames, policyText } from "./policy-place.js";
import type { PolicySources } from "./policy-place.js";
import { printable } from "../terminal.js";
import type { Json } from "../terminal.js";

/** Nothing is written: paths only have to be paths. */
const ANYWHERE = "/etc/hawser";
const ANY_KEYS = { anchors: ANYWHERE, chain: ANYWHERE, key: ANYWHERE, crl: ANYWHERE, psk: ANYWHERE };

export interface CheckOptions extends PolicySources {
  strict?: boolean;
  target?: string;
}

export async function check(options: CheckOptions, { terminal }: Context): Promise<void> {
  const { text, file } = policyText(options);
  const view = options.dir === undefined ? undefined : openCaReadOnly(options.dir);
  const names = options.inventory === undefined ? view?.names() : loadNames(options);
  const findings = findingsOf(() => {
    const policy = parsePolicy(text, file);
    return [
      ...checkedFor(options.target, policy, names),
      ...(options.policy === undefined || view === undefined ? [] : leftBehindIn(view, policy)),
    ];
  });
  const errors = findings.filter(({ level }) => level === "error").length;
  const warnings = findings.length - errors;
  const summary = findings.length === 0 ? `${file}: nothing to complain about` : `${file}: ${errors} errors, ${warnings} warnings`;
  terminal.result({ ok: errors === 0, policy: file, findings: findings.map(asJson) }, [
    ...shortened(findings).map((finding) => findingLine(file, finding)),
    summary,
  ]);
  if (errors > 0) throw new HawserError("POLICY_INVALID", `${file} has ${errors} errors`, "Fix the lines above, then check again.");
  if (warnings > 0 && options.strict === true)
    throw new HawserError("POLICY_DOUBTFUL", `${file} has ${warnings} warnings`, "Fix the lines above, or check without --strict.");
}

/** The devices of a CA that this policy, applied there, would keep from renewing. */
function leftBehindIn(view: CaView, checked: Policy): Finding[] {
  return view.leftBehindBy(checked).map(({ name, base, wasHeard }) => ({
    level: "error",
    code: LEFT_BEHIND,
    message: wasHeard
      ? `${name} asks for certificates below ${base}, which the policy takes from it`
      : `${name} was never heard, and may ask for certificates below ${base}, which the policy takes from it (apply --force lets it go)`,
  }));
}

const LEFT_BEHIND = "LEFT_BEHIND";
/** Of a large fleet, whose names JSON has. */
const MAX_LINES = 20;

function shortened(findings: readonly Finding[]): Finding[] {
  const left = findings.filter(({ code }) => code === LEFT_BEHIND);
  const others = findings.filter(({ code }) => code !== LEFT_BEHIND);
  const more = left.length - MAX_LINES;
  const rest: Finding[] = more > 0 ? [{ level: "error", code: LEFT_BEHIND, message: `${more} more devices; --json names them` }] : [];
  return [...others, ...left.slice(0, MAX_LINES), ...rest];
}

/** With what the target cannot hold, unless the policy is wrong anyway. */
function checkedFor(target: string | undefined, policy: Policy, names: NameDirectory | undefined): readonly Finding[] {
  const findings = checkPolicy(policy, names);
  if (target === undefined || policyErrors(findings).length > 0) return findings;
  const refused = findingsOf(() => {
    if (target === "embedded") requireEmbedded(policy);
    else compilePolicy(target, new CompileInput(new PolicyEngine(policy, names ?? directoryOf([])), ANYWHERE, ANY_KEYS));
    return [];
  });
  return [...findings, ...refused];
}

function findingsOf(judge: () => readonly Finding[]): readonly Finding[] {
  try {
    return judge();
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
