/**
 * A policy as mosquitto's ACL files (mosquitto.conf(5), acl_file).
 *
 * Small fleets: every name stands there with its rights, so that one that is taken out loses them with the next reload. Large ones:
 * mosquitto looks names up one after the other, so devices are a few patterns with `%u`, where their topics need nothing but their id.
 */
import { roleOf } from "../../policy/bound-rule.js";
import type { ConcreteRule } from "../../policy/concrete-rules.js";
import type { Listener, Principal, Role, Rule } from "../../policy/policy-model.js";
import { PolicyError } from "../../policy/policy-text.js";
import type { Finding } from "../../policy/policy-text.js";
import type { CompileInput } from "../../policy/policy-target.js";
import { CONTROL_NAME, CONTROL_TOPICS, pskIdentities } from "./mosquitto-acl.js";
import { fillTemplate } from "../../policy/topic-template.js";
import { covers } from "../../policy/topic-filter.js";

/** No certificate and no PSK identity can carry this name: it begins with a hyphen. */
const NOBODY = "-nobody";
/** From here on mosquitto takes seconds to load names one by one: its list of users is searched from the start for every line. */
const NAMED_UP_TO = 1000;

export interface AclOptions {
  /** `auto`: patterns for more than 1,000 devices. */
  readonly devices?: "auto" | "named" | "patterns";
  /** Names that may do nothing here, not even read on; those that may use no listener when left out. */
  readonly shutOut?: ReadonlySet<string>;
  /** The name by which hawser ends the sessions of others has its right here. */
  readonly isControlled?: boolean;
  /** Names stand there and nothing else: without patterns, a device that is not in the file has no rights. */
  readonly isByNameOnly?: boolean;
}

export interface MosquittoAcl {
  readonly text: string;
  readonly risks: readonly string[];
}

/** @throws PolicyError for denials that mosquitto cannot say */
export function mosquittoPolicyAcl(
  input: CompileInput,
  listener: Listener,
  { devices = "auto", shutOut, isControlled = false, isByNameOnly = false }: AclOptions = {},
): MosquittoAcl {
  const names = input.names();
  const isShutOut = ({ name, active, recoverable }: Principal): boolean => shutOut?.has(name) ?? (!active && !recoverable);
  const here = new Set(input.namesOn(listener).map(({ name }) => name));
  const patterns = isByNameOnly ? undefined : devicePatterns(input, listener);
  const usePatterns =
    patterns !== undefined &&
    (devices === "patterns" || (devices === "auto" && names.filter(({ kind }) => kind === "device").length > NAMED_UP_TO));
  // What a device reads is a pattern in any case: up to 2.0.22 a reload forgets the rights of names whose sessions are offline, and drops
  // what comes for them.
  const shared = (patterns ?? []).filter(({ access }) => usePatterns || (listener.scope === "full" && access === "subscribe"));
  const blocks = names.flatMap((principal) =>
    block(input, listener, principal, { isHere: here.has(principal.name), isShutOut: isShutOut(principal), usePatterns, shared }),
  );
  const text = [
    `# Written by hawser; changes made here are lost.\n\nuser ${NOBODY}\ntopic deny #\n${isControlled ? `\nuser ${CONTROL_NAME}\ntopic readwrite ${CONTROL_TOPICS}\n` : ""}`,
    ...blocks,
    patternText(shared),
  ].join("");
  return { text, risks: risksOf(listener, patterns, usePatterns) };
}

function risksOf({ name, scope }: Listener, patterns: readonly Pattern[] | undefined, usePatterns: boolean): string[] {
  if (usePatterns) return [`${name}: a name with a valid certificate that the registry does not know gets a device's own topics`];
  if (patterns === undefined && scope === "full")
    return [
      `${name}: devices that are offline while mosquitto reloads lose what is published for them until they return (its topics need more than the device's id, or there are several classes)`,
    ];
  return [];
}

interface Pattern {
  readonly access: Rule["access"];
  readonly filter: string;
}

/** What all devices may do, with `%u` for the id; undefined when that cannot be one text for all. */
function devicePatterns({ policy, engine }: CompileInput, listener: Listener): Pattern[] | undefined {
  // There the user name is the PSK identity, not the id.
  if (listener.requires.includes("psk")) return undefined;
  const roles = new Set<Role>();
  for (const principal of engine.directory.all()) {
    const role = principal.kind === "device" ? roleOf(policy, principal) : undefined;
    if (role !== undefined) roles.add(role);
  }
  const usual = policy.roles.get(policy.defaultDeviceRole ?? "");
  if (roles.size === 0 && usual !== undefined) roles.add(usual);
  const texts = [...roles].map((role) => patternsOfRole(role, listener));
  const [first] = texts;
  if (first === undefined) return [];
  return texts.every((text) => text !== undefined && JSON.stringify(text) === JSON.stringify(first)) ? first : undefined;
}

function patternsOfRole({ rules }: Role, { scope }: Listener): Pattern[] | undefined {
  const used = rules.filter(({ recovery }) => scope === "full" || recovery);
  if (used.some(({ own, when }) => !own || when !== undefined)) return undefined;
  const filled = used.map(({ access, template }) => ({
    access,
    filter: fillTemplate(template, (name) => (name === "id" ? "%u" : undefined)),
  }));
  // Two placeholders in one literal level cannot be, and a literal `%u` or `%c` would be replaced.
  const isPlain = used.every(({ template }) => template.every((level) => level.kind !== "literal" || !/%[uc]/.test(level.value)));
  return isPlain && filled.every((pattern): pattern is Pattern => pattern.filter !== undefined) ? filled : undefined;
}

function block(
  input: CompileInput,
  listener: Listener,
  principal: Principal,
  { isHere, isShutOut, usePatterns, shared }: { isHere: boolean; isShutOut: boolean; usePatterns: boolean; shared: readonly Pattern[] },
): string[] {
  const { name, kind } = principal;
  const own = shared.map(({ filter }) => filter.replace(/%u/g, name));
  const isDevice = kind === "device" && roleOf(input.policy, principal) !== undefined;
  if (!isHere) {
    if (isShutOut && shared.length > 0) return [entry(name, ["deny #", "deny $SYS/#"])];
    // In recovery: it goes on reading what is meant for it, and writes nothing.
    const writes = shared.flatMap(({ access }, index) => (access === "publish" ? [`deny ${own[index] ?? ""}`] : []));
    return usePatterns && writes.length > 0 ? [entry(name, writes)] : [];
  }
  if (isDevice && usePatterns) return [];
  const rules = input.rulesOn(principal, listener);
  const denials = [...new Set(rules.filter(({ effect }) => effect === "deny").map(({ filter }) => `deny ${filter}`))];
  requireSayable(rules);
  const allowed = rules
    .filter(({ effect }) => effect === "allow")
    .map(({ access, filter }) => `${access === "publish" ? "write" : "read"} ${filter}`);
  const notItsOwn = isDevice ? [] : own.map((filter) => `deny ${filter}`);
  const lines = [...denials, ...notItsOwn, ...allowed];
  // Over PSK the broker's user name is the identity, which differs from the name.
  const users = listener.requires.includes("psk") ? pskIdentities(name) : [name];
  return lines.length === 0 ? [] : users.map((user) => entry(user, lines));
}

function entry(name: string, lines: readonly string[]): string {
  return `\nuser ${name}\n${lines.map((line) => `topic ${line}\n`).join("")}`;
}

function patternText(patterns: readonly Pattern[]): string {
  return `\n${patterns.map(({ access, filter }) => `pattern ${access === "publish" ? "write" : "read"} ${filter}\n`).join("")}`;
}

/** mosquitto's `deny` is about reading and writing at once, and who may write to its plugin's topics could end everybody's sessions. */
function requireSayable(rules: readonly ConcreteRule[]): void {
  const findings: Finding[] = rules
    .filter(({ effect, filter }) => effect === "allow" && /^\$CONTROL(\/|$)/.test(filter))
    .map(({ filter, rule }) => ({
      level: "error",
      code: "INEXPRESSIBLE",
      message: `${filter} administers mosquitto itself: only hawser may have it`,
      source: rule.source,
    }));
  for (const denial of rules) {
    if (denial.effect !== "deny") continue;
    const isBoth = rules.some(
      ({ effect, access, filter }) => effect === "deny" && access !== denial.access && covers(filter, denial.filter),
    );
    const loses = rules.find(({ effect, access, filter }) => effect === "allow" && access !== denial.access && meet(filter, denial.filter));
    if (isBoth || loses === undefined) continue;
    const [denied, other] = denial.access === "publish" ? ["writing", "reading"] : ["reading", "writing"];
    const message = `mosquitto cannot deny ${denied} ${denial.filter} alone: ${loses.rule.source.path} (line ${loses.rule.source.line}) allows ${other} there`;
    findings.push({ level: "error", code: "INEXPRESSIBLE", message, source: denial.rule.source });
  }
  if (findings.length > 0) throw new PolicyError("the policy for mosquitto", findings);
}

/** Whether two filters have a topic in common. */
function meet(a: string, b: string): boolean {
  const [left, right] = [a.split("/"), b.split("/")];
  for (let index = 0; ; index += 1) {
    const [one, two] = [left[index], right[index]];
    if (one === "#" || two === "#") return true;
    if (one === undefined || two === undefined) return one === two;
    if (one !== two && one !== "+" && two !== "+") return false;
  }
}
