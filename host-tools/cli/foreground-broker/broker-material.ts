/** Joins a CA directory and its policy to what the embedded broker judges its clients by. */
import type { BrokerLimits, BrokerMaterial as EmbeddedMaterial, Scope } from "../../../sim/brokers/broker-events.js";
import { caListeners } from "../../brokers/mosquitto/mosquitto-ca-acl.js";
import { EMBEDDED_LIMITS } from "../../brokers/embedded/embedded-target.js";
import type { EmbeddedLimit } from "../../brokers/embedded/embedded-target.js";
import { defaultPolicy } from "../../policy/default-policy.js";
import { roleOf } from "../../policy/bound-rule.js";
import type { Limits } from "../../policy/policy-model.js";
import { PublishRates } from "./publish-rates.js";
import type { BrokerMaterial as CaMaterial } from "../../ca/broker-identity.js";

/**
 * The policy's own engine answers, with the time of the question; the ports are its first listeners for certificates and for pre-shared
 * keys.
 *
 * @param rates what each name has published of late: give the same one at each reload
 */
export function embeddedMaterial(ca: CaMaterial, now: () => number = Date.now, rates = new PublishRates()): EmbeddedMaterial {
  const { mtls, psk } = caListeners(ca.policy.policy.listeners.values());
  const listenerOf = (scope: Scope): string => (scope === "full" ? mtls : psk)?.name ?? "";
  return {
    chainPem: ca.chainPem,
    keyPem: ca.keyPem,
    trustAnchorPem: ca.trustAnchorPem,
    issuersPem: ca.issuersPem,
    crlPem: ca.crlPem,
    pskFor: (identity) => ca.pskFor(identity),
    maySignIn: (name, scope) =>
      (scope === "full" || ca.pskFor(name) !== undefined) &&
      ["ALLOWED", "FACTOR_MISSING"].includes(
        ca.policy.authenticate({ name, listener: listenerOf(scope), proved: provedBy(scope), atMs: now() }).code,
      ),
    secondFactor: ({ name, scope }, password, address) =>
      ca.policy.authenticate({
        name,
        listener: listenerOf(scope),
        proved: provedBy(scope),
        atMs: now(),
        ...(password === undefined ? {} : { password }),
        ...(address === undefined ? {} : { address }),
      }).allowed,
    authorize: ({ name, scope }, action, topic, details) => {
      const atMs = now();
      const verdict = ca.policy.authorize({ ...details, name, listener: listenerOf(scope), action, topic, atMs });
      const principal = ca.policy.directory.get(name);
      if (!verdict.allowed || action !== "publish" || principal === undefined) return verdict.allowed;
      return rates.take(ca.policy.policy, principal, verdict.channel, details?.payloadBytes ?? 0, atMs);
    },
    // By default nothing that a device publishes is kept for ever; a policy of the CA's own says itself who may retain.
    mayRetain: ({ name }) => ca.policy.policy !== defaultPolicy() || ca.policy.directory.get(name)?.kind === "client",
    clientIdAllowed: (name, clientId) => clientIdAllowed(ca, name, clientId),
    // A device in recovery is never kept out by a connection of its own that nobody has noticed the end of.
    maxConnectionsOf: ({ name, scope }) => {
      const principal = scope === "full" ? ca.policy.directory.get(name) : undefined;
      return principal === undefined ? undefined : roleOf(ca.policy.policy, principal)?.limits.connections;
    },
    limits: embeddedLimits(ca.policy.policy.limits),
  };
}

/** The policy's limits by their names in the embedded broker; what the policy leaves out keeps the broker's own value. */
const LIMIT_NAMES: Readonly<Record<EmbeddedLimit, keyof BrokerLimits>> = {
  connections: "maxConnections",
  connectionsPerSource: "maxConnectionsPerNetwork",
  connectionsPerSecond: "maxConnectionsPerSecond",
  connectionsPerSecondPerSource: "maxConnectionsPerSecondPerNetwork",
  packetBytes: "maxPacketBytes",
  queuedMessages: "maxQueuedMessages",
  queuedBytes: "maxQueuedBytes",
  keepAliveSeconds: "maxKeepaliveSeconds",
  sessionExpirySeconds: "maxAwaySeconds",
  messagesPerSecond: "maxMessagesPerSecond",
  bytesPerSecond: "maxBytesPerSecond",
  bytesPerSecondPerSource: "maxBytesPerSecondPerNetwork",
};

function embeddedLimits(limits: Limits): Partial<BrokerLimits> {
  return Object.fromEntries(
    EMBEDDED_LIMITS.flatMap((name) => {
      const value = limits[name];
      return value === undefined ? [] : [[LIMIT_NAMES[name], value]];
    }),
  );
}

function provedBy(scope: Scope): "certificate" | "psk" {
  return scope === "full" ? "certificate" : "psk";
}

/**
 * A device's session belongs to it alone: its client id is its name, with a `~` part at most. A client that is no device may connect
 * several times and choose its ids (most tools make one up), as long as it takes nobody else's name.
 */
function clientIdAllowed(ca: CaMaterial, name: string, clientId: string): boolean {
  const [owner = ""] = clientId.split("~", 1);
  if (owner === name) return true;
  return ca.policy.directory.get(name)?.kind === "client" && ca.stateOf(owner) === undefined;
}
