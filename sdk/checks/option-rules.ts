/**
 * Checks options by a table, so that each slip is told at once, with the option's name and what it may be. An option given as undefined is
 * one not given.
 */
import type { HawserError } from "../errors.js";
import { unfitText } from "./text-check.js";
import { utf8Length } from "../encoding/utf8.js";

/** What the value may be, as words that follow "must be"; undefined when it is that. */
export type Rule = (value: unknown) => string | undefined;
/** A rule for each option that there is. */
export type Rules<Options = Record<string, unknown>> = { readonly [Name in keyof Required<Options>]: Rule | Rules };
/** Makes the error; `what` follows the option's name. */
export type OptionError = (name: string, what: string) => HawserError;

const LONGEST_SHOWN = 40;

/**
 * @param path what the options stand in, with a dot behind it: `broker.`; empty at the top
 * @throws whatever `fail` makes
 */
export function checkOptions(given: unknown, rules: Rules, fail: OptionError, path = ""): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw fail(
      path === "" ? "options" : path.slice(0, -1),
      `must be an object with ${Object.keys(rules).join(", ")} (got ${shownValue(given)})`,
    );
  }
  for (const name in given) {
    const rule = rules[name];
    if (rule === undefined) throw fail(`${path}${name}`, unknownOption(name, Object.keys(rules)));
    const value = (given as Record<string, unknown>)[name];
    if (value === undefined) continue;
    if (typeof rule === "object") {
      checkOptions(value, rule, fail, `${path}${name}.`);
      continue;
    }
    const allowed = rule(value);
    if (allowed !== undefined) throw fail(`${path}${name}`, `must be ${allowed}${isSecret(name) ? "" : ` (got ${shownValue(value)})`}`);
  }
}

export const whole =
  (smallest: number, largest: number): Rule =>
  (value) => {
    return Number.isInteger(value) && (value as number) >= smallest && (value as number) <= largest
      ? undefined
      : `a whole number from ${smallest} to ${largest}`;
  };

export const milliseconds =
  (largest: number): Rule =>
  (value) => {
    return typeof value === "number" && value >= 0 && value <= largest ? undefined : `milliseconds from 0 to ${largest}`;
  };

export const oneOf =
  (...values: readonly unknown[]): Rule =>
  (value) => {
    return values.includes(value)
      ? undefined
      : `${values.slice(0, -1).map(shownValue).join(", ")} or ${shownValue(values[values.length - 1])}`;
  };

export const flag: Rule = (value) => (typeof value === "boolean" ? undefined : "true or false");

export const hook: Rule = (value) => (typeof value === "function" ? undefined : "a function");

/** A string of MQTT (5.0, section 1.5.4). */
export const text: Rule = (value) => {
  if (typeof value !== "string" || utf8Length(value) > 65_535) return "text of at most 65535 bytes";
  const problem = unfitText(value);
  return problem === undefined ? undefined : `text that brokers take: this one ${problem}`;
};

/** Binary data of MQTT (5.0, section 1.5.6), or text for it. */
export const binary: Rule = (value) => {
  const sizeBytes = typeof value === "string" ? utf8Length(value) : value instanceof Uint8Array ? value.length : Infinity;
  return sizeBytes <= 65_535 ? undefined : "text or a Uint8Array of at most 65535 bytes";
};

/** Checked elsewhere, with errors of its own. */
export const anything: Rule = () => undefined;

const NAME_OR_ADDRESS = "a host name or an address";

/** A host name or address as a dialer wants it. */
export const host: Rule = (value) => {
  if (typeof value !== "string" || value === "" || value.length > 253) return NAME_OR_ADDRESS;
  if (value.includes("://")) return `${NAME_OR_ADDRESS} alone, without a scheme such as mqtts://`;
  if (/[[\]]/.test(value)) return "an IPv6 address without brackets";
  if (/\s/.test(value)) return `${NAME_OR_ADDRESS} without spaces and line ends`;
  const colons = value.split(":").length - 1;
  if (colons === 1) return `${NAME_OR_ADDRESS} alone; the port is a separate option`;
  if (colons > 1) return /^[0-9a-f:.]+(%[\w.-]+)?$/i.test(value) ? undefined : "a valid IPv6 address";
  return /^[\w.-]+$/.test(value) ? undefined : "a host name of letters, digits, '-' and '.' (others as xn--...), or an address";
};

function isSecret(name: string): boolean {
  return name === "password";
}

/** Many names come from other libraries: the one that is nearest is proposed. */
function unknownOption(name: string, known: readonly string[]): string {
  const wanted = name.toLowerCase();
  const near = known.find((one) => one.toLowerCase().startsWith(wanted) || wanted.startsWith(one.toLowerCase()));
  return `is not an option here${near === undefined ? "" : `: did you mean ${near}?`} (options: ${known.join(", ")})`;
}

function shownValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > LONGEST_SHOWN ? `${value.slice(0, LONGEST_SHOWN)}...` : value);
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  return typeof value === "function" ? "a function" : String(value);
}
