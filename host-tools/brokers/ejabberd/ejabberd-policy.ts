/**
 * Compiles a policy for ejabberd 23 (mod_mqtt): `ejabberd.yml`. Names sign in by password: its MQTT listener does not read client
 * certificates
 * (docs.ejabberd.im/admin/guide/mqtt).
 */
import { roleOf } from "../../policy/bound-rule.js";
import type { ConcreteRule } from "../../policy/concrete-rules.js";
import { PolicyError } from "../../policy/policy-text.js";
import type { Finding } from "../../policy/policy-text.js";
import { requireExpressible } from "../../policy/policy-target.js";
import type { Capabilities, Compiled, CompileInput } from "../../policy/policy-target.js";

export const EJABBERD: Capabilities = {
  kind: "ejabberd",
  title: "ejabberd 23",
  deny: false,
  networks: false,
  times: false,
  perListener: false,
  enforces: ["shared"],
  limits: ["packetBytes", "queuedMessages", "sessionExpirySeconds"],
  factors: [["password"]],
  websocket: true,
  bridges: false,
  because: {
    certificate: "its MQTT listener does not read client certificates: use a listener that asks for a password",
    psk: "it takes no pre-shared keys",
    token: "it knows only tokens it made itself",
  },
};

/** The host that users belong to: `NAME@hawser`, or `NAME` alone. */
export const EJABBERD_HOST = "hawser";

/** @throws PolicyError for what ejabberd cannot say, naming the lines */
export function compileEjabberd(input: CompileInput): Compiled {
  const { policy } = input;
  const risks = requireExpressible(policy, EJABBERD);
  const [listener] = policy.listeners.values();
  const names =
    listener === undefined
      ? []
      : input.namesOn(listener).map((principal) => ({
          name: principal.name,
          source: roleOf(policy, principal)?.source,
          rules: input.rulesOn(principal, listener),
        }));
  const mixed: readonly Finding[] = names
    .filter(({ name }) => name !== name.toLowerCase())
    .map(({ name, source }) => ({
      level: "error",
      code: "INEXPRESSIBLE",
      message: `ejabberd takes ${name} and ${name.toLowerCase()} for one user: names need small letters there`,
      ...(source === undefined ? {} : { source }),
    }));
  const findings = [...mixed, ...names.flatMap(({ rules }) => rules.flatMap(filterFindings))];
  if (findings.length > 0) throw new PolicyError("the policy for ejabberd 23", findings);
  const files = new Map([["ejabberd.yml", configText(input, names)]]);
  risks.push(
    "ejabberd keeps passwords itself: register each name with ejabberdctl register NAME hawser PASSWORD",
    "Devices behind this broker have no certificates, and are not known by their keys",
  );
  return { files, risks };
}

/** Like a topic, a subscription's filter `a/#` passes a rule for `a/+`; and `%u`, `%c`, `%d`, `%g` mean something there. */
function filterFindings({ access, filter, rule }: ConcreteRule): Finding[] {
  const finding = (message: string): Finding[] => [{ level: "error", code: "INEXPRESSIBLE", message, source: rule.source }];
  if (access === "subscribe" && filter.endsWith("+"))
    return finding(`ejabberd 23 cannot allow reading ${filter} alone: it would let its client subscribe to ${filter.slice(0, -1)}#`);
  return filter.split("/").some((level) => /^%[ucdg]$/.test(level))
    ? finding(`ejabberd 23 takes a level of ${filter} for a placeholder`)
    : [];
}

interface NamedRules {
  readonly name: string;
  readonly rules: readonly ConcreteRule[];
}

function configText({ policy, tls }: CompileInput, names: readonly NamedRules[]): string {
  const { packetBytes, queuedMessages, sessionExpirySeconds } = policy.limits;
  const groups = { publish: accessByFilter(names, "publish"), subscribe: accessByFilter(names, "subscribe") };
  const rules = new Map([...groups.publish.values(), ...groups.subscribe.values()].map((users) => [ruleName(users), users]));
  const config = {
    hosts: [EJABBERD_HOST],
    loglevel: "info",
    certfiles: [tls.chain, tls.key],
    auth_method: ["internal"],
    auth_password_format: "scram",
    listen: [...policy.listeners.values()].map(({ port, bind = "::", websocket }) =>
      websocket
        ? { port, ip: bind, module: "ejabberd_http", tls: true, request_handlers: { "/mqtt": "mod_mqtt" } }
        : { port, ip: bind, module: "mod_mqtt", tls: true, ...(packetBytes === undefined ? {} : { max_payload_size: packetBytes }) },
    ),
    access_rules: {
      nobody: [{ deny: "all" }],
      ...Object.fromEntries(
        [...rules].map(([name, users]) => [name, users.map((user) => ({ allow: { user: `${user}@${EJABBERD_HOST}` } }))]),
      ),
    },
    modules: {
      mod_mqtt: {
        ...(queuedMessages === undefined ? {} : { max_queue: queuedMessages }),
        ...(sessionExpirySeconds === undefined ? {} : { session_expiry: `${sessionExpirySeconds} seconds` }),
        access_publish: accessMap(groups.publish),
        access_subscribe: accessMap(groups.subscribe),
      },
    },
  };
  // JSON is YAML: nothing in a topic can be read as something else.
  return `# Written by hawser from the policy ${policy.name}; changes made here are lost.\n${JSON.stringify(config, null, 2)}\n`;
}

/** Filters with the users who have them. */
function accessByFilter(names: readonly NamedRules[], access: ConcreteRule["access"]): Map<string, string[]> {
  const groups = new Map<string, Set<string>>();
  for (const { name, rules } of names) {
    for (const rule of rules) {
      if (rule.access !== access) continue;
      const users = groups.get(rule.filter) ?? new Set();
      groups.set(rule.filter, users.add(name));
    }
  }
  return new Map([...groups].map(([filter, users]) => [filter, [...users].sort()]));
}

/** What no entry matches is denied by the last one. */
function accessMap(groups: ReadonlyMap<string, string[]>): Record<string, string> {
  return {
    ...Object.fromEntries([...groups].map(([filter, users]) => [filter, ruleName(users)])),
    ...(groups.has("#") ? {} : { "#": "nobody" }),
  };
}

function ruleName(users: readonly string[]): string {
  return `mqtt_${users.join("_")}`.replace(/[^a-z0-9_]/g, (character) => `_${character.charCodeAt(0)}_`).slice(0, 200);
}
