/**
 * The policy as mosquitto's ACL and PSK files. Every name stands there by itself, never by a pattern: a name that is taken out loses its
 * rights with the next reload, whatever its certificate says.
 */
import { grantsOf } from "./roles.js";
import type { Scope } from "./roles.js";

export interface NamedRole {
  readonly name: string;
  readonly role: string;
}

export interface NamedKey {
  readonly identity: string;
  readonly key: Uint8Array;
}

/** No certificate and no PSK identity can carry this name: it begins with a hyphen. */
const NOBODY = "-nobody";

/**
 * An ACL file. It always has an entry: with an empty one mosquitto allows everything.
 * Mosquitto checks reading when it delivers, so `read` is what a subscriber needs.
 */
export function mosquittoAcl(names: readonly NamedRole[], scope: Scope): string {
  const entries = names.map(({ name, role }) => {
    const topics = grantsOf(name, role, scope).map(({ access, filter }) => `topic ${access === "publish" ? "write" : "read"} ${filter}`);
    return topics.length === 0 ? "" : `\nuser ${name}\n${topics.join("\n")}\n`;
  });
  return `# Written by hawser; changes made here are lost.\n\nuser ${NOBODY}\ntopic deny #\n${entries.join("")}`;
}

/** A PSK file, `identity:hex` a line. */
export function mosquittoPskFile(keys: readonly NamedKey[]): string {
  return keys.map(({ identity, key }) => `${identity}:${Buffer.from(key).toString("hex")}\n`).join("");
}
