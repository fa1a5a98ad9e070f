/**
 * Compiles a policy for EMQX 5: `emqx.conf` (HOCON) and `acl.conf` (Erlang terms; docs.emqx.com, "Use ACL File").
 */
import { join } from "node:path";
import { roleOf } from "../../policy/bound-rule.js";
import type { ConcreteRule } from "../../policy/concrete-rules.js";
import type { Limits, Listener, Network, Role, Rule } from "../../policy/policy-model.js";
import { PolicyError } from "../../policy/policy-text.js";
import type { Finding } from "../../policy/policy-text.js";
import { requireExpressible } from "../../policy/policy-target.js";
import type { Capabilities, Compiled, CompileInput } from "../../policy/policy-target.js";
import { fillTemplate } from "../../policy/topic-template.js";

export const EMQX: Capabilities = {
  kind: "emqx",
  title: "EMQX 5",
  deny: true,
  networks: true,
  times: false,
  perListener: false,
  enforces: ["qos", "retain"],
  limits: [
    "connections",
    "connectionsPerSecond",
    "packetBytes",
    "inflight",
    "queuedMessages",
    "sessionExpirySeconds",
    "keepAliveSeconds",
    "messagesPerSecond",
    "bytesPerSecond",
  ],
  factors: [["certificate"]],
  websocket: true,
  bridges: false,
  because: {
    psk: "the identity of a pre-shared key never becomes the user name, so that any key holder could claim any name",
    "certificate+password": "its password file is a database: use the decision point for passwords",
  },
};

/** @throws PolicyError for what EMQX cannot say, naming the lines */
export function compileEmqx(input: CompileInput): Compiled {
  const { policy } = input;
  const risks = requireExpressible(policy, EMQX);
  requireSubscribable(input);
  const files = new Map([
    ["emqx.conf", configText(input)],
    ["acl.conf", aclText(input)],
  ]);
  if (devicePatterns(input) !== undefined)
    risks.push("A name with a valid certificate that the registry does not know gets a device's own topics");
  risks.push(
    "EMQX fetches revocation lists over HTTP alone, from where the client's certificate says: `hawser ca init --crl-url`, `hawser ca serve`",
    "acl.conf is read until somebody edits the rules in the dashboard or by REST: from then on EMQX's own copy wins",
    "A decision is kept for a minute: after a revocation also run DELETE /api/v5/clients/CLIENTID, which ends its sessions",
    "Set EMQX_SECURITY_PROFILE=hardened (6.3 and later) and change the dashboard's password: the default is public",
  );
  return { files, risks };
}

/** EMQX matches a subscription's filter like a topic: `a/#` would pass a rule for `a/+`. And it checks nothing when it delivers. */
function requireSubscribable(input: CompileInput): void {
  const findings = new Map<string, Finding>();
  const add = (rule: Rule, message: string): void =>
    void findings.set(message, { level: "error", code: "INEXPRESSIBLE", message, source: rule.source });
  for (const listener of input.policy.listeners.values()) {
    for (const principal of input.namesOn(listener)) {
      for (const { access, effect, filter, rule } of input.rulesOn(principal, listener)) {
        if (access !== "subscribe") continue;
        if (effect === "deny") add(rule, "EMQX 5 cannot deny reading: it checks a subscription's filter only, and a wider one passes");
        else if (filter.endsWith("+"))
          add(rule, `EMQX 5 cannot allow reading ${filter} alone: it would let its client subscribe to ${filter.slice(0, -1)}#`);
      }
    }
  }
  if (findings.size > 0) throw new PolicyError("the policy for EMQX 5", [...findings.values()]);
}

function aclText(input: CompileInput): string {
  const [listener] = input.policy.listeners.values();
  const patterns = listener === undefined ? undefined : devicePatterns(input);
  const devices = patterns === undefined || listener === undefined ? [] : patternLines(input, listener, patterns);
  const named =
    listener === undefined
      ? []
      : input
          .namesOn(listener)
          .flatMap((principal) =>
            principal.kind === "device" && patterns !== undefined ? [] : nameLines(principal.name, input.rulesOn(principal, listener)),
          );
  return [
    "%% Written by hawser; changes made here are lost. The first rule that matches decides.",
    ...named,
    ...devices,
    "{deny, all}.",
    "",
  ].join("\n");
}

/** One list of rights for all devices, when nothing but the id distinguishes them. */
function devicePatterns({ policy, engine }: CompileInput): readonly Rule[] | undefined {
  const roles = new Set<Role | undefined>();
  for (const principal of engine.directory.all()) if (principal.kind === "device") roles.add(roleOf(policy, principal));
  const [role] = roles;
  if (role === undefined || roles.size !== 1) return undefined;
  const isPlain = role.rules.every(
    ({ own, when, template }) =>
      own && when === undefined && template.every((level) => level.kind !== "placeholder" || level.name === "id"),
  );
  return isPlain ? role.rules : undefined;
}

/** The names that have these rights are a pattern of all but the clients and those who are shut out: EMQX has no list of names. */
function patternLines(input: CompileInput, listener: Listener, rules: readonly Rule[]): string[] {
  const here = new Set(input.namesOn(listener).map(({ name }) => name));
  const others = input
    .names()
    .filter(({ name, kind }) => kind === "client" || !here.has(name))
    .map(({ name }) => name);
  const refused =
    others.length === 0
      ? []
      : [`{deny, {'or', [${others.map((name) => `{username, ${binary(name)}}`).join(", ")}]}, all, ["#", "$SYS/#"]}.`];
  return [...refused, ...rules.map((rule) => aclLine("all", rule.effect, rule, [fillTemplate(rule.template, () => "${username}") ?? ""]))];
}

function nameLines(name: string, rules: readonly ConcreteRule[]): string[] {
  const denials = rules.filter(({ effect }) => effect === "deny");
  const allowed = rules.filter(({ effect }) => effect === "allow");
  return [...denials, ...allowed].map(({ effect, rule, filter }) => aclLine(`{username, ${binary(name)}}`, effect, rule, [filter]));
}

function aclLine(who: string, effect: string, { access, channel, when }: Rule, filters: readonly string[]): string {
  const limited = access === "publish" ? publishAction(channel?.qos, channel?.retain) : "subscribe";
  const networks = when?.networks?.map(networkText);
  const subject = networks === undefined ? who : `{'and', [${who}, {ipaddrs, [${networks.map(string).join(", ")}]}]}`;
  return `{${effect}, ${subject}, ${limited}, [${filters.map(string).join(", ")}]}.`;
}

function publishAction(qos: number | undefined, retain: boolean | undefined): string {
  const parts = [
    ...(qos === undefined || qos === 2 ? [] : [`{qos, [${Array.from({ length: qos + 1 }, (_, index) => index).join(", ")}]}`]),
    ...(retain === false ? ["{retain, false}"] : []),
  ];
  return parts.length === 0 ? "publish" : `{publish, [${parts.join(", ")}]}`;
}

function networkText({ text }: Network): string {
  return text;
}

/** An Erlang string; beyond Latin-1 the file is read as UTF-8. */
function string(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}

function binary(text: string): string {
  return `<<${string(text)}/utf8>>`;
}

function configText(input: CompileInput): string {
  const { policy, directory } = input;
  const { limits } = policy;
  const path = (file: string): string => JSON.stringify(join(directory, file));
  return [
    `# Written by hawser from the policy ${policy.name}; changes made here are lost.`,
    "# EMQX opens these by default.",
    ...["tcp", "ssl", "ws", "wss"].map((kind) => `listeners.${kind}.default { enable = false }`),
    ...[...policy.listeners.values()].map((listener) => listenerText(input, listener)),
    "mqtt {",
    "  peer_cert_as_username = cn",
    "  peer_cert_as_clientid = disabled",
    ...mqttLines(limits),
    "}",
    `authorization { no_match = deny, deny_action = ignore, cache { enable = true, ttl = 1m }, sources = [{ type = file, enable = true, path = ${path("acl.conf")} }] }`,
    "flapping_detect { enable = true, window_time = 1m, max_count = 15, ban_time = 5m }",
    "force_shutdown { enable = true, max_mailbox_size = 1000, max_heap_size = 32MB }",
    "crl_cache { refresh_interval = 15m, http_timeout = 15s, capacity = 100 }",
    "",
  ].join("\n");
}

function mqttLines({ packetBytes, inflight, queuedMessages, sessionExpirySeconds, keepAliveSeconds }: Limits): string[] {
  const settings: [string, string | undefined][] = [
    ["max_packet_size", packetBytes === undefined ? undefined : `${packetBytes}B`],
    ["max_inflight", inflight === undefined ? undefined : String(inflight)],
    ["max_mqueue_len", queuedMessages === undefined ? undefined : String(queuedMessages)],
    ["session_expiry_interval", sessionExpirySeconds === undefined ? undefined : `${sessionExpirySeconds}s`],
    ["server_keepalive", keepAliveSeconds === undefined ? undefined : String(keepAliveSeconds)],
  ];
  return settings.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name} = ${value}`]));
}

function listenerText({ policy, tls }: CompileInput, { name, port, bind = "0.0.0.0", websocket }: Listener): string {
  const { connections, connectionsPerSecond, messagesPerSecond, bytesPerSecond } = policy.limits;
  const id = name.replace(/-/g, "_");
  const settings = [
    `bind = ${JSON.stringify(`${bind}:${port}`)}`,
    ...(connections === undefined ? [] : [`max_connections = ${connections}`]),
    ...(connectionsPerSecond === undefined ? [] : [`max_conn_rate = ${JSON.stringify(`${connectionsPerSecond}/s`)}`]),
    ...(messagesPerSecond === undefined ? [] : [`messages_rate = ${JSON.stringify(`${messagesPerSecond}/s`)}`]),
    ...(bytesPerSecond === undefined ? [] : [`bytes_rate = ${JSON.stringify(`${bytesPerSecond}B/s`)}`]),
  ];
  // Only `ssl` listeners can look at revocation lists.
  const crl = websocket ? [] : ["enable_crl_check = true"];
  const options = [
    `cacertfile = ${JSON.stringify(tls.anchors)}`,
    `certfile = ${JSON.stringify(tls.chain)}`,
    `keyfile = ${JSON.stringify(tls.key)}`,
    "verify = verify_peer",
    "fail_if_no_peer_cert = true",
    "depth = 2",
    ...crl,
    "versions = [tlsv1.3, tlsv1.2]",
  ];
  return `listeners.${websocket ? "wss" : "ssl"}.${id} {\n  ${settings.join("\n  ")}\n  ssl_options {\n    ${options.join("\n    ")}\n  }\n}`;
}
