/** `--attribute NAME=VALUE`, as several commands take it. */
import { HawserError } from "../../../sdk/errors.js";

/**
 * Name and value of one flag; the value may be empty.
 * @throws HawserError `USAGE`
 */
export function readAttribute(text: string): [name: string, value: string] {
  const [, name = "", value = ""] = /^([a-z][a-z0-9-]{0,31})=(.*)$/s.exec(text) ?? [];
  if (name === "") throw new HawserError("USAGE", `${JSON.stringify(text)} is not NAME=VALUE`, "For example: --attribute site=b1");
  return [name, value];
}

/**
 * The attributes of a name that is made: each with a value, given once.
 * @throws HawserError `USAGE`
 */
export function attributesOf(texts: readonly string[] = []): Record<string, string> {
  const pairs = texts.map(readAttribute);
  const empty = pairs.find(([name, value], index) => value === "" || pairs.findIndex(([other]) => other === name) !== index);
  if (empty !== undefined) throw new HawserError("USAGE", `the attribute ${empty[0]} needs one value`, "For example: --attribute site=b1");
  return Object.fromEntries(pairs);
}

/** The values asked for, by name. Throws `USAGE`. */
export function attributeChoices(texts: readonly string[]): Map<string, Set<string>> {
  const wanted = new Map<string, Set<string>>();
  for (const [name, value] of texts.map(readAttribute)) wanted.set(name, (wanted.get(name) ?? new Set()).add(value));
  return wanted;
}
