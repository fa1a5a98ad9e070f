/** `policy explain` and `policy who`. */
import { HawserError } from "../../../sdk/errors.js";
import { unknownId } from "../../ca-directory/registry.js";
import { roleOf } from "../../policy/bound-rule.js";
import { PolicyEngine } from "../../policy/policy-engine.js";
import type { Verdict } from "../../policy/policy-engine.js";
import { explainTopic, rightsOf, whoReaches } from "../../policy/policy-questions.js";
import { isTopicName } from "../../policy/topic-filter.js";
import type { Context } from "../command-runner.js";
import { loadPolicy, needNames, timeOf } from "./policy-place.js";
import type { PolicySources } from "./policy-place.js";
import { printable, table } from "../terminal.js";

export interface ExplainOptions extends PolicySources {
  id: string;
  topic?: string;
  at?: string;
  from?: string;
}

export async function explain(options: ExplainOptions, { terminal }: Context): Promise<void> {
  const { id, topic, at, from } = options;
  const engine = new PolicyEngine(loadPolicy(options), needNames(options));
  const principal = engine.directory.get(id);
  if (principal === undefined) throw unknownId(id);
  const role = roleOf(engine.policy, principal);
  const head = `${id} is a ${principal.kind} with the role ${principal.role}${role === undefined || role.name === principal.role ? "" : ` (treated as ${role.name})`}${role === undefined ? ", which the policy does not have: it may do nothing" : ""}.`;
  if (topic !== undefined) {
    const verdicts = explainTopic(engine, id, topic, timeOf(at), from);
    const rows = verdicts.map(({ listener, action, verdict }) => [
      listener,
      action,
      verdict.allowed ? "yes" : "no",
      lineOf(verdict),
      printable(verdict.because),
    ]);
    const json = verdicts.map(({ listener, action, verdict: { allowed, code, because, source } }) => ({
      listener,
      action,
      allowed,
      code,
      because,
      line: source?.line,
      path: source?.path,
    }));
    terminal.result({ id, role: principal.role, topic, verdicts: json }, [
      head,
      ...table([["LISTENER", "ACTION", "MAY", "LINE", "BECAUSE"], ...rows]),
    ]);
    return;
  }
  const rights = rightsOf(engine, principal);
  const rows = rights.map(({ listener, effect, access, filter, when, source }) => [
    listener,
    `${effect === "deny" ? "not " : ""}${access}`,
    filter,
    `${source.line}`,
    `${source.path}${when === "" ? "" : ` ${when}`}`,
  ]);
  const json = rights.map(({ listener, effect, access, filter, when, source }) => ({
    listener,
    effect,
    access,
    filter,
    when,
    line: source.line,
    path: source.path,
  }));
  const nothing = rights.length === 0 ? ["It may do nothing."] : table([["LISTENER", "ACCESS", "TOPIC", "LINE", "RULE"], ...rows]);
  terminal.result({ id, role: principal.role, rights: json }, [head, ...nothing.map(printable)]);
}

function lineOf({ source }: Verdict): string {
  return source === undefined ? "-" : String(source.line);
}

export interface WhoOptions extends PolicySources {
  topic: string;
  at?: string;
}

export async function who(options: WhoOptions, { terminal }: Context): Promise<void> {
  const { topic, at } = options;
  if (!isTopicName(topic))
    throw new HawserError("INVALID_TOPIC", `${JSON.stringify(topic)} is not a topic name`, "Give one topic, without wildcards.");
  const found = whoReaches(new PolicyEngine(loadPolicy(options), needNames(options)), topic, timeOf(at));
  const rows = found.map(({ name, role, listener, action, source, when }) => [
    name,
    role,
    action === "publish" ? "writes" : "reads",
    listener,
    source === undefined ? "-" : String(source.line),
    when ?? "",
  ]);
  const json = found.map(({ name, role, listener, action, source, when }) => ({
    id: name,
    role,
    listener,
    action,
    line: source?.line,
    when,
  }));
  terminal.result(
    { topic, who: json },
    found.length === 0 ? ["Nobody."] : table([["ID", "ROLE", "ACCESS", "LISTENER", "LINE", "CONDITION"], ...rows]),
  );
}
