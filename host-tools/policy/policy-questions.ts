/** The questions people ask of a policy: what may this name do, who can reach this topic, what changes from one policy to the next. */
import { roleOf } from "./bound-rule.js";
import { conditionKey, RuleWriter } from "./concrete-rules.js";
import type { PolicyEngine, Verdict } from "./policy-engine.js";
import type { Listener, Principal, Source } from "./policy-model.js";
import { covers } from "./topic-filter.js";

export interface Right {
  readonly listener: string;
  readonly effect: "allow" | "deny";
  readonly access: "publish" | "subscribe";
  readonly filter: string;
  /** Empty when it always holds. */
  readonly when: string;
  readonly source: Source;
}

/** Everything a name may do, on each listener it may use. */
export function rightsOf(engine: PolicyEngine, principal: Principal, writer = new RuleWriter(engine)): Right[] {
  return usableListeners(engine, principal).flatMap((listener) =>
    writer
      .rulesOf(principal, listener.scope)
      .filter(({ rule }) => rule.when?.listeners?.includes(listener.name) ?? true)
      .map(({ effect, access, filter, rule }) => ({
        listener: listener.name,
        effect,
        access,
        filter,
        when: conditionKey(rule),
        source: rule.source,
      })),
  );
}

function usableListeners({ policy }: PolicyEngine, principal: Principal): Listener[] {
  return [...policy.listeners.values()].filter(({ scope }) => (scope === "full" ? principal.active : principal.recoverable));
}

export interface TopicVerdict {
  readonly listener: string;
  readonly action: "publish" | "subscribe" | "receive";
  readonly verdict: Verdict;
}

/** What a name may do with one topic or filter, on every listener. A topic with wildcards is only asked about for a subscription. */
export function explainTopic(engine: PolicyEngine, name: string, topic: string, atMs: number, address?: string): TopicVerdict[] {
  const actions =
    /[+#]/.test(topic) || topic.startsWith("$share/") ? (["subscribe"] as const) : (["publish", "subscribe", "receive"] as const);
  return [...engine.policy.listeners.keys()].flatMap((listener) =>
    actions.map((action) => ({
      listener,
      action,
      verdict: engine.authorize({ name, listener, action, topic, atMs, ...(address === undefined ? {} : { address }) }),
    })),
  );
}

export interface Reach {
  readonly name: string;
  readonly role: string;
  readonly listener: string;
  readonly action: "publish" | "receive";
  readonly source?: Source;
  /** Set when it depends on more than the name. */
  readonly when?: string;
}

/**
 * Everybody who can write a topic or read it, at `atMs`; rights that hold at other times or places only are listed with their condition.
 */
export function whoReaches(engine: PolicyEngine, topic: string, atMs: number): Reach[] {
  const found: Reach[] = [];
  for (const principal of engine.directory.all()) {
    const role = roleOf(engine.policy, principal);
    if (role === undefined) continue;
    for (const listener of usableListeners(engine, principal)) {
      for (const action of ["publish", "receive"] as const) {
        const { allowed, code, because, source } = engine.authorize({ name: principal.name, listener: listener.name, action, topic, atMs });
        if (!allowed && code !== "CONDITION") continue;
        found.push({
          name: principal.name,
          role: role.name,
          listener: listener.name,
          action,
          ...(source === undefined ? {} : { source }),
          ...(allowed ? {} : { when: because }),
        });
      }
    }
  }
  return found;
}

/** One line of a rights table, as text: equal rights have equal texts. */
export function rightText({ listener, effect, access, filter, when }: Right): string {
  return JSON.stringify([listener, effect, access, filter, when]);
}

export interface Change {
  readonly name: string;
  readonly role: string;
  readonly change: "gains" | "loses";
  readonly right: Right;
  /** Another right of the same kind, before and after, takes it in: it makes no difference. */
  readonly covered: boolean;
}

/** What every name gains and loses from one policy (or registry) to the next. */
export function policyDifference(before: PolicyEngine, after: PolicyEngine): Change[] {
  const [oldWriter, newWriter] = [new RuleWriter(before), new RuleWriter(after)];
  const names = new Set([...before.directory.all(), ...after.directory.all()].map(({ name }) => name));
  const changes: Change[] = [];
  for (const name of [...names].sort()) {
    const [was, is] = [before.directory.get(name), after.directory.get(name)];
    const oldRights = was === undefined ? [] : rightsOf(before, was, oldWriter);
    const newRights = is === undefined ? [] : rightsOf(after, is, newWriter);
    const role = is?.role ?? was?.role ?? "";
    for (const right of missingFrom(newRights, oldRights))
      changes.push({ name, role, change: "loses", right, covered: isCovered(right, newRights) });
    for (const right of missingFrom(oldRights, newRights))
      changes.push({ name, role, change: "gains", right, covered: isCovered(right, oldRights) });
  }
  return changes;
}

function missingFrom(rights: readonly Right[], candidates: readonly Right[]): Right[] {
  const there = new Set(rights.map(rightText));
  return candidates.filter((right) => !there.has(rightText(right)));
}

function isCovered(right: Right, others: readonly Right[]): boolean {
  return others.some(
    (other) =>
      other.listener === right.listener &&
      other.effect === right.effect &&
      other.access === right.access &&
      (other.when === "" || other.when === right.when) &&
      covers(other.filter, right.filter),
  );
}
