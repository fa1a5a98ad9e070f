/** A rule with the asking client's own values in it, and the question whether it covers a topic or filter. */
import { ownAttribute } from "./conditions.js";
import type { NameDirectory, Policy, Principal, Role, Rule } from "./policy-model.js";
import { isLevelValue } from "./topic-template.js";

/** `owner`: a level that shows an attribute of the topic's owner, one of `allowed` where that is given. */
export type BoundLevel = string | { readonly owner: string; readonly allowed?: ReadonlySet<string> };

export interface BoundRule {
  readonly rule: Rule;
  readonly levels: readonly BoundLevel[];
  /** What an owner that is looked up must have. */
  readonly ownerMust: ReadonlyMap<string, ReadonlySet<string>>;
}

/** The role of a name; undefined when the policy knows none for it. */
export function roleOf(policy: Policy, principal: Pick<Principal, "kind" | "role">): Role | undefined {
  const named = policy.roles.get(principal.role);
  const wanted = principal.kind === "device" ? "devices" : "clients";
  if (named !== undefined) return named.for === wanted ? named : undefined;
  return principal.kind === "device" && policy.defaultDeviceRole !== undefined ? policy.roles.get(policy.defaultDeviceRole) : undefined;
}

/** An attribute's value where it may stand in a topic: `id` is the name itself. Values that the policy does not allow count as missing. */
export function attributeOf(policy: Policy, principal: Principal, name: string): string | undefined {
  if (name === "id") return principal.name;
  const value = ownAttribute(principal.attributes, name);
  const definition = policy.attributes.get(name);
  if (value === undefined || definition === undefined || !isLevelValue(value)) return undefined;
  if (definition.values !== undefined && !definition.values.includes(value)) return undefined;
  return definition.pattern === undefined || definition.pattern.test(value) ? value : undefined;
}

/** The rule for one client; undefined when it lacks an attribute that the rule needs. */
export function bindRule(policy: Policy, rule: Rule, principal: Principal): BoundRule | undefined {
  const ownerMust = new Map<string, ReadonlySet<string>>();
  for (const [name, wanted] of rule.scope) {
    const values = wanted.flatMap((value) => {
      const own = /^\{(.*)\}$/.exec(value)?.[1];
      const resolved = own === undefined ? value : attributeOf(policy, principal, own);
      return resolved === undefined ? [] : [resolved];
    });
    if (values.length === 0) return undefined;
    ownerMust.set(name, new Set(values));
  }
  const isOfOwner = rule.channel !== undefined && !rule.own;
  const levels: BoundLevel[] = [];
  for (const level of rule.template) {
    if (level.kind === "literal") levels.push(level.value);
    else if (level.kind === "plus") levels.push("+");
    else if (level.kind === "hash") levels.push("#");
    else if (isOfOwner) levels.push(ownerLevel(level.name, ownerMust.get(level.name)));
    else {
      const value = attributeOf(policy, principal, level.name);
      if (value === undefined) return undefined;
      levels.push(value);
    }
  }
  return { rule, levels, ownerMust };
}

function ownerLevel(owner: string, allowed: ReadonlySet<string> | undefined): BoundLevel {
  return allowed === undefined ? { owner } : { owner, allowed };
}

/**
 * Whether the rule covers every topic that `wanted`, a topic name or filter split into levels, stands for.
 */
export function ruleCovers(policy: Policy, directory: NameDirectory, bound: BoundRule, wanted: readonly string[]): boolean {
  const { levels, rule } = bound;
  const [first = ""] = wanted;
  // Wildcards at the front never match topics that begin with `$` (MQTT 5.0 section 4.7.2); no attribute's value begins with it.
  if (first.startsWith("$") && levels[0] !== first) return false;
  const shown = new Map<string, string>();
  let ended = false;
  for (const [index, level] of levels.entries()) {
    if (level === "#") {
      ended = true;
      break;
    }
    const asked = wanted[index];
    // `a/+` does not cover `a/#`, which also matches `a` and `a/b/c`.
    if (asked === undefined || asked === "#") return false;
    if (typeof level === "string") {
      if (level !== "+" && level !== asked) return false;
      continue;
    }
    if (level.allowed !== undefined && !level.allowed.has(asked)) return false;
    if ((shown.get(level.owner) ?? asked) !== asked) return false;
    shown.set(level.owner, asked);
  }
  if (!ended && wanted.length !== levels.length) return false;
  return !rule.needsOwner || isOwnedAsAsked(policy, directory, bound, shown);
}

/** Whether the topic's levels name a device of the channel's class that has what the scope asks for. */
function isOwnedAsAsked(
  policy: Policy,
  directory: NameDirectory,
  { rule, ownerMust }: BoundRule,
  shown: ReadonlyMap<string, string>,
): boolean {
  const owner = directory.get(shown.get("id") ?? "");
  return (
    owner !== undefined &&
    ownerFits(policy, owner, rule, ownerMust) &&
    [...shown].every(([name, value]) => attributeOf(policy, owner, name) === value)
  );
}

/** Whether a device is one whose topics the rule is about. */
export function ownerFits(policy: Policy, owner: Principal, rule: Rule, ownerMust: ReadonlyMap<string, ReadonlySet<string>>): boolean {
  if (owner.kind !== "device" || roleOf(policy, owner)?.className !== rule.channel?.className) return false;
  for (const [name, allowed] of ownerMust) {
    const value = attributeOf(policy, owner, name);
    if (value === undefined || !allowed.has(value)) return false;
  }
  return true;
}

/** Whether the rule and a filter have a topic in common: what a denial is asked. It may say yes too often, never too seldom. */
export function ruleMeets({ levels }: BoundRule, wanted: readonly string[]): boolean {
  for (let index = 0; ; index += 1) {
    const [left, right] = [levels[index], wanted[index]];
    if (left === "#" || right === "#") return index > 0 || !dollar(left === "#" ? right : left);
    if (left === undefined || right === undefined) return left === right;
    if (index === 0 && (dollar(left) || dollar(right)) && left !== right) return false;
    if (right === "+" || left === "+") continue;
    if (typeof left === "string" ? left !== right : left.allowed !== undefined && !left.allowed.has(right)) return false;
  }
}

function dollar(level: BoundLevel | undefined): boolean {
  return typeof level === "string" && level.startsWith("$");
}
