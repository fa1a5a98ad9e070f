/** Joins a CA directory and the policy to what the embedded broker judges its clients by. */
import type { BrokerMaterial as EmbeddedMaterial } from "../../../sim/brokers/broker-events.js";
import type { BrokerMaterial as CaMaterial } from "../../ca/broker-identity.js";
import { isClientRole, mayPublish, maySubscribe } from "../../policy/roles.js";

/** The same rules as the mosquitto configuration has: all rights for active names, the recovery scope for devices with a PSK in force. */
export function embeddedMaterial(ca: CaMaterial): EmbeddedMaterial {
  return {
    chainPem: ca.chainPem,
    keyPem: ca.keyPem,
    trustAnchorPem: ca.trustAnchorPem,
    crlPem: ca.crlPem,
    pskFor: (identity) => ca.pskFor(identity),
    maySignIn: (name, scope) => (scope === "full" ? ca.stateOf(name) === "active" : ca.pskFor(name) !== undefined),
    authorize: ({ name, scope }, action, topic) => {
      const role = ca.roleOf(name);
      if (role === undefined) return false;
      return action === "publish" ? mayPublish(name, role, scope, topic) : maySubscribe(name, role, scope, topic);
    },
    clientIdAllowed: (name, clientId) => clientIdAllowed(ca, name, clientId),
  };
}

/**
 * A device's session belongs to it alone: its client id is its name, with a `~` part at most. A client that is no device may connect several times and
 * choose its ids (most tools make one up), as long as it takes nobody else's name.
 */
function clientIdAllowed(ca: CaMaterial, name: string, clientId: string): boolean {
  const [owner = ""] = clientId.split("~", 1);
  if (owner === name) return true;
  return isClientRole(ca.roleOf(name) ?? "") && ca.stateOf(owner) === undefined;
}
