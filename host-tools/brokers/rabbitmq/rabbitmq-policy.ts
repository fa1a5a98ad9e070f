/**
 * Compiles a policy for RabbitMQ 3.10 and later (MQTT plugin, certificates): definitions to import, and the configuration that imports
 * them.
 * Rights are regular expressions over routing keys, in which `.` stands for `/` (rabbitmq.com/docs/access-control, "Topic Authorisation").
 */
import { join } from "node:path";
import type { ConcreteRule } from "../../policy/concrete-rules.js";
import type { Principal, Source } from "../../policy/policy-model.js";
import { PolicyError } from "../../policy/policy-text.js";
import { requireExpressible } from "../../policy/policy-target.js";
import type { Capabilities, Compiled, CompileInput } from "../../policy/policy-target.js";

export const RABBITMQ: Capabilities = {
  kind: "rabbitmq",
  title: "RabbitMQ",
  deny: false,
  networks: false,
  times: false,
  perListener: false,
  enforces: ["shared"],
  limits: ["connections", "queuedMessages", "queuedBytes"],
  factors: [["certificate"]],
  websocket: false,
  bridges: false,
  because: { password: "a user with a password could sign in without its certificate", psk: "its MQTT listeners take no pre-shared keys" },
};

/** @throws PolicyError for what RabbitMQ cannot say, naming the lines */
export function compileRabbitmq(input: CompileInput): Compiled {
  const { policy } = input;
  const risks = requireExpressible(policy, RABBITMQ);
  const [listener] = policy.listeners.values();
  const names = listener === undefined ? [] : input.namesOn(listener);
  for (const principal of names) requireWithoutDot(principal.name, policy.roles.get(principal.role)?.source);
  const users = names.map((principal) => ({ principal, rules: listener === undefined ? [] : input.rulesOn(principal, listener) }));
  const files = new Map([
    ["rabbitmq.conf", configText(input)],
    ["advanced.config", advancedText(input)],
    ["enabled_plugins", "[rabbitmq_mqtt,rabbitmq_auth_mechanism_ssl].\n"],
    ["definitions.json", definitionsText(input, users)],
  ]);
  risks.push(
    "A denied publish or subscription ends the connection, without a reason",
    "A dot is a slash: devices/a.b and devices/a/b are one topic",
    "A change of rights reaches live sessions with their next operation; run `rabbitmqctl import_definitions definitions.json` after each change, and `rabbitmqctl delete_user NAME` for names that are gone",
  );
  return { files, risks, directories: ["crls"] };
}

function requireWithoutDot(text: string, source?: Source): void {
  if (!/[.*]/.test(text)) return;
  const finding = {
    level: "error" as const,
    code: "INEXPRESSIBLE",
    message: `RabbitMQ takes the dot for a slash and the asterisk for a wildcard: ${JSON.stringify(text)} cannot be used there`,
    ...(source === undefined ? {} : { source }),
  };
  throw new PolicyError("the policy for RabbitMQ", [finding]);
}

function definitionsText({ policy }: CompileInput, users: readonly { principal: Principal; rules: readonly ConcreteRule[] }[]): string {
  const { connections, queuedMessages, queuedBytes } = policy.limits;
  const queue = {
    ...(queuedMessages === undefined ? {} : { "max-length": queuedMessages }),
    ...(queuedBytes === undefined ? {} : { "max-length-bytes": queuedBytes }),
  };
  const value = {
    vhosts: [{ name: "/" }],
    // No password: these users sign in by certificate only.
    users: users.map(({ principal: { name } }) => ({
      name,
      password_hash: "",
      hashing_algorithm: "rabbit_password_hashing_sha256",
      tags: "",
    })),
    permissions: users.map(({ principal: { name } }) => permissionOf(name)),
    topic_permissions: users.map(({ principal: { name }, rules }) => ({
      user: name,
      vhost: "/",
      exchange: "amq.topic",
      write: expressionOf(rules, "publish"),
      read: expressionOf(rules, "subscribe"),
    })),
    ...(Object.keys(queue).length === 0
      ? {}
      : {
          policies: [
            { vhost: "/", name: "hawser-queues", pattern: "^mqtt-subscription-", "apply-to": "queues", priority: 0, definition: queue },
          ],
        }),
    ...(connections === undefined
      ? {}
      : { parameters: [{ vhost: "/", component: "vhost-limits", name: "limits", value: { "max-connections": connections } }] }),
  };
  return `${JSON.stringify(value, null, 1)}\n`;
}

/** The session's queue is named after the client id: a name may open its own sessions (`NAME` or `NAME~...`), not another's. */
function permissionOf(name: string): Record<string, string> {
  const queue = `mqtt-subscription-${escapeLiteral(name)}(~.*)?qos[01]`;
  return { user: name, vhost: "/", configure: `^${queue}$`, write: `^(${queue}|amq\\.topic)$`, read: `^(${queue}|amq\\.topic)$` };
}

/** Matches nothing. */
const NOTHING = "(?!)";

function expressionOf(rules: readonly ConcreteRule[], access: ConcreteRule["access"]): string {
  const parts = rules.filter((rule) => rule.access === access).map(({ filter, rule }) => routingExpression(filter, rule.source));
  return parts.length === 0 ? NOTHING : `^(${parts.join("|")})$`;
}

/** A filter as a regular expression over routing keys. A subscription's wildcards are in the key as well: `*` for `+`, `#` for itself. */
export function routingExpression(filter: string, source: Source): string {
  const levels = filter.split("/");
  if (levels.length === 1 && levels[0] === "#") return "(?!\\$).*";
  const parts = levels.map((level, index) => {
    if (level === "#") return "(\\..*)?";
    const dot = index === 0 ? "" : "\\.";
    // A wildcard at the front never means `$SYS` and the like; it covers `+`, not `#`.
    if (level === "+") return `${dot}${index === 0 ? "(?!\\$)" : ""}[^.#]*`;
    requireWithoutDot(level, source);
    return `${dot}${escapeLiteral(level)}`;
  });
  return parts.join("");
}

/** Ids are put in literally: RabbitMQ's own placeholder {client_id} goes into the expression unescaped. */
function escapeLiteral(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|#-]/g, "\\$&");
}

function configText({ policy, directory }: CompileInput): string {
  const listeners = [...policy.listeners.values()].map(
    ({ bind = "0.0.0.0", port }, index) => `mqtt.listeners.ssl.${index + 1} = ${bind.includes(":") ? `[${bind}]` : bind}:${port}`,
  );
  return [
    `# Written by hawser from the policy ${policy.name}; changes made here are lost.`,
    "listeners.tcp = none",
    "mqtt.listeners.tcp = none",
    ...listeners,
    "mqtt.allow_anonymous = false",
    "mqtt.ssl_cert_login = true",
    "ssl_cert_login_from = common_name",
    "mqtt.vhost = /",
    "mqtt.exchange = amq.topic",
    `load_definitions = ${join(directory, "definitions.json")}`,
    "",
  ].join("\n");
}

/**
 * All of TLS stands here: `ssl_options` in this file takes the place of those in rabbitmq.conf, and only here it can name revocation lists.
 * They are a directory of files named by `openssl crl -hash`, read at every handshake; a missing list refuses everybody.
 */
function advancedText({ directory, tls }: CompileInput): string {
  const text = (value: string): string => JSON.stringify(value);
  const options = [
    `{cacertfile,${text(tls.anchors)}}`,
    `{certfile,${text(tls.chain)}}`,
    `{keyfile,${text(tls.key)}}`,
    "{verify,verify_peer}",
    "{fail_if_no_peer_cert,true}",
    "{depth,2}",
    "{versions,['tlsv1.3','tlsv1.2']}",
    "{crl_check,peer}",
    `{crl_cache,{ssl_crl_hash_dir,{internal,[{dir,${text(join(directory, "crls"))}}]}}}`,
  ];
  return `%% Written by hawser. Revocation lists: crls/<openssl crl -hash>.r0, one for each CA.\n[{rabbit,[{ssl_options,[\n  ${options.join(",\n  ")}\n]}]}].\n`;
}
