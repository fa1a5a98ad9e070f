/**
 * What a broker's configuration can say, held against what a policy asks. A compiler refuses what its target cannot say, names the line,
 * and leaves something out only where the policy itself agrees to it (`unenforced`).
 */
import { RuleWriter } from "./concrete-rules.js";
import type { ConcreteRule } from "./concrete-rules.js";
import type { PolicyEngine } from "./policy-engine.js";
import { ownAttribute } from "./conditions.js";
import type { Factor, Limits, Listener, Policy, Principal, Rule, Source } from "./policy-model.js";
import { PolicyError } from "./policy-text.js";
import type { Finding } from "./policy-text.js";

export type LimitName = keyof Limits;
export type Feature =
  "qos" | "retain" | "maxBytes" | "messagesPerSecond" | "bytesPerSecond" | "will" | "wildcards" | "shared" | "connections" | "roleLimits";

/** What one make of broker can say. */
export interface Capabilities {
  /** As in `unenforced` and `--for`. */
  readonly kind: string;
  /** For people, with the version. */
  readonly title: string;
  readonly deny: boolean;
  readonly networks: boolean;
  readonly times: boolean;
  /** Rights that differ from one listener of the full scope to another. */
  readonly perListener: boolean;
  /** Properties of channels and roles that it enforces. */
  readonly enforces: readonly Feature[];
  readonly limits: readonly LimitName[];
  /** Sets of factors that a listener may ask for, each tied to the client's name. */
  readonly factors: readonly (readonly Factor[])[];
  /** It asks a role for more than its listener asks for. */
  readonly roleFactors?: boolean;
  readonly websocket: boolean;
  readonly bridges: boolean;
  /** Why a set of factors is impossible there, where that needs saying. */
  readonly because?: Readonly<Record<string, string>>;
}

/** Files by name, and what the operator has to know. */
export interface Compiled {
  readonly files: ReadonlyMap<string, string>;
  /** Directories that the broker or its administrator fills; they stay as they are. */
  readonly directories?: readonly string[];
  /** Files that belong to the broker once they are there: written where they are missing, never replaced. */
  readonly initial?: ReadonlyMap<string, string>;
  /** Risks that remain, and what the policy left unenforced on purpose. */
  readonly risks: readonly string[];
}

/** Where a broker finds the keys that a compiler does not write; absolute paths on the broker's machine. */
export interface TlsPaths {
  readonly anchors: string;
  readonly chain: string;
  readonly key: string;
  readonly crl: string;
  readonly psk: string;
}

/** What a compiler works from. */
export class CompileInput {
  readonly writer: RuleWriter;

  constructor(
    readonly engine: PolicyEngine,
    /** The directory of the configuration on the broker's machine, absolute. */
    readonly directory: string,
    readonly tls: TlsPaths,
  ) {
    this.writer = new RuleWriter(engine);
  }

  get policy(): Policy {
    return this.engine.policy;
  }

  /** In the order of their names, so that equal states give equal files. */
  names(): Principal[] {
    return [...this.engine.directory.all()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Who may use a listener now. */
  namesOn({ scope }: Listener): Principal[] {
    return this.names().filter((principal) => (scope === "full" ? principal.active : principal.recoverable));
  }

  /**
   * The rules that hold for a name on a listener whatever the time and the address: conditions on attributes and listeners are decided
   * here.
   */
  rulesOn(principal: Principal, listener: Listener): ConcreteRule[] {
    return this.writer.rulesOf(principal, listener.scope).filter(({ rule }) => holdsStatically(rule, principal, listener));
  }
}

function holdsStatically({ when }: Rule, principal: Principal, listener: Listener): boolean {
  if (when?.listeners?.includes(listener.name) === false) return false;
  return [...(when?.attributes ?? [])].every(([name, values]) => values.includes(ownAttribute(principal.attributes, name) ?? ""));
}

/**
 * Stops a compiler at what its target cannot say.
 * @throws PolicyError naming the lines
 * @returns what the policy agreed to leave out
 */
export function requireExpressible(policy: Policy, target: Capabilities): string[] {
  const findings: Finding[] = [];
  const leftOut = new Map<string, string>();
  const allowed = policy.unenforced.get(target.kind) ?? new Set<string>();
  const refuse = (source: Source, what: string, feature?: string): void => {
    if (feature !== undefined && allowed.has(feature)) {
      leftOut.set(feature, `${target.title} does not enforce ${feature}; the policy agrees to that`);
      return;
    }
    const consent = feature === undefined ? "" : `; if clients are trusted to keep it, say unenforced: { ${target.kind}: [${feature}] }`;
    findings.push({ level: "error", code: "INEXPRESSIBLE", message: `${target.title} cannot say ${what}${consent}`, source });
  };
  for (const rule of allRules(policy)) ruleRefusals(rule, policy, target, refuse);
  for (const { channels } of policy.classes.values()) {
    for (const channel of channels.values()) {
      const asked: [Feature, boolean][] = [
        ["qos", channel.qos !== undefined && channel.qos < 2],
        ["retain", channel.retain === false],
        ["maxBytes", channel.maxBytes !== undefined],
        ["messagesPerSecond", channel.messagesPerSecond !== undefined],
      ];
      for (const [feature, isAsked] of asked)
        if (isAsked && !target.enforces.includes(feature))
          refuse(channel.source, `the ${feature} of the channel ${channel.className}.${channel.name}`, feature);
    }
  }
  for (const role of policy.roles.values()) {
    for (const feature of ["retain", "will", "wildcards", "shared"] as const)
      if (!role.may[feature] && !target.enforces.includes(feature))
        refuse(role.source, `that the role ${role.name} may not use ${feature}`, feature);
    if (Object.keys(role.limits).length > 0 && !target.enforces.includes("roleLimits"))
      refuse(role.source, `limits of one role (${role.name})`, "roleLimits");
    for (const [listener, factors] of role.requires)
      if (factors.length > 0 && target.roleFactors !== true)
        refuse(role.source, `that the role ${role.name} shows ${factors.join(" and ")} on ${listener}: ask for it on a listener instead`);
  }
  for (const listener of policy.listeners.values()) listenerRefusals(listener, target, refuse);
  for (const [name, source] of policy.limitSources)
    if (!target.limits.includes(name as LimitName)) refuse(source, `the limit ${name}`, "limits");
  for (const { source, name } of policy.bridges) if (!target.bridges) refuse(source, `the bridge ${name}`);
  if (findings.length > 0) throw new PolicyError(`policy ${policy.name} for ${target.title}`, findings);
  return [...leftOut.values()];
}

function allRules(policy: Policy): Set<Rule> {
  return new Set([...policy.roles.values()].flatMap(({ rules }) => rules));
}

type Refuse = (source: Source, what: string, feature?: string) => void;

function ruleRefusals(rule: Rule, policy: Policy, target: Capabilities, refuse: Refuse): void {
  const { when, effect, source } = rule;
  if (effect === "deny" && !target.deny) refuse(source, "a denial: write the rights without it");
  if (when?.times !== undefined && !target.times)
    refuse(source, "times of access: a file does not know the time. Ask the decision point (`hawser policy serve`)");
  if (when?.networks !== undefined && !target.networks) refuse(source, "source networks of a right");
  const full = [...policy.listeners.values()].filter(({ scope }) => scope === "full");
  if (when?.listeners !== undefined && !target.perListener && !full.every(({ name }) => when.listeners?.includes(name)))
    refuse(source, "rights that depend on the listener");
}

function listenerRefusals({ name, requires, source, websocket, scope }: Listener, target: Capabilities, refuse: Refuse): void {
  const set = [...requires].sort().join("+");
  const fits = target.factors.some((factors) => [...factors].sort().join("+") === set);
  if (!fits)
    refuse(
      source,
      `a listener (${name}) that asks for ${requires.join(" and ")}${target.because?.[set] === undefined ? "" : `: ${target.because[set]}`}`,
    );
  if (websocket && !target.websocket) refuse(source, `a WebSocket listener (${name})`);
  if (scope === "recovery" && !target.perListener)
    refuse(source, `a listener of the recovery scope (${name}): it cannot give the same name fewer rights on one port`);
}
