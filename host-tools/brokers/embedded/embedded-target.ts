/** What the embedded broker holds of a policy. It asks the policy's engine itself, so nothing is compiled for it. */
import type { Policy } from "../../policy/policy-model.js";
import { requireExpressible } from "../../policy/policy-target.js";
import type { Capabilities } from "../../policy/policy-target.js";
import { PolicyError } from "../../policy/policy-text.js";
import { caListeners } from "../mosquitto/mosquitto-ca-acl.js";

/** All but `inflight`: aedes sends a client everything it has for it. */
export const EMBEDDED_LIMITS = [
  "connections",
  "connectionsPerSource",
  "connectionsPerSecond",
  "connectionsPerSecondPerSource",
  "packetBytes",
  "queuedMessages",
  "queuedBytes",
  "keepAliveSeconds",
  "sessionExpirySeconds",
  "messagesPerSecond",
  "bytesPerSecond",
  "bytesPerSecondPerSource",
] as const;

export type EmbeddedLimit = (typeof EMBEDDED_LIMITS)[number];

const EMBEDDED: Capabilities = {
  kind: "embedded",
  title: "the embedded broker",
  deny: true,
  networks: true,
  times: true,
  perListener: true,
  enforces: [
    "qos",
    "retain",
    "maxBytes",
    "messagesPerSecond",
    "bytesPerSecond",
    "will",
    "wildcards",
    "shared",
    "connections",
    "roleLimits",
  ],
  limits: EMBEDDED_LIMITS,
  factors: [["certificate"], ["psk"], ["certificate", "password"], ["certificate", "token"], ["psk", "password"], ["psk", "token"]],
  roleFactors: true,
  websocket: false,
  bridges: false,
  because: { password: "its clients are known by a certificate or a pre-shared key", token: "a token counts beside a certificate" },
};

/**
 * Stops at what the embedded broker cannot hold.
 * @throws PolicyError naming the lines
 * @returns what the policy agreed to leave out
 */
export function requireEmbedded(policy: Policy): string[] {
  const { mtls, psk } = caListeners(policy.listeners.values());
  const opened = [mtls, psk].filter((listener) => listener !== undefined);
  const others = [...policy.listeners.values()].filter((listener) => !opened.includes(listener));
  if (others.length > 0)
    throw new PolicyError(
      `policy ${policy.name} for ${EMBEDDED.title}`,
      others.map(({ name, source }) => ({
        level: "error",
        code: "INEXPRESSIBLE",
        message: `${EMBEDDED.title} opens one listener for certificates and one for pre-shared keys, and not ${name}`,
        source,
      })),
    );
  return requireExpressible(policy, EMBEDDED);
}
