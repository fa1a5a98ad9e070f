/** What a name may do, written out as plain MQTT filters: what compilers write, what `diff` compares. */
import { attributeOf, ownerFits, roleOf } from "./bound-rule.js";
import type { BoundRule } from "./bound-rule.js";
import type { PolicyEngine } from "./policy-engine.js";
import type { Access, ListenerScope, Principal, Rule } from "./policy-model.js";
import { fillTemplate } from "./topic-template.js";

export interface ConcreteRule {
  readonly effect: "allow" | "deny";
  readonly access: Access;
  /** A topic filter without placeholders. */
  readonly filter: string;
  readonly rule: Rule;
}

export class RuleWriter {
  #devicesByClass: Map<string, Principal[]> | undefined;

  constructor(readonly engine: PolicyEngine) {}

  /** All of a name's rules in a scope, whatever its state: the caller knows whether it may connect. */
  rulesOf(principal: Principal, scope: ListenerScope): ConcreteRule[] {
    const role = roleOf(this.engine.policy, principal);
    if (role === undefined) return [];
    const written = new Map<string, ConcreteRule>();
    for (const bound of this.engine.rulesFor(principal, role)) {
      if (scope === "recovery" && !bound.rule.recovery) continue;
      const { effect, access } = bound.rule;
      for (const filter of this.#filtersOf(bound)) {
        const key = `${effect} ${access} ${conditionKey(bound.rule)} ${filter}`;
        if (!written.has(key)) written.set(key, { effect, access, filter, rule: bound.rule });
      }
    }
    return [...written.values()];
  }

  #filtersOf({ levels, rule, ownerMust }: BoundRule): string[] {
    const { policy } = this.engine;
    if (rule.needsOwner) {
      const owners = this.#devicesOf(rule.channel?.className ?? "").filter((owner) => ownerFits(policy, owner, rule, ownerMust));
      return owners
        .map((owner) => fillTemplate(rule.template, (name) => attributeOf(policy, owner, name)))
        .filter((filter) => filter !== undefined);
    }
    // One value for each name, wherever it stands.
    const names = new Map<string, readonly string[]>();
    for (const level of levels)
      if (typeof level !== "string") names.set(level.owner, level.allowed === undefined ? ["+"] : [...level.allowed]);
    let choices: ReadonlyMap<string, string>[] = [new Map()];
    for (const [name, values] of names) choices = choices.flatMap((choice) => values.map((value) => new Map([...choice, [name, value]])));
    return choices.map((choice) => levels.map((level) => (typeof level === "string" ? level : (choice.get(level.owner) ?? "+"))).join("/"));
  }

  #devicesOf(className: string): readonly Principal[] {
    if (this.#devicesByClass === undefined) {
      this.#devicesByClass = new Map();
      for (const principal of this.engine.directory.all()) {
        const own = principal.kind === "device" ? roleOf(this.engine.policy, principal)?.className : undefined;
        if (own === undefined) continue;
        const list = this.#devicesByClass.get(own);
        if (list === undefined) this.#devicesByClass.set(own, [principal]);
        else list.push(principal);
      }
    }
    return this.#devicesByClass.get(className) ?? [];
  }
}

const conditionTexts = new WeakMap<object, string>();

/** The condition of a rule as text: equal conditions have equal texts. */
export function conditionKey({ when }: Rule): string {
  if (when === undefined) return "";
  const known = conditionTexts.get(when);
  if (known !== undefined) return known;
  const { listeners, networks, times, attributes } = when;
  const parts = [
    ...(listeners === undefined ? [] : [`listener ${listeners.join("|")}`]),
    ...(networks === undefined ? [] : [`network ${networks.map(({ text }) => text).join("|")}`]),
    ...(times === undefined ? [] : [`time ${times.map(timeText).join("|")}`]),
    ...[...(attributes ?? [])].map(([name, values]) => `${name} ${values.join("|")}`),
  ];
  const text = `when ${parts.join(", ")}`;
  conditionTexts.set(when, text);
  return text;
}

function timeText({
  days,
  fromMinute,
  toMinute,
  zone,
  afterMs,
  beforeMs,
}: NonNullable<NonNullable<Rule["when"]>["times"]>[number]): string {
  const parts = [
    ...(days === undefined ? [] : [[...days].join(",")]),
    ...(fromMinute === undefined || toMinute === undefined ? [] : [`${clock(fromMinute)}-${clock(toMinute)}`]),
    zone,
    ...(afterMs === undefined ? [] : [`from ${new Date(afterMs).toISOString()}`]),
    ...(beforeMs === undefined ? [] : [`until ${new Date(beforeMs).toISOString()}`]),
  ];
  return parts.join(" ");
}

function clock(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
}
