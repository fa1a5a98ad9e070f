/**
 * Compiles a policy for NanoMQ 0.25: `nanomq.conf`. It cannot tie a name to a certificate by itself: every sign-in and every topic is asked
 * of the decision point, which is told the certificate's common name (`%C`).
 */
import { requireExpressible } from "../../policy/policy-target.js";
import type { Capabilities, Compiled, CompileInput } from "../../policy/policy-target.js";

export const NANOMQ: Capabilities = {
  kind: "nanomq",
  title: "NanoMQ 0.25",
  deny: true,
  networks: true,
  times: true,
  perListener: false,
  enforces: ["wildcards", "shared"],
  limits: ["packetBytes", "queuedMessages", "inflight", "keepAliveSeconds"],
  factors: [["certificate"]],
  websocket: false,
  bridges: false,
  because: { psk: "it takes no pre-shared keys" },
};

/** Where `hawser policy serve` listens unless told otherwise. */
const DECISION_POINT = "http://127.0.0.1:8089/nanomq";

/** @throws PolicyError for what NanoMQ cannot say, naming the lines */
export function compileNanomq(input: CompileInput): Compiled {
  const { policy, tls } = input;
  const risks = requireExpressible(policy, NANOMQ);
  const [listener] = policy.listeners.values();
  const { packetBytes, queuedMessages, inflight } = policy.limits;
  const text = [
    `# Written by hawser from the policy ${policy.name}; changes made here are lost.`,
    "# Opened by default on all addresses, whatever `enable` says: bound to loopback.",
    'listeners.tcp { bind = "127.0.0.1:18830" }',
    'listeners.ws { bind = "127.0.0.1:18083/mqtt" }',
    'listeners.wss { bind = "127.0.0.1:18086/mqtt" }',
    ...(listener === undefined
      ? []
      : [
          "listeners.ssl {",
          `  bind = ${JSON.stringify(`${listener.bind ?? "0.0.0.0"}:${listener.port}`)}`,
          `  keyfile = ${JSON.stringify(tls.key)}`,
          `  certfile = ${JSON.stringify(tls.chain)}`,
          `  cacertfile = ${JSON.stringify(tls.anchors)}`,
          "  verify_peer = true",
          "  fail_if_no_peer_cert = true",
          "}",
        ]),
    "mqtt {",
    ...(packetBytes === undefined ? [] : [`  max_packet_size = ${Math.ceil(packetBytes / 1024)}KB`]),
    ...(queuedMessages === undefined ? [] : [`  max_mqueue_len = ${queuedMessages}`]),
    ...(inflight === undefined ? [] : [`  max_inflight_window = ${inflight}`]),
    ...(policy.limits.keepAliveSeconds === undefined ? [] : ["  keepalive_multiplier = 1.5"]),
    "}",
    "# Outside this block, NanoMQ silently ignores http_auth.",
    "auth {",
    "  allow_anonymous = false",
    "  no_match = deny",
    "  deny_action = ignore",
    "  cache = { max_size = 1000, ttl = 1m }",
    "  http_auth = {",
    ...["auth_req", "super_req", "acl_req"].flatMap(requestLines),
    "    timeout = 5s, connect_timeout = 5s, pool_size = 32",
    "  }",
    "}",
    "",
  ].join("\n");
  risks.push(
    `Run \`hawser policy serve\` beside it: without its answer at ${DECISION_POINT} nobody signs in`,
    "NanoMQ reads no revocation lists: the decision point refuses names that are shut out, not single certificates",
    "It has no way to end a live session: restart it after a revocation",
    "A denied QoS 1 publish is acknowledged as if it had been taken",
    "A denied subscription over 3.1.1 is answered with a code that some clients take for a protocol error",
  );
  return { files: new Map([["nanomq.conf", text]]), risks };
}

function requestLines(kind: string): string[] {
  const params =
    kind === "acl_req"
      ? 'cn = "%C", username = "%u", clientid = "%c", access = "%A", topic = "%t", ipaddr = "%a"'
      : 'cn = "%C", username = "%u", clientid = "%c", password = "%P", ipaddr = "%a"';
  return [
    `    ${kind} { url = "${DECISION_POINT}/${kind.replace("_req", "")}", method = post, headers.content-type = "application/x-www-form-urlencoded", params = { ${params} } }`,
  ];
}
