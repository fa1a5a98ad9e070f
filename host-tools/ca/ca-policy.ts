/** The policy of a CA directory: read, asked, and changed as a whole or not at all. */
import { createHash } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import { caAcls } from "../brokers/mosquitto/mosquitto-ca-acl.js";
import { findMosquitto } from "../brokers/mosquitto/mosquitto-process.js";
import { tryConfiguration } from "../brokers/mosquitto/mosquitto-trial.js";
import type { BrokerFacts } from "../brokers/mosquitto/mosquitto-config.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import type { Draft } from "../ca-directory/change-draft.js";
import { DIRECTORIES, FILES } from "../ca-directory/directory-layout.js";
import { readOutputs } from "../ca-directory/outputs-file.js";
import { unknownId } from "../ca-directory/registry.js";
import type { NameSummary, RegistryEntry } from "../ca-directory/registry-entry.js";
import { attributeOf, roleOf } from "../policy/bound-rule.js";
import { DEFAULT_POLICY_TEXT, defaultPolicy } from "../policy/default-policy.js";
import { deviceTopics } from "../policy/device-topics.js";
import { identityBasesFor } from "../policy/identity-topics.js";
import { PolicyEngine } from "../policy/policy-engine.js";
import { checkPolicy, policyErrors, unservedIdentity } from "../policy/policy-check.js";
import { parsePolicy } from "../policy/policy-file.js";
import type { NameDirectory, Policy, Principal } from "../policy/policy-model.js";
import { PolicyError } from "../policy/policy-text.js";
import { asksForPassword, withCertificatePasswords } from "./certificate-passwords.js";
import type { CaContext } from "./context.js";
import { refuseLostIdentity } from "./identity-move.js";
import { hashPassword, newPassword } from "../policy/password.js";
import { namesOf, principalOf } from "./policy-names.js";

let lastRead: { readonly text: string; readonly policy: Policy } | undefined;

/** The policy a CA has now. Throws PolicyError for one that another version of hawser wrote and this one cannot read. */
export function policyOf(files: CaFiles): Policy {
  if (!files.has(FILES.policy)) return defaultPolicy();
  const text = files.read(FILES.policy).toString("utf8");
  if (lastRead?.text !== text) lastRead = { text, policy: parsePolicy(text, files.directory.pathOf(FILES.policy)) };
  return lastRead.policy;
}

/** Where the policy has the topics of a device: see {@link deviceTopics}. */
export function topicsOf(files: CaFiles, device: NameSummary | RegistryEntry): DeviceTopics | undefined {
  return deviceTopics(policyOf(files), principalOf(device));
}

export function policyEngineOf(files: CaFiles, names: Iterable<NameSummary>): PolicyEngine {
  return new PolicyEngine(policyOf(files), namesOf(names));
}

/** Of a CA without a policy of its own. */
export function builtInPolicyEngine(names: Iterable<NameSummary>): PolicyEngine {
  return new PolicyEngine(defaultPolicy(), namesOf(names));
}

/** What mosquitto's configuration takes from a CA with a policy of its own. */
export function brokerPolicyOf(files: CaFiles, names: Iterable<NameSummary>): Pick<BrokerFacts, "policy"> {
  if (!files.has(FILES.policy)) return {};
  const engine = policyEngineOf(files, names);
  const { bytesPerSecondPerSource } = engine.policy.limits;
  return {
    policy: {
      acls: (facts, clientsApart) => caAcls(engine, facts, clientsApart),
      ...(bytesPerSecondPerSource === undefined ? {} : { bytesPerSecondPerSource }),
    },
  };
}

const VALID_ROLE = /^[a-z0-9][a-z0-9._-]{0,31}$/;

/**
 * Returns `role` when it may be given to a device: one the policy has for devices or, where it has a default for them, any word but a
 * client's role.
 * @throws HawserError `INVALID_ROLE`
 */
export function checkDeviceRole(policy: Policy, role: string): string {
  if (policy.roles.get(role)?.for === "clients") {
    throw new HawserError(
      "INVALID_ROLE",
      `the role ${role} belongs to clients that are not devices`,
      "Choose another role for the device, or use `hawser issue` for a client.",
    );
  }
  if (!VALID_ROLE.test(role)) {
    throw new HawserError(
      "INVALID_ROLE",
      `invalid role ${JSON.stringify(role)}`,
      "Use up to 32 lower-case letters, digits, '.', '_' and '-', starting with a letter or digit.",
    );
  }
  if (policy.roles.has(role) || policy.defaultDeviceRole !== undefined) return role;
  throw new HawserError("INVALID_ROLE", `the policy has no role ${role} for devices`, `Choose one of ${rolesFor(policy, "devices")}.`);
}

/** `any-role`: whoever gives a role whose devices ask nowhere for certificates, or one that is only a label, means it. */
type GivenRole = "any-role" | "renewing";

/** Throws `INVALID_ROLE` when the device would have the rights of the policy's default role instead. */
function checkNamedRole(policy: Policy, id: string, role: string, roles: GivenRole): void {
  checkDeviceRole(policy, role);
  if (policy.roles.has(role)) return;
  const label = roles === "renewing" ? "" : " If it is only a label, add --default-rights.";
  throw new HawserError(
    "INVALID_ROLE",
    `the policy has no role ${role}: ${id} would have all rights of the role ${policy.defaultDeviceRole ?? ""}`,
    `Add ${role} to the policy and run \`hawser policy apply\`, or choose one of ${rolesFor(policy, "devices")}.${label}`,
  );
}

/**
 * Returns `role` when it is one a client can have.
 * @throws HawserError `INVALID_ROLE`
 */
export function checkClientRole(policy: Policy, role: string): string {
  if (policy.roles.get(role)?.for === "clients") return role;
  throw new HawserError("INVALID_ROLE", `unknown client role ${JSON.stringify(role)}`, `Choose one of ${rolesFor(policy, "clients")}.`);
}

function rolesFor(policy: Policy, kind: "devices" | "clients"): string {
  return [...policy.roles.values()].flatMap((role) => (role.for === kind ? [role.name] : [])).join(", ");
}

export interface AppliedPolicy {
  readonly name: string;
  /** SHA-256 of its text, as the audit trail has it. */
  readonly sha256: string;
  /** False when the CA had this very text already. */
  readonly changed: boolean;
}

/**
 * Gives a CA another policy. Before anything changes, the policy is checked, compiled and tried for every broker configuration of the CA.
 *
 * @param force even if no authority, operator or device is left with its rights, or a device loses its role to the default one; `back`: to
 *   the policy before, unchecked
 * @throws PolicyError (`POLICY_INVALID`) naming lines; HawserError `POLICY_CUTS_OFF`, `POLICY_DROPS_ROLE`, `OUTPUT_REFUSED`, and
 * those of every change
 */
export async function applyPolicy(
  ca: CaContext,
  text: string,
  force: boolean | "back",
  factsOf: (draft: Draft) => BrokerFacts,
): Promise<AppliedPolicy> {
  return ca.store.change(async (draft) => {
    const policy = parsePolicy(text, "the policy");
    const names = namesOf(draft.summaries());
    const errors = policyErrors(checkPolicy(policy, names));
    if (errors.length > 0) throw new PolicyError("the policy", errors);
    const sha256 = createHash("sha256").update(text).digest("hex");
    const before = draft.has(FILES.policy) ? draft.read(FILES.policy).toString("utf8") : DEFAULT_POLICY_TEXT;
    if (before === text) return { name: policy.name, sha256, changed: false };
    if (force === false) {
      refuseCutOff(policyOf(draft), policy, names);
      refuseDroppedRole(policyOf(draft), policy, names);
    }
    if (force !== "back") {
      const devices = [...names.all()].map((name) => ({ before: name, after: name }));
      refuseLostIdentity(draft, { before: policyOf(draft), after: policy, devices }, force);
    }
    draft.write(FILES.policy, text);
    giveMissingPasswords(ca, draft, policy);
    await tryEverywhere(ca, draft, factsOf(draft));
    draft.record({ event: "policy-applied", policy: policy.name, sha256 });
    return { name: policy.name, sha256, changed: true };
  });
}

/** A policy that asks for passwords beside certificates counts for the certificates there are. */
function giveMissingPasswords(ca: CaContext, draft: Draft, policy: Policy): void {
  const names = [...draft.summaries()].filter((summary) => asksForPassword(policy, summary)).map(({ name }) => name);
  for (const name of names) {
    const entry = draft.entries.get(name);
    const changed = entry === undefined ? undefined : withCertificatePasswords(ca.keys, policy, entry);
    if (changed !== undefined && changed !== entry) draft.put(changed);
  }
}

/** The text a CA's policy has now. */
export function policyTextOf(files: CaFiles): string {
  return files.has(FILES.policy) ? files.read(FILES.policy).toString("utf8") : DEFAULT_POLICY_TEXT;
}

/** A configuration that mosquitto cannot load must stop the change while nothing has happened. */
async function tryEverywhere(ca: CaContext, draft: Draft, facts: BrokerFacts): Promise<void> {
  const mosquitto = findMosquitto();
  if (mosquitto === undefined) return;
  for (const { directory, settings } of readOutputs(draft)) {
    const problem = await tryConfiguration(mosquitto, ca.directory.pathOf(DIRECTORIES.trial), settings, facts);
    if (problem !== undefined)
      throw new HawserError(
        "OUTPUT_REFUSED",
        `mosquitto cannot load this policy for ${directory}: ${problem}`,
        "Nothing was changed. Report this with the versions of hawser and mosquitto.",
      );
  }
}

function refuseCutOff(before: Policy, after: Policy, names: NameDirectory): void {
  const groups: [string, (policy: Policy, principal: Principal) => boolean][] = [
    ["the enrolment authority", isAuthority],
    ["every operator (nobody could send devices anything)", isOperator],
    ["every device", isServedDevice],
  ];
  for (const [who, belongs] of groups) {
    const active = [...names.all()].filter((principal) => principal.active);
    if (!active.some((principal) => belongs(before, principal)) || active.some((principal) => belongs(after, principal))) continue;
    throw new HawserError(
      "POLICY_CUTS_OFF",
      `this policy cuts off ${who}`,
      "Check with `hawser policy diff`. To apply it anyway, use --force.",
    );
  }
  const [unserved] = unservedIdentity(after);
  if (unserved !== undefined)
    throw new HawserError(
      "POLICY_CUTS_OFF",
      `devices could not renew their certificates: ${unserved.className}.${unserved.name} is not where they can ask`,
      "See `hawser policy check`; apply it with --force for devices that are not hawser's.",
    );
}

/** A device in quarantine must not get all rights because the next policy was written without its role. */
function refuseDroppedRole(before: Policy, after: Policy, names: NameDirectory): void {
  if (after.defaultDeviceRole === undefined) return;
  for (const { name, kind, role, active, recoverable } of names.all()) {
    if (kind !== "device" || !(active || recoverable) || after.roles.has(role)) continue;
    if (!before.roles.has(role) || role === before.defaultDeviceRole) continue;
    throw new HawserError(
      "POLICY_DROPS_ROLE",
      `this policy has no role ${role}, which ${name} has: it would have all rights of the role ${after.defaultDeviceRole}`,
      "Keep the role, or give its devices another one with `hawser policy set`. To apply it anyway, use --force.",
    );
  }
}

/** Reads requests for certificates and answers them. */
function isAuthority(policy: Policy, principal: Principal): boolean {
  return (
    hasRight(policy, principal, "subscribe", ({ recovery, direction }) => recovery && direction === "up") &&
    hasRight(policy, principal, "publish", ({ recovery, direction }) => recovery && direction === "down")
  );
}

function isOperator(policy: Policy, principal: Principal): boolean {
  return hasRight(policy, principal, "publish", ({ recovery, direction }) => !recovery && direction === "down");
}

function hasRight(
  policy: Policy,
  principal: Principal,
  access: "publish" | "subscribe",
  isWanted: (channel: { recovery: boolean; direction: string }) => boolean,
): boolean {
  if (principal.kind !== "client") return false;
  return (
    roleOf(policy, principal)?.rules.some(
      (rule) => rule.effect === "allow" && rule.access === access && rule.channel !== undefined && isWanted(rule.channel),
    ) === true
  );
}

function isServedDevice(policy: Policy, principal: Principal): boolean {
  if (principal.kind !== "device") return false;
  return (
    roleOf(policy, principal)?.rules.some(
      ({ own, template }) =>
        own && template.every((level) => level.kind !== "placeholder" || attributeOf(policy, principal, level.name) !== undefined),
    ) === true
  );
}

export interface NameSettings {
  readonly id: string;
  /** New values; undefined takes an attribute away. */
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly role?: string;
  /** Lets a device have a role that the policy does not name, which gives it the rights of `defaultDeviceRole`. */
  readonly allowsDefaultRights?: boolean;
}

/**
 * Changes what the policy knows of a name. A device is not given a role that the policy does not name, unless that is wanted: who takes
 * rights away by a mistyped role would leave it all of them.
 *
 * @throws HawserError `UNKNOWN_ID`, `INVALID_ROLE`, `INVALID_ATTRIBUTE`, `POLICY_CUTS_OFF` (devices of that role ask for certificates
 *   elsewhere), and those of every change
 */
export async function setName(ca: CaContext, settings: NameSettings): Promise<RegistryEntry> {
  const { id } = settings;
  return ca.store.change((draft) => {
    const entry = draft.entries.get(id);
    if (entry === undefined) throw unknownId(id);
    const changed = withSettings(ca, draft, entry, settings, "any-role");
    draft.put(changed);
    draft.record({
      event: "name-changed",
      name: id,
      role: changed.role,
      attributes: Object.entries(changed.attributes ?? {}).map(([name, value]) => `${name}=${value}`),
    });
    return changed;
  });
}

/** The entry with these settings. Throws `INVALID_ROLE`, `INVALID_ATTRIBUTE`, `POLICY_CUTS_OFF`. */
export function withSettings(
  ca: CaContext,
  draft: Draft,
  entry: RegistryEntry,
  settings: Omit<NameSettings, "id">,
  roles: GivenRole,
): RegistryEntry {
  const { attributes, role, allowsDefaultRights = false } = settings;
  const policy = policyOf(draft);
  const isDevice = entry.kind === "device";
  if (isDevice && role !== undefined && role !== entry.role && !allowsDefaultRights) checkNamedRole(policy, entry.name, role, roles);
  const withRole =
    role === undefined ? entry : { ...entry, role: isDevice ? checkDeviceRole(policy, role) : checkClientRole(policy, role) };
  const changed = withCertificatePasswords(ca.keys, policy, withAttributes(policy, withRole, attributes));
  const move = { before: principalOf(entry), after: principalOf(changed) };
  if (roles === "renewing" || identityBasesFor(policy, move.after).length > 0)
    refuseLostIdentity(draft, { before: policy, after: policy, devices: [move] }, false);
  return changed;
}

/**
 * Gives a name a new random password; the one it had counts no more.
 *
 * @param keep writes the password down before the registry knows it: what it throws leaves everything as it was
 * @throws HawserError `UNKNOWN_ID`, and those of `keep` and of every change
 */
export async function renewPassword(ca: CaContext, id: string, keep: (password: string) => void): Promise<void> {
  await ca.store.change((draft) => {
    const entry = draft.entries.get(id);
    if (entry === undefined) throw unknownId(id);
    const password = newPassword();
    keep(password);
    draft.put({ ...entry, passwordHash: hashPassword(password) });
    draft.record({ event: "password-renewed", name: id });
  });
}

/**
 * The entry with these attributes changed; undefined takes one away.
 * @throws HawserError `INVALID_ATTRIBUTE`
 */
export function withAttributes(policy: Policy, entry: RegistryEntry, attributes: NameSettings["attributes"]): RegistryEntry {
  const { attributes: had = {}, ...rest } = entry;
  const merged = Object.entries({ ...had, ...attributes }).filter((pair): pair is [string, string] => pair[1] !== undefined);
  const changed: RegistryEntry = { ...rest, ...(merged.length === 0 ? {} : { attributes: Object.fromEntries(merged) }) };
  checkAttributes(policy, changed, attributes);
  return changed;
}

function checkAttributes(policy: Policy, entry: RegistryEntry, set: NameSettings["attributes"]): void {
  const principal = principalOf(entry);
  for (const [name, value] of Object.entries(set)) {
    if (value === undefined) continue;
    const definition = policy.attributes.get(name);
    if (definition === undefined)
      throw new HawserError(
        "INVALID_ATTRIBUTE",
        `the policy has no attribute ${JSON.stringify(name)}`,
        `Declare it under attributes, or choose one of ${[...policy.attributes.keys()].join(", ") || "(none)"}.`,
      );
    if (attributeOf(policy, principal, name) === value) continue;
    const allowed =
      definition.values?.join(", ") ??
      (definition.pattern === undefined
        ? "a letter or digit, then letters, digits, blanks and . _ : @ -"
        : `something that matches ${definition.pattern.source.slice(4, -2)}`);
    throw new HawserError("INVALID_ATTRIBUTE", `${name} cannot be ${JSON.stringify(value)}`, `It must be ${allowed}.`);
  }
}
