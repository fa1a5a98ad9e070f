/** Joins a CA directory and the policy to what the embedded broker judges its clients by. */
import type { BrokerMaterial as EmbeddedMaterial } from "../../../sim/brokers/broker-events.js";
import type { BrokerMaterial as CaMaterial } from "../../ca/broker-identity.js";
import { mayPublish, maySubscribe } from "../../policy/roles.js";

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
  };
}
