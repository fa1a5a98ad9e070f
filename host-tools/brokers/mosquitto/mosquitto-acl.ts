/** The policy as mosquitto's ACL and PSK files. */
import { recoveryIdentity } from "../../../sdk/identity/device-id.js";
import { grantsOf } from "../../policy/roles.js";
import type { Grant } from "../../policy/roles.js";

export interface NamedRole {
  readonly name: string;
  readonly role: string;
}

export interface NamedKey {
  /** Also the broker's user name for who shows it. */
  readonly identity: string;
  readonly key: Uint8Array;
}

/** No certificate and no PSK identity can carry this name: it begins with a hyphen. */
const NOBODY = "-nobody";

/**
 * The name hawser itself shows to end the sessions of others. No device can have it: it begins with a hyphen, and only the holder of the
 * CA's key can make a certificate for it.
 */
export const CONTROL_NAME = "-control";

/** The dynamic-security plugin listens below this topic. */
export const CONTROL_TOPICS = "$CONTROL/dynamic-security/#";

/** Any role of a device will do: they have the same rights. */
const A_DEVICE_ROLE = "device";

/**
 * The ACL file of the mTLS listener. Every name stands there with its rights, so that one that is taken out loses them with the next
 * reload, whatever its certificate says.
 *
 * Only the reading of a device's own topics is a pattern too: up to 2.0.22 mosquitto forgets the rights of names, not patterns, for
 * sessions that are offline while it reloads, and throws away what comes for them. So those who are shut out are denied everything by name.
 *
 * @param shutOut names that may not even read their own topics
 * @param isControlled whether hawser ends sessions over this listener
 */
export function mosquittoFullAcl(names: readonly NamedRole[], shutOut: readonly string[], isControlled = true): string {
  const denials = shutOut.map((name) => `\nuser ${name}\ntopic deny #\n`);
  const own = grantsOf("%u", A_DEVICE_ROLE, "full").filter(({ access }) => access === "subscribe");
  return `${aclHead()}${isControlled ? CONTROL_ENTRY : ""}${fullEntries(names)}${denials.join("")}\n${aclLines("pattern", own)}`;
}

/** The ACL file of a listener for clients alone: there are no patterns, so a device has no rights there. */
export function mosquittoBackendAcl(names: readonly NamedRole[]): string {
  return `${aclHead()}${CONTROL_ENTRY}${fullEntries(names)}`;
}

const CONTROL_ENTRY = `\nuser ${CONTROL_NAME}\ntopic readwrite ${CONTROL_TOPICS}\n`;

function fullEntries(names: readonly NamedRole[]): string {
  return names.map(({ name, role }) => aclEntry(name, grantsOf(name, role, "full"))).join("");
}

/** The ACL file of the PSK listener: the recovery scope of every name, for each identity it may show. */
export function mosquittoRecoveryAcl(names: readonly NamedRole[]): string {
  const entries = names.flatMap(({ name, role }) =>
    pskIdentities(name).map((identity) => aclEntry(identity, grantsOf(name, role, "recovery"))),
  );
  return `${aclHead()}${entries.join("")}`;
}

/** The PSK identities of a device: today's, and the plain id that earlier versions of hawser provisioned. */
export function pskIdentities(name: string): readonly string[] {
  return [recoveryIdentity(name), name];
}

/** An ACL file always has an entry: with an empty one mosquitto allows everything. */
function aclHead(): string {
  return `# Written by hawser; changes made here are lost.\n\nuser ${NOBODY}\ntopic deny #\n`;
}

function aclEntry(name: string, grants: readonly Grant[]): string {
  return grants.length === 0 ? "" : `\nuser ${name}\n${aclLines("topic", grants)}`;
}

/** Mosquitto checks reading when it delivers, so `read` is what a subscriber needs. */
function aclLines(keyword: "topic" | "pattern", grants: readonly Grant[]): string {
  return grants.map(({ access, filter }) => `${keyword} ${access === "publish" ? "write" : "read"} ${filter}\n`).join("");
}

/** A PSK file, `identity:hex` a line. */
export function mosquittoPskFile(keys: readonly NamedKey[]): string {
  return keys.map(({ identity, key }) => `${identity}:${Buffer.from(key).toString("hex")}\n`).join("");
}
