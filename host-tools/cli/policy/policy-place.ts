/** The policy and the names that a `hawser policy` command is about. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { openCaParts, openCaReadOnly } from "../../ca/ca-without-passphrase.js";
import { DEFAULT_POLICY_TEXT } from "../../policy/default-policy.js";
import { readInventory } from "../../policy/inventory.js";
import { parsePolicy } from "../../policy/policy-file.js";
import { directoryOf } from "../../policy/policy-model.js";
import type { NameDirectory, Policy } from "../../policy/policy-model.js";

export interface PolicySources {
  policy?: string;
  dir?: string;
  inventory?: string;
  json?: boolean;
}

export const POLICY_FILE = "policy.yaml";
export const BUILT_IN = "the built-in policy";

/** Text and name of the policy that the flags mean. */
export function policyText({ policy, dir }: PolicySources): { text: string; file: string } {
  if (policy !== undefined) return { text: readFileSync(policy, "utf8"), file: policy };
  const text = dir === undefined ? DEFAULT_POLICY_TEXT : openCaParts(dir).policyText();
  return { text, file: dir === undefined || text === DEFAULT_POLICY_TEXT ? BUILT_IN : join(dir, POLICY_FILE) };
}

/** @throws PolicyError, and errors of the file system */
export function loadPolicy(sources: PolicySources): Policy {
  const { text, file } = policyText(sources);
  return parsePolicy(text, file);
}

/** The names that the flags mean; undefined when they mean none. */
export function loadNames({ dir, inventory }: PolicySources): NameDirectory | undefined {
  if (inventory !== undefined) return directoryOf(readInventory(readFileSync(inventory, "utf8"), inventory));
  return dir === undefined ? undefined : openCaReadOnly(dir).names();
}

/** @throws HawserError `USAGE` when the flags mean no names */
export function needNames(sources: PolicySources): NameDirectory {
  const names = loadNames(sources);
  if (names === undefined) throw new HawserError("USAGE", "this question needs names", "Add --dir CA or --inventory FILE.");
  return names;
}

/** Milliseconds since the epoch. Throws `USAGE`. */
export function timeOf(text: string | undefined): number {
  if (text === undefined) return Date.now();
  const ms = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw new HawserError("USAGE", `invalid time ${JSON.stringify(text)}`, "Use the form 2027-01-31T08:00:00Z.");
  return ms;
}
