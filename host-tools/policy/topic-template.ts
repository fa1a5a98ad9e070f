/**
 * Topic filters with placeholders: `sites/{site}/{id}/up/#`. A placeholder fills one whole level, so that no value can widen what it stands
 * in.
 */
import { HawserError } from "../../sdk/errors.js";
import { isTopicFilter } from "./topic-filter.js";

/** `placeholder`: an attribute's value, or the device id for `id`. */
export type Level =
  | { readonly kind: "literal"; readonly value: string }
  | { readonly kind: "placeholder"; readonly name: string }
  | { readonly kind: "plus" }
  | { readonly kind: "hash" };

const PLACEHOLDER = /^\{([a-z][a-z0-9-]*)\}$/;

/**
 * Reads a template.
 * @throws HawserError `POLICY_INVALID`: not a topic filter, or a placeholder that is only part of a level
 */
export function parseTemplate(text: string): Level[] {
  if (!isTopicFilter(text)) throw bad(text, "it is not a topic filter", "Use + for one level and # at the end only.");
  // It becomes a line of somebody's configuration.
  if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(text) || text.trim() !== text)
    throw bad(text, "it has control characters, or spaces at either end", "Use plain topics.");
  return text.split("/").map((level) => {
    if (level === "+") return { kind: "plus" };
    if (level === "#") return { kind: "hash" };
    const name = PLACEHOLDER.exec(level)?.[1];
    if (name !== undefined) return { kind: "placeholder", name };
    if (/[{}$]/.test(level) && !(level.startsWith("$") && text.startsWith(level)))
      throw bad(
        text,
        `the level ${JSON.stringify(level)} is neither plain text nor a placeholder`,
        "A placeholder such as {id} fills a whole level.",
      );
    return { kind: "literal", value: level };
  });
}

function bad(text: string, problem: string, next: string): HawserError {
  return new HawserError("POLICY_INVALID", `${JSON.stringify(text)}: ${problem}`, next);
}

export function templateText(levels: readonly Level[]): string {
  return levels.map(levelText).join("/");
}

function levelText(level: Level): string {
  if (level.kind === "literal") return level.value;
  if (level.kind === "placeholder") return `{${level.name}}`;
  return level.kind === "plus" ? "+" : "#";
}

/** The filter with every placeholder replaced; undefined when `valueOf` has none for one. */
export function fillTemplate(levels: readonly Level[], valueOf: (name: string) => string | undefined): string | undefined {
  const filled: string[] = [];
  for (const level of levels) {
    const value = level.kind === "placeholder" ? valueOf(level.name) : levelText(level);
    if (value === undefined) return undefined;
    filled.push(value);
  }
  return filled.join("/");
}

/** Whether some topic is matched by both, whatever the placeholders stand for. */
export function overlap(a: readonly Level[], b: readonly Level[]): boolean {
  for (let index = 0; ; index += 1) {
    const [left, right] = [a[index], b[index]];
    // `x/#` matches `x` as well.
    if (left?.kind === "hash" || right?.kind === "hash") return index > 0 || !startsWithDollar(left?.kind === "hash" ? right : left);
    if (left === undefined || right === undefined) return left === right;
    if (left.kind === "literal" && right.kind === "literal" && left.value !== right.value) return false;
    // A wildcard at the front never matches `$SYS` and the like (MQTT 5.0 section 4.7.2); a placeholder's value never begins with `$`.
    if (index === 0 && (startsWithDollar(left) || startsWithDollar(right)) && left.kind !== right.kind) return false;
  }
}

function startsWithDollar(level: Level | undefined): boolean {
  return level?.kind === "literal" && level.value.startsWith("$");
}

/** Whether a value can stand in a topic level and in every broker's configuration. */
export function isLevelValue(value: string): boolean {
  return /^[\p{L}\p{N}][\p{L}\p{N} ._:@-]{0,127}$/u.test(value) && !value.endsWith(" ") && value.normalize("NFC") === value;
}
