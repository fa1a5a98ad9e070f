/** Keeps devices from being left behind where a policy moves the topics on which they ask for certificates. */
import { HawserError } from "../../sdk/errors.js";
import type { Draft } from "../ca-directory/change-draft.js";
import type { RegistryEntry } from "../ca-directory/registry-entry.js";
import { DEFAULT_IDENTITY_BASE, identityBases, identityBasesFor, requestTopic } from "../policy/identity-topics.js";
import { PolicyEngine } from "../policy/policy-engine.js";
import { directoryOf } from "../policy/policy-model.js";
import type { Policy, Principal } from "../policy/policy-model.js";

/** Where the authority listens, and the topic on which it may hear itself. */
export interface IdentityTopics {
  readonly bases: readonly string[];
  readonly mark?: string;
}

export function identityTopicsOf(policy: Policy, authority: string): IdentityTopics {
  const moved = identityBases(policy);
  const bases = moved.length === 0 ? [DEFAULT_IDENTITY_BASE] : moved;
  const self: Principal = { name: authority, kind: "client", role: "authority", attributes: {}, active: true, recoverable: false };
  const engine = new PolicyEngine(policy, directoryOf([self]));
  const listeners = [...policy.listeners.keys()];
  const mayPublish = (topic: string): boolean =>
    listeners.some((listener) => engine.authorize({ name: authority, listener, action: "publish", topic, atMs: Date.now() }).allowed);
  const mark = bases.map((base) => requestTopic(base, authority)).find(mayPublish);
  return { bases, ...(mark === undefined ? {} : { mark }) };
}

/** Where a device last spoke to the authority; undefined for one that has not been heard. */
function heardAt({ identityBase, certificates }: RegistryEntry): string | undefined {
  // A second certificate was asked for over MQTT; what is not on record was below the base there always was.
  return identityBase ?? (certificates.length > 1 ? DEFAULT_IDENTITY_BASE : undefined);
}

export interface IdentityMove {
  readonly before: Policy;
  readonly after: Policy;
  /** The device as each of the policies is to know it. */
  readonly devices: Iterable<{ readonly before: Principal; readonly after: Principal }>;
}

/** A device that would lose the topics on which it asks for certificates. */
export interface LeftBehind {
  readonly name: string;
  readonly base: string;
  /** False: it may be a device that asks nowhere. */
  readonly wasHeard: boolean;
}

/** The devices that were not heard on topics that they keep. */
export function leftBehind({ before, after, devices }: IdentityMove, entryOf: (name: string) => RegistryEntry | undefined): LeftBehind[] {
  const found: LeftBehind[] = [];
  for (const device of devices) {
    const { name, kind, active, recoverable } = device.before;
    if (kind !== "device" || !(active || recoverable)) continue;
    const kept = identityBasesFor(after, device.after);
    const lost = identityBasesFor(before, device.before).filter((base) => !kept.includes(base));
    const entry = lost.length === 0 ? undefined : entryOf(name);
    if (entry === undefined) continue;
    const heard = heardAt(entry);
    if (heard === undefined || lost.includes(heard)) found.push({ name, base: heard ?? lost[0] ?? "", wasHeard: heard !== undefined });
  }
  return found;
}

/**
 * Refuses a change that takes from a device the topics on which it asks for certificates, until it was heard on others that it keeps.
 *
 * @param force lets go devices that have never been heard, which may be none of hawser's
 * @throws HawserError `POLICY_CUTS_OFF`
 */
export function refuseLostIdentity(draft: Draft, move: IdentityMove, force: boolean): void {
  const stuck = leftBehind(move, (name) => draft.entries.get(name)).filter(({ wasHeard }) => wasHeard || !force);
  const [first] = stuck;
  if (first === undefined) return;
  const some = stuck.slice(0, 3).map(({ name }) => name);
  throw new HawserError(
    "POLICY_CUTS_OFF",
    `${stuck.length} devices (${some.join(", ")}${stuck.length > some.length ? ", ..." : ""}) could not renew their certificates: they ask below ${first.base}`,
    "Keep those channels beside the new ones until these devices were heard there, or revoke them. --force lets go only devices never heard.",
  );
}
