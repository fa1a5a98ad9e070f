/**
 * The policy's answers: may this client sign in, may it do this with this topic. The embedded broker and the decision point ask it
 * directly; every compiler is measured against it. Without a rule that allows, the answer is no.
 */
import { bindRule, roleOf, ruleCovers, ruleMeets } from "./bound-rule.js";
import type { BoundRule } from "./bound-rule.js";
import { unmetPart } from "./conditions.js";
import type { Circumstances } from "./conditions.js";
import type { Channel, Factor, Listener, NameDirectory, Policy, Principal, Qos, Role, Source } from "./policy-model.js";
import { verifyPassword } from "./password.js";
import { tokenFault } from "./token-proof.js";
import { isTopicFilter, isTopicName, unshared } from "./topic-filter.js";

/** What a client shows, as far as the broker has proved it. */
export interface SignIn {
  /** The name the broker has proved, or that the client claims together with a password or token. */
  readonly name: string;
  readonly listener: string;
  /** Proved in the TLS handshake: `certificate` or `psk`, for exactly this name. */
  readonly proved?: "certificate" | "psk";
  readonly password?: string;
  readonly address?: string;
  readonly atMs: number;
}

export interface AccessQuestion {
  readonly name: string;
  readonly listener: string;
  /** `subscribe`: a filter is asked for. `receive`: a message of this topic is about to be delivered. */
  readonly action: "publish" | "subscribe" | "receive";
  readonly topic: string;
  readonly qos?: Qos;
  readonly retain?: boolean;
  readonly will?: boolean;
  readonly payloadBytes?: number;
  readonly address?: string;
  readonly atMs: number;
}

export type VerdictCode =
  | "ALLOWED"
  | "UNKNOWN_NAME"
  | "SHUT_OUT"
  | "NO_ROLE"
  | "UNKNOWN_LISTENER"
  | "FACTOR_MISSING"
  | "FACTOR_WRONG"
  | "NOT_A_TOPIC"
  | "DENIED_BY_RULE"
  | "NO_RULE"
  | "CONDITION"
  | "RIGHT"
  | "CHANNEL_LIMIT";

export interface Verdict {
  readonly allowed: boolean;
  readonly code: VerdictCode;
  /** In words, for `policy explain` and logs. */
  readonly because: string;
  /** What says so in the policy. */
  readonly source?: Source;
  /** The channel whose rule allows it, for its rate: whoever counts messages holds that. */
  readonly channel?: Channel;
}

/** Rules worked out for one name are kept; the oldest go first. */
const MAX_KEPT = 20_000;

interface Kept {
  readonly principal: Principal;
  readonly role: Role;
  readonly rules: readonly BoundRule[];
}

export class PolicyEngine {
  readonly #kept = new Map<string, Kept>();

  constructor(
    readonly policy: Policy,
    readonly directory: NameDirectory,
  ) {}

  /** Whether a client may connect. */
  authenticate(question: SignIn): Verdict {
    const standing = this.#standing(question.name, question.listener);
    if ("because" in standing) return standing;
    const { principal, role, listener } = standing;
    const needed = [...new Set([...listener.requires, ...(role.requires.get(listener.name) ?? [])])];
    for (const factor of needed) {
      const fault = factorFault(factor, question, principal);
      if (fault !== undefined)
        return no(
          fault.code,
          `${listener.name} asks for a ${factor}: ${fault.what}`,
          role.requires.get(listener.name)?.includes(factor) === true ? role.source : listener.source,
        );
    }
    return {
      allowed: true,
      code: "ALLOWED",
      because: `${principal.name} is ${role.name} and showed ${needed.join(" and ")}`,
      source: role.source,
    };
  }

  /** Whether a client that is connected may do something. */
  authorize(question: AccessQuestion): Verdict {
    const standing = this.#standing(question.name, question.listener);
    if ("because" in standing) return standing;
    const { principal, role, listener } = standing;
    const wanted = wantedTopic(question);
    if (wanted === undefined)
      return no(
        "NOT_A_TOPIC",
        `${JSON.stringify(question.topic.slice(0, 100))} is not a topic ${question.action === "subscribe" ? "filter" : "name"}`,
      );
    const right = rightMissing(question, role);
    if (right !== undefined) return no("RIGHT", `the role ${role.name} may not use ${right}`, role.source);
    return this.#judge(question, { principal, role, listener }, wanted.split("/"));
  }

  #judge(question: AccessQuestion, standing: { principal: Principal; role: Role; listener: Listener }, levels: readonly string[]): Verdict {
    const { principal, role, listener } = standing;
    const access = question.action === "publish" ? "publish" : "subscribe";
    const circumstances: Circumstances = {
      listener: listener.name,
      atMs: question.atMs,
      attributes: principal.attributes,
      ...(question.address === undefined ? {} : { address: question.address }),
    };
    let allowing: BoundRule | undefined;
    let nearest: Verdict | undefined;
    for (const bound of this.rulesFor(principal, role)) {
      const { rule } = bound;
      if (rule.access !== access || (listener.scope === "recovery" && !rule.recovery)) continue;
      if (rule.effect === "deny") {
        const isMet = ruleMeets(bound, levels) && unmetPart(rule.when, circumstances, "holds") === undefined;
        if (isMet && this.#deniesOwner(bound, levels))
          return no("DENIED_BY_RULE", `${role.name}: ${rule.source.path} denies it`, rule.source);
        continue;
      }
      if (allowing !== undefined || !ruleCovers(this.policy, this.directory, bound, levels)) continue;
      const obstacle = unmetPart(rule.when, circumstances);
      const limit = obstacle === undefined ? channelLimit(question, rule.channel) : undefined;
      if (obstacle !== undefined) nearest ??= no("CONDITION", `${rule.source.path} would allow it, but ${obstacle}`, rule.source);
      else if (limit !== undefined) nearest ??= no("CHANNEL_LIMIT", `${rule.source.path} would allow it, but ${limit}`, rule.source);
      else allowing = bound;
    }
    if (allowing !== undefined) {
      const { source, channel } = allowing.rule;
      const because = `${role.name}: ${source.path}`;
      return { allowed: true, code: "ALLOWED", because, source, ...(channel === undefined ? {} : { channel }) };
    }
    return nearest ?? no("NO_RULE", `no rule of the role ${role.name} covers it`, role.source);
  }

  /** A denial that is about some owners only is asked about this one; where the topic does not say whose it is, it denies. */
  #deniesOwner(bound: BoundRule, levels: readonly string[]): boolean {
    return (
      !bound.rule.needsOwner ||
      levels.some((level) => level === "+" || level === "#") ||
      ruleCovers(this.policy, this.directory, bound, levels)
    );
  }

  /** The rules of one name, its values in place; rules that need an attribute it lacks are left out. */
  rulesFor(principal: Principal, role: Role): readonly BoundRule[] {
    const kept = this.#kept.get(principal.name);
    if (kept?.principal === principal && kept.role === role) return kept.rules;
    const rules = role.rules.map((rule) => bindRule(this.policy, rule, principal)).filter((bound) => bound !== undefined);
    const [oldest] = this.#kept.size >= MAX_KEPT ? this.#kept.keys() : [];
    if (oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(principal.name, { principal, role, rules });
    return rules;
  }

  #standing(name: string, listenerName: string): Verdict | { principal: Principal; role: Role; listener: Listener } {
    const listener = this.policy.listeners.get(listenerName);
    if (listener === undefined) return no("UNKNOWN_LISTENER", `the policy has no listener ${listenerName}`);
    const principal = this.directory.get(name);
    if (principal === undefined) return no("UNKNOWN_NAME", `nobody is called ${JSON.stringify(name.slice(0, 64))}`);
    if (!(listener.scope === "full" ? principal.active : principal.recoverable))
      return no("SHUT_OUT", `${name} may not use the listener ${listenerName} now`);
    const role = roleOf(this.policy, principal);
    if (role === undefined) return no("NO_ROLE", `the policy has no role ${principal.role} for a ${principal.kind}`);
    return { principal, role, listener };
  }
}

function no(code: VerdictCode, because: string, source?: Source): Verdict {
  return { allowed: false, code, because, ...(source === undefined ? {} : { source }) };
}

function factorFault(
  factor: Factor,
  { proved, password, atMs }: SignIn,
  principal: Principal,
): { code: VerdictCode; what: string } | undefined {
  if (factor === "certificate" || factor === "psk")
    return proved === factor ? undefined : { code: "FACTOR_MISSING", what: "none was proved" };
  if (password === undefined || password === "") return { code: "FACTOR_MISSING", what: "none was sent" };
  if (factor === "token") {
    const { name } = principal;
    const publicKeyPems = principal.publicKeyPems?.() ?? [];
    const fault = publicKeyPems.length === 0 ? "its key is not known" : tokenFault(password, name, publicKeyPems, atMs);
    return fault === undefined ? undefined : { code: "FACTOR_WRONG", what: fault };
  }
  const { passwordHash, certificatePasswordHashes = [] } = principal;
  const hashes = [...(passwordHash === undefined ? [] : [passwordHash]), ...(proved === "certificate" ? certificatePasswordHashes : [])];
  if (hashes.length === 0) return { code: "FACTOR_WRONG", what: "it has none" };
  return hashes.some((hash) => verifyPassword(password, hash)) ? undefined : { code: "FACTOR_WRONG", what: "it is wrong" };
}

/** The filter or topic to judge; undefined when it is malformed. */
function wantedTopic({ action, topic }: AccessQuestion): string | undefined {
  if (action !== "subscribe") return isTopicName(topic) ? topic : undefined;
  const inner = unshared(topic);
  return inner !== undefined && isTopicFilter(inner) ? inner : undefined;
}

function rightMissing({ action, topic, retain, will }: AccessQuestion, { may }: Role): string | undefined {
  if (action === "publish") {
    if (retain === true && !may.retain) return "retained messages";
    return will === true && !may.will ? "wills" : undefined;
  }
  if (action === "receive") return undefined;
  if (topic.startsWith("$share/") && !may.shared) return "shared subscriptions";
  return /[+#]/.test(topic) && !may.wildcards ? "wildcards" : undefined;
}

function channelLimit(
  { action, qos, retain, payloadBytes }: AccessQuestion,
  channel: { name: string; qos?: Qos; retain?: boolean; maxBytes?: number } | undefined,
): string | undefined {
  if (action !== "publish" || channel === undefined) return undefined;
  if (channel.qos !== undefined && qos !== undefined && qos > channel.qos) return `${channel.name} takes QoS ${channel.qos} at most`;
  if (channel.retain === false && retain === true) return `${channel.name} takes no retained messages`;
  if (channel.maxBytes !== undefined && payloadBytes !== undefined && payloadBytes > channel.maxBytes)
    return `${channel.name} takes ${channel.maxBytes} bytes at most`;
  return undefined;
}
