/**
 * Every finding the doctor knows: the table behind `--explain`, `docs/doctor.md`, SARIF and the HTML report. An id never changes its
 * meaning.
 */
import { ACCESS_RULES } from "./rules-access.js";
import { ACL_RULES } from "./rules-acl.js";
import { FLEET_RULES } from "./rules-fleet.js";
import { OPERATION_RULES } from "./rules-operation.js";
import { TLS_RULES } from "./rules-tls.js";
import type { Severity } from "./finding.js";

export interface Rule {
  readonly title: string;
  /** The usual severity; a finding may be milder or worse where the circumstances are. */
  readonly severity: Severity;
  /** Why it matters, for somebody who has not met it before. */
  readonly why: string;
  /** What to do about it. */
  readonly remedy: string;
  /** How the live check sees the same thing; left out where only the configuration shows it. */
  readonly live?: string;
  /** CVE numbers, manual pages, RFC sections. */
  readonly references: readonly string[];
}

export const RULE_BOOK = { ...OPERATION_RULES, ...ACCESS_RULES, ...TLS_RULES, ...ACL_RULES, ...FLEET_RULES } as const satisfies Readonly<
  Record<`HW${number}`, Rule>
>;

export type RuleId = keyof typeof RULE_BOOK;

export function isRuleId(text: string): text is RuleId {
  return Object.hasOwn(RULE_BOOK, text);
}

export function ruleOf(id: RuleId): Rule {
  return RULE_BOOK[id];
}

/** In the order of their numbers. */
export function allRules(): readonly (readonly [RuleId, Rule])[] {
  return (Object.keys(RULE_BOOK) as RuleId[]).sort().map((id) => [id, RULE_BOOK[id]] as const);
}
