/**
 * What is wrong or doubtful about a policy that can be read: the tenants' wall proved, rights nobody has or that reach too far, names it
 * does not fit.
 */
import { attributeOf, roleOf } from "./bound-rule.js";
import { conditionKey } from "./concrete-rules.js";
import { DEFAULT_IDENTITY_BASE, identityBaseOf } from "./identity-topics.js";
import type { Channel, NameDirectory, Policy, Role, Rule } from "./policy-model.js";
import type { Finding } from "./policy-text.js";
import { covers } from "./topic-filter.js";
import { fillTemplate, overlap, templateText } from "./topic-template.js";
import type { Level } from "./topic-template.js";

/** Of one kind, about names: more are counted, not listed. */
const MAX_LISTED = 20;

/** Findings about the policy itself and, with a directory, about the names it is for. Errors first, then by line. */
export function checkPolicy(policy: Policy, directory?: NameDirectory): Finding[] {
  const findings = [
    ...[...policy.roles.values()].flatMap((role) => [...reachFindings(policy, role), ...shadowFindings(role)]),
    ...sharedTopics(policy),
    ...tenantFindings(policy),
    ...enrolmentFindings(policy),
    ...identityFindings(policy),
    ...(directory === undefined ? [] : [...unusedRoles(policy, directory), ...nameFindings(policy, directory)]),
  ];
  const rank = ({ level }: Finding): number => (level === "error" ? 0 : 1);
  return findings.sort((a, b) => rank(a) - rank(b) || (a.source?.line ?? 0) - (b.source?.line ?? 0));
}

/** Errors of the policy itself. A name that does not fit it only loses its own rights; it must not keep the others from theirs. */
export function policyErrors(findings: readonly Finding[]): Finding[] {
  return findings.filter(({ level, code }) => level === "error" && code !== "MISSING_ATTRIBUTE" && code !== "NO_ROLE");
}

function channelsOf(policy: Policy): Channel[] {
  return [...policy.classes.values()].flatMap(({ channels }) => [...channels.values()]);
}

/** Rights written as topics, held against the channels they touch. */
function reachFindings(policy: Policy, role: Role): Finding[] {
  const findings: Finding[] = [];
  for (const rule of role.rules) {
    if (rule.effect === "deny" || rule.channel !== undefined || rule.role !== role.name) continue;
    const touched = channelsOf(policy).filter((channel) => overlap(rule.template, channel.template));
    const foreign =
      policy.tenant === undefined || rule.acrossTenants ? undefined : touched.find((channel) => !isWalled(policy, rule.template, channel));
    const shown = templateText(rule.template);
    if (foreign !== undefined) {
      const message = `${role.name} reaches ${foreign.className}.${foreign.name} of every ${policy.tenant ?? ""} by ${shown}: grant the channel, put {${policy.tenant ?? ""}} where it stands in the base, or say acrossTenants: true`;
      findings.push({ level: "error", code: "CROSSES_TENANTS", message, source: rule.source });
    } else if (touched.length > 0 && !touched.some((channel) => covers(wildcards(channel.template), wildcards(rule.template)))) {
      const names = touched.map((channel) => `${channel.className}.${channel.name}`).join(", ");
      findings.push({
        level: "warning",
        code: "WIDER_THAN_CHANNEL",
        message: `${role.name} may ${rule.access} ${shown}, which is wider than any channel (it takes in ${names})`,
        source: rule.source,
      });
    }
  }
  return findings;
}

/** Whether a template, filled with one client's values, touches only topics of its own tenant or of itself in this channel. */
function isWalled(policy: Policy, template: readonly Level[], channel: Channel): boolean {
  return channel.template.some((level, index) => {
    const own = template[index];
    return (
      level.kind === "placeholder" &&
      own?.kind === "placeholder" &&
      own.name === level.name &&
      (level.name === policy.tenant || level.name === "id")
    );
  });
}

/**
 * The tenants' wall outside of the classes: topics that a rule names itself have to show whose they are, and two rules that can mean the
 * same topic have to show it at the same level. Together with the classes' own walls this proves that no topic belongs to two tenants.
 */
function tenantFindings(policy: Policy): Finding[] {
  const { tenant } = policy;
  if (tenant === undefined) return [];
  const rules = [...policy.roles.values()].flatMap((role) =>
    role.rules.filter((rule) => rule.role === role.name && rule.effect === "allow" && rule.channel === undefined && !rule.acrossTenants),
  );
  const unmarked = rules.filter(
    ({ template }) => !template.some((level) => level.kind === "placeholder" && (level.name === tenant || level.name === "id")),
  );
  const findings: Finding[] = unmarked.map(({ role, template, source }) => ({
    level: "error",
    code: "CROSSES_TENANTS",
    message: `${role} shares ${templateText(template)} with every ${tenant}: put {${tenant}} in it, or say acrossTenants: true`,
    source,
  }));
  for (const [index, rule] of rules.entries()) {
    for (const other of rules.slice(index + 1)) {
      if (
        unmarked.includes(rule) ||
        unmarked.includes(other) ||
        !overlap(rule.template, other.template) ||
        haveOneOwner(policy, rule, other)
      )
        continue;
      const message = `${templateText(rule.template)} of one ${tenant} can be ${templateText(other.template)} (line ${other.source.line}) of another: put {${tenant}} at the same level`;
      findings.push({ level: "error", code: "CROSSES_TENANTS", message, source: rule.source });
    }
  }
  return findings;
}

function wildcards(levels: readonly Level[]): string {
  return fillTemplate(levels, () => "+") ?? "";
}

/** Rules that change nothing, because another rule of the role says the same or more. */
function shadowFindings(role: Role): Finding[] {
  return role.rules.flatMap((rule, index) => {
    if (rule.role !== role.name) return [];
    const shadow = role.rules.find(
      (other, at) => at !== index && other.source !== rule.source && shadows(other, rule) && (at < index || !shadows(rule, other)),
    );
    if (shadow === undefined) return [];
    const dead = shadow.effect === "deny" && rule.effect === "allow";
    const message = dead
      ? `${rule.source.path} of ${role.name} never counts: ${shadow.source.path} (line ${shadow.source.line}) denies all of it`
      : `${rule.source.path} of ${role.name} adds nothing: ${shadow.source.path} (line ${shadow.source.line}) says it already`;
    return [{ level: "warning" as const, code: dead ? "UNREACHABLE" : "SHADOWED", message, source: rule.source }];
  });
}

function shadows(other: Rule, rule: Rule): boolean {
  if (other.access !== rule.access || (other.effect === "allow" && rule.effect === "deny")) return false;
  if (other.recovery !== rule.recovery && other.effect === "allow" && !other.recovery) return false;
  if (other.when !== undefined && conditionKey(other) !== conditionKey(rule)) return false;
  if (other.needsOwner && (other.channel !== rule.channel || !isWithinScope(rule, other))) return false;
  if (!other.needsOwner && !isWithinScope(rule, other)) return false;
  const sameOwner = other.own === rule.own && (other.channel === undefined) === (rule.channel === undefined);
  const hasPlaceholders = other.template.some(({ kind }) => kind === "placeholder");
  const isEveryOwners = other.channel !== undefined && !other.own && other.scope.size === 0 && !other.needsOwner;
  if (!sameOwner && hasPlaceholders && !isEveryOwners) return false;
  return coversTemplate(other.template, rule.template, other.channel !== undefined && !other.own);
}

/** Whether each part of `outer`'s scope is asked by `inner` too, with no more values. */
function isWithinScope(inner: Rule, outer: Rule): boolean {
  return [...outer.scope].every(([name, values]) => inner.scope.get(name)?.every((value) => values.includes(value)) === true);
}

function coversTemplate(outer: readonly Level[], inner: readonly Level[], placeholdersAreWildcards: boolean): boolean {
  const mark = (levels: readonly Level[], isOuter: boolean): string =>
    fillTemplate(levels, (name) => (isOuter && placeholdersAreWildcards ? "+" : `{${name}}`)) ?? "";
  return covers(mark(outer, true), mark(inner, false));
}

/** Topics that two classes, or all devices of one, have in common. */
function sharedTopics(policy: Policy): Finding[] {
  const findings: Finding[] = [];
  const level = policy.tenant === undefined ? "warning" : "error";
  const channels = channelsOf(policy);
  for (const [index, a] of channels.entries()) {
    const isWalledOff = a.template.some((one) => one.kind === "placeholder" && (one.name === "id" || one.name === policy.tenant));
    if (!isWalledOff)
      findings.push({
        level,
        code: "SHARED_TOPIC",
        message: `every device of ${a.className} with the same attributes has the same topic ${templateText(a.template)}: it ${a.direction === "up" ? "cannot be told whose message it is" : "reads what is meant for others"}`,
        source: a.source,
      });
    for (const b of channels.slice(index + 1)) {
      if (a.className === b.className || !overlap(a.template, b.template) || haveOneOwner(policy, a, b)) continue;
      findings.push({
        level,
        code: "SHARED_TOPIC",
        message: `${a.className}.${a.name} and ${b.className}.${b.name} (line ${b.source.line}) can be the same topic for different devices: ${templateText(a.template)}, ${templateText(b.template)}`,
        source: a.source,
      });
    }
  }
  return findings;
}

/** A topic that both match belongs to one device, or at least to one tenant. */
function haveOneOwner(policy: Policy, a: { readonly template: readonly Level[] }, b: { readonly template: readonly Level[] }): boolean {
  return a.template.some((level, index) => {
    const other = b.template[index];
    return (
      level.kind === "placeholder" &&
      other?.kind === "placeholder" &&
      level.name === other.name &&
      (level.name === "id" || level.name === policy.tenant)
    );
  });
}

/** A device that cannot be given a new certificate is lost when its own has expired. */
function enrolmentFindings(policy: Policy): Finding[] {
  const hasRecovery = [...policy.listeners.values()].some(({ scope }) => scope === "recovery");
  if (!hasRecovery) return [];
  const clients = [...policy.roles.values()].filter((role) => role.for === "clients");
  const answers = (channel: Channel): boolean => {
    const wanted = channel.direction === "up" ? "subscribe" : "publish";
    return clients.some(({ rules }) =>
      rules.some((rule) => rule.effect === "allow" && rule.access === wanted && coversTemplate(rule.template, channel.template, true)),
    );
  };
  return channelsOf(policy)
    .filter((channel) => channel.recovery && !answers(channel))
    .map((channel) => ({
      level: "warning",
      code: "NOBODY_ENROLS",
      message: `no role for clients may ${channel.direction === "up" ? "read" : "write"} ${channel.className}.${channel.name}, so no authority can renew these devices`,
      source: channel.source,
    }));
}

/** Recovery channels on which no device of Hawser could be given a new certificate, and no authority could answer it. */
export function unservedIdentity(policy: Policy): Channel[] {
  return channelsOf(policy).filter((channel) => channel.recovery && identityBaseOf(channel) === undefined);
}

function identityFindings(policy: Policy): Finding[] {
  const unserved = unservedIdentity(policy).map((channel) => ({
    level: "warning" as const,
    code: "IDENTITY_UNSERVED",
    message: `${channel.className}.${channel.name} is ${templateText(channel.template)}, where no device of hawser can ask: it has to be BASE/${channel.direction === "up" ? "request" : "response"}, with {id} once and no other placeholder in BASE`,
    source: channel.source,
  }));
  const requests = channelsOf(policy).filter((channel) => channel.recovery && channel.direction === "up");
  const moved = requests.flatMap((channel): Finding[] => {
    const base = identityBaseOf(channel);
    if (base === undefined || base === DEFAULT_IDENTITY_BASE) return [];
    const message = `devices of ${channel.className} may ask below ${base}: they are told the first such place with their next certificate; firmware that cannot be told needs the option identityBase: "${base}"`;
    return [{ level: "warning", code: "IDENTITY_MOVED", message, source: channel.source }];
  });
  return [...unserved, ...moved, ...requests.flatMap((request) => forgeable(policy, request))];
}

/** Who asks is told by the topic alone, so no device may publish where another asks. */
function forgeable(policy: Policy, request: Channel): Finding[] {
  const at = request.template.findIndex(isId);
  return channelsOf(policy).flatMap((other): Finding[] => {
    if (other === request || other.direction !== "up" || !overlap(request.template, other.template)) return [];
    const level = other.template[at];
    if (level !== undefined && isId(level)) return [];
    const message = `${other.className}.${other.name} (line ${other.source.line}) can be the topic on which another device asks for a certificate: ${templateText(other.template)}, ${templateText(request.template)}`;
    return [{ level: "error", code: "IDENTITY_SHARED", message, source: request.source }];
  });
}

function isId(level: Level): boolean {
  return level.kind === "placeholder" && level.name === "id";
}

function unusedRoles(policy: Policy, directory: NameDirectory): Finding[] {
  const used = new Set<string>();
  const use = (name: string): void => {
    if (used.has(name)) return;
    used.add(name);
    for (const parent of policy.roles.get(name)?.inherits ?? []) use(parent);
  };
  for (const principal of directory.all()) use(roleOf(policy, principal)?.name ?? "");
  if (policy.defaultDeviceRole !== undefined) use(policy.defaultDeviceRole);
  return [...policy.roles.values()]
    .filter(({ name }) => !used.has(name))
    .map(({ name, source }) => ({ level: "warning", code: "UNUSED_ROLE", message: `nobody has the role ${name}`, source }));
}

/** Names that the policy has no role for, or that lack an attribute their topics need. */
function nameFindings(policy: Policy, directory: NameDirectory): Finding[] {
  const findings: Finding[] = [];
  const counts = new Map<string, number>();
  const add = (finding: Finding): void => {
    const count = (counts.get(finding.code) ?? 0) + 1;
    counts.set(finding.code, count);
    if (count <= MAX_LISTED) findings.push(finding);
  };
  for (const principal of directory.all()) {
    const role = roleOf(policy, principal);
    if (role === undefined) {
      add({
        level: "error",
        code: "NO_ROLE",
        message: `${principal.name} has the role ${principal.role}, which the policy does not have for a ${principal.kind}`,
      });
      continue;
    }
    for (const [name, source] of neededBy(role)) {
      if (attributeOf(policy, principal, name) !== undefined) continue;
      const value = Object.hasOwn(principal.attributes, name)
        ? `the ${name} ${JSON.stringify(principal.attributes[name])}, which the policy does not allow`
        : `no ${name}`;
      add({
        level: role.for === "devices" ? "error" : "warning",
        code: "MISSING_ATTRIBUTE",
        message: `${principal.name} has ${value}; its role ${role.name} needs one`,
        source,
      });
    }
  }
  for (const [code, count] of counts)
    if (count > MAX_LISTED) findings.push({ level: "error", code, message: `${count - MAX_LISTED} more names have the same fault` });
  return findings;
}

const needs = new WeakMap<Role, ReadonlyMap<string, Rule["source"]>>();

/** Attributes of its own that a role's rules use, and where. */
function neededBy(role: Role): ReadonlyMap<string, Rule["source"]> {
  const known = needs.get(role);
  if (known !== undefined) return known;
  const found = new Map<string, Rule["source"]>();
  for (const rule of role.rules) {
    const own =
      rule.own || rule.channel === undefined ? rule.template.flatMap((level) => (level.kind === "placeholder" ? [level.name] : [])) : [];
    const scoped = [...rule.scope.values()].flat().flatMap((value) => /^\{(.*)\}$/.exec(value)?.[1] ?? []);
    for (const name of [...own, ...scoped]) if (name !== "id" && !found.has(name)) found.set(name, rule.source);
  }
  needs.set(role, found);
  return found;
}
