/** Prints the page of one finding, or of all. */
import { HawserError } from "../../../sdk/errors.js";
import { explainLines } from "../../doctor/reports/terminal-report.js";
import { allRules, isRuleId, ruleOf } from "../../doctor/rule-book.js";
import type { RuleId } from "../../doctor/rule-book.js";
import type { Context } from "../command-runner.js";
import type { Json } from "../terminal.js";

export interface ExplainOptions {
  explain?: string;
  json?: boolean;
}

export async function explainRule({ explain }: ExplainOptions, { terminal }: Context): Promise<void> {
  if (explain === undefined) throw new HawserError("USAGE", "nothing to examine", "Run: hawser doctor --help");
  const ids = idsOf(explain);
  const paint = terminal.paint.bind(terminal);
  const pages = ids.map((id): Json => ({ id, ...ruleOf(id) }));
  terminal.result(
    ids.length === 1 ? pages[0] : pages,
    ids.flatMap((id, index) => [...(index === 0 ? [] : [""]), ...explainLines(id, paint)]),
  );
}

function idsOf(asked: string): RuleId[] {
  if (asked.toLowerCase() === "all") return allRules().map(([id]) => id);
  const id = asked.toUpperCase();
  if (!isRuleId(id)) throw new HawserError("UNKNOWN_RULE", `unknown finding ${JSON.stringify(asked)}`, "Run: hawser doctor --explain all");
  return [id];
}
