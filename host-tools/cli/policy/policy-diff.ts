/** `policy diff`: what changes for whom. Changes that are alike but for the name are shown once. */
import { PolicyEngine } from "../../policy/policy-engine.js";
import { policyDifference } from "../../policy/policy-questions.js";
import type { Change } from "../../policy/policy-questions.js";
import type { Context } from "../command-runner.js";
import { loadPolicy, needNames } from "./policy-place.js";
import type { PolicySources } from "./policy-place.js";
import { printable, table } from "../terminal.js";

export interface DiffOptions extends PolicySources {
  old: string;
  new: string;
  all?: boolean;
}

interface Group {
  readonly sample: Change;
  readonly filter: string;
  readonly names: string[];
}

const SHOWN_NAMES = 3;

export async function diff(options: DiffOptions, { terminal }: Context): Promise<void> {
  const names = needNames(options);
  const [before, after] = [options.old, options.new].map((policy) => new PolicyEngine(loadPolicy({ policy }), names));
  if (before === undefined || after === undefined) return;
  const changes = policyDifference(before, after).filter(({ covered }) => options.all === true || !covered);
  const groups = grouped(changes);
  const json = groups.map(({ sample, filter, names: who }) => {
    const { listener, effect, access, when, source } = sample.right;
    return { change: sample.change, role: sample.role, names: who, listener, effect, access, filter, when, line: source.line };
  });
  const rows = groups.map(({ sample, filter, names: who }) => {
    const { listener, effect, access, when } = sample.right;
    const shown =
      who.length > SHOWN_NAMES ? `${who.slice(0, SHOWN_NAMES).join(", ")} and ${who.length - SHOWN_NAMES} more` : who.join(", ");
    return [
      sample.change,
      `${effect === "deny" ? "not " : ""}${access}`,
      `${filter}${when === "" ? "" : ` ${when}`}`,
      listener,
      sample.role,
      shown,
    ].map(printable);
  });
  terminal.result(
    { changes: json },
    groups.length === 0
      ? ["Nobody gains or loses anything."]
      : table([["CHANGE", "ACCESS", "TOPIC", "LISTENER", "ROLE", "NAMES"], ...rows]),
  );
}

function grouped(changes: readonly Change[]): Group[] {
  const groups = new Map<string, Group>();
  for (const change of changes) {
    const { listener, effect, access, when } = change.right;
    const filter = change.right.filter
      .split("/")
      .map((level) => (level === change.name ? "{id}" : level))
      .join("/");
    const key = JSON.stringify([change.change, change.role, listener, effect, access, filter, when]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { sample: change, filter, names: [change.name] });
    else group.names.push(change.name);
  }
  return [...groups.values()];
}
