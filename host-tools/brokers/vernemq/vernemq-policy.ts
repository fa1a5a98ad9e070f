/**
 * Compiles a policy for VerneMQ 2: `vernemq.conf` and `vmq.acl` (docs.vernemq.com, "Auth using files"). The certificate gives the user
 * name; whether that name may sign in is asked of the decision point, because VerneMQ lets nobody in without such an answer.
 */
import { join } from "node:path";
import type { ConcreteRule } from "../../policy/concrete-rules.js";
import type { Limits, Listener } from "../../policy/policy-model.js";
import { PolicyError } from "../../policy/policy-text.js";
import type { Finding } from "../../policy/policy-text.js";
import { requireExpressible } from "../../policy/policy-target.js";
import type { Capabilities, Compiled, CompileInput } from "../../policy/policy-target.js";

export const VERNEMQ: Capabilities = {
  kind: "vernemq",
  title: "VerneMQ 2",
  deny: false,
  networks: false,
  times: false,
  perListener: false,
  enforces: [],
  limits: ["connections", "packetBytes", "inflight", "queuedMessages", "sessionExpirySeconds", "messagesPerSecond"],
  factors: [["certificate"]],
  websocket: true,
  bridges: false,
  because: { psk: "the identity of a pre-shared key never becomes the user name, so that any key holder could claim any name" },
};

/** Where `hawser policy serve` listens unless told otherwise. */
const DECISION_POINT = "http://127.0.0.1:8089/vernemq";

/** @throws PolicyError for what VerneMQ cannot say, naming the lines */
export function compileVernemq(input: CompileInput): Compiled {
  const { policy } = input;
  const risks = requireExpressible(policy, VERNEMQ);
  const [listener] = policy.listeners.values();
  const names =
    listener === undefined
      ? []
      : input.namesOn(listener).map((principal) => ({ name: principal.name, rules: input.rulesOn(principal, listener) }));
  requireSubscribable(names.flatMap(({ rules }) => rules));
  const files = new Map([
    ["vernemq.conf", configText(input)],
    [
      "vmq.acl",
      `# Written by hawser; changes made here are lost. Lines that VerneMQ does not know stop it from reading the file.\n${names.map(({ name, rules }) => blockText(name, rules)).join("")}`,
    ],
  ]);
  risks.push(
    `Run \`hawser policy serve\` beside it: without its answer at ${DECISION_POINT} nobody signs in`,
    "A denied publish over 3.1.1 ends the connection",
    "Its revocation list is read by serial number alone, once a minute; issuer and next update are ignored",
    "A name that loses its rights keeps its session: run vmq-admin session disconnect client-id=ID --cleanup",
  );
  return { files, risks };
}

/** Like a topic, a subscription's filter `a/#` passes a rule for `a/+`. */
function requireSubscribable(rules: readonly ConcreteRule[]): void {
  const findings = new Map<string, Finding>();
  for (const { access, filter, rule } of rules) {
    if (access !== "subscribe" || !filter.endsWith("+")) continue;
    const message = `VerneMQ 2 cannot allow reading ${filter} alone: it would let its client subscribe to ${filter.slice(0, -1)}#`;
    findings.set(message, { level: "error", code: "INEXPRESSIBLE", message, source: rule.source });
  }
  if (findings.size > 0) throw new PolicyError("the policy for VerneMQ 2", [...findings.values()]);
}

function blockText(name: string, rules: readonly ConcreteRule[]): string {
  return rules.length === 0
    ? ""
    : `\nuser ${name}\n${rules.map(({ access, filter }) => `topic ${access === "publish" ? "write" : "read"} ${filter}\n`).join("")}`;
}

function configText(input: CompileInput): string {
  const { policy, directory, tls } = input;
  return [
    `# Written by hawser from the policy ${policy.name}; changes made here are lost.`,
    "allow_anonymous = off",
    "allow_register_during_netsplit = off",
    "plugins.vmq_passwd = off",
    "plugins.vmq_acl = on",
    `vmq_acl.acl_file = ${join(directory, "vmq.acl")}`,
    "vmq_acl.acl_reload_interval = 10",
    "plugins.vmq_webhooks = on",
    ...["auth_on_register", "auth_on_register_m5"].flatMap((hook, index) => [
      `vmq_webhooks.hawser${index + 1}.hook = ${hook}`,
      `vmq_webhooks.hawser${index + 1}.endpoint = ${DECISION_POINT}`,
    ]),
    `listener.ssl.cafile = ${tls.anchors}`,
    `listener.ssl.certfile = ${tls.chain}`,
    `listener.ssl.keyfile = ${tls.key}`,
    `listener.ssl.crlfile = ${tls.crl}`,
    "listener.ssl.depth = 2",
    ...[...policy.listeners.values()].flatMap((listener) => listenerLines(listener, policy.limits)),
    ...limitLines(policy.limits),
    "",
  ].join("\n");
}

function listenerLines({ name, port, bind = "0.0.0.0", websocket }: Listener, { connections }: Limits): string[] {
  const prefix = `listener.${websocket ? "wss" : "ssl"}.${name.replace(/-/g, "_")}`;
  return [
    `${prefix} = ${bind}:${port}`,
    `${prefix}.require_certificate = on`,
    `${prefix}.use_identity_as_username = on`,
    `${prefix}.tls_version = tlsv1.3 tlsv1.2`,
    ...(connections === undefined ? [] : [`${prefix}.max_connections = ${connections}`]),
  ];
}

function limitLines({ packetBytes, inflight, queuedMessages, sessionExpirySeconds, messagesPerSecond }: Limits): string[] {
  const settings: [string, number | string | undefined][] = [
    ["max_message_size", packetBytes],
    ["max_inflight_messages", inflight],
    ["max_online_messages", queuedMessages],
    ["max_offline_messages", queuedMessages],
    ["persistent_client_expiration", sessionExpirySeconds === undefined ? undefined : `${sessionExpirySeconds}s`],
    ["max_message_rate", messagesPerSecond === undefined ? undefined : Math.ceil(messagesPerSecond)],
  ];
  return settings.flatMap(([name, value]) => (value === undefined ? [] : [`${name} = ${value}`]));
}
