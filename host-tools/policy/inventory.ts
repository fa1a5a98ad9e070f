/** Names from a file, for a policy that is looked at without a CA directory: examples, tests, a design on paper. */
import { parse } from "yaml";
import { HawserError } from "../../sdk/errors.js";
import { isId } from "../../sdk/identity/device-id.js";
import type { Principal } from "./policy-model.js";

const KEYS = new Set(["role", "kind", "attributes", "active", "recoverable"]);

/**
 * Reads `NAME: { role, kind?, attributes?, active?, recoverable? }`.
 * @throws HawserError `BAD_INVENTORY`
 */
export function readInventory(text: string, file: string): Principal[] {
  let value: unknown;
  try {
    // JSON is YAML too, and read a hundred times faster: for large fleets.
    value = text.trimStart().startsWith("{") ? JSON.parse(text) : parse(text, { maxAliasCount: 50 });
  } catch (error) {
    throw bad(file, error instanceof Error ? (error.message.split("\n")[0] ?? "not YAML") : "not YAML");
  }
  const names: unknown = isObject(value) && "names" in value ? value["names"] : value;
  return principalsOf(names, file);
}

/** @throws HawserError `BAD_INVENTORY` */
export function principalsOf(names: unknown, file: string): Principal[] {
  if (!isObject(names)) throw bad(file, "it has no names");
  return Object.entries(names).map(([name, raw]) => principalOf(name, raw, file));
}

function principalOf(name: string, raw: unknown, file: string): Principal {
  if (!isId(name)) throw bad(file, `invalid name ${JSON.stringify(name)}`);
  if (!isObject(raw)) throw bad(file, `${name} needs at least a role`);
  const stray = Object.keys(raw).find((key) => !KEYS.has(key));
  if (stray !== undefined) throw bad(file, `${name}: unknown setting ${stray}`);
  const { role, kind = "device", attributes = {}, active = true, recoverable = kind === "device" } = raw;
  if (typeof role !== "string" || (kind !== "device" && kind !== "client"))
    throw bad(file, `${name} needs a role, and the kind device or client`);
  if (typeof active !== "boolean" || typeof recoverable !== "boolean")
    throw bad(file, `${name}: active and recoverable must be true or false`);
  if (!isObject(attributes) || !Object.values(attributes).every((attribute) => typeof attribute === "string"))
    throw bad(file, `${name}: attributes must be strings (quote numbers)`);
  return { name, kind, role, attributes: attributes as Record<string, string>, active, recoverable };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(file: string, problem: string): HawserError {
  return new HawserError(
    "BAD_INVENTORY",
    `${file}: ${problem}`,
    "Use the form `NAME: { role: ROLE, kind: device, attributes: { site: b1 } }`.",
  );
}
