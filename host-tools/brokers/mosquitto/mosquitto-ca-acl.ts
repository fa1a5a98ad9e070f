/** The ACL files of a CA's own mosquitto, which has one listener for certificates and one for pre-shared keys. */
import { PolicyEngine } from "../../policy/policy-engine.js";
import { directoryOf } from "../../policy/policy-model.js";
import type { Listener } from "../../policy/policy-model.js";
import { CompileInput, requireExpressible } from "../../policy/policy-target.js";
import type { BrokerAcls, BrokerFacts } from "./mosquitto-config.js";
import { mosquittoPolicyAcl } from "./mosquitto-policy-acl.js";
import type { AclOptions } from "./mosquitto-policy-acl.js";
import { mosquittoCapabilities } from "./mosquitto-policy.js";

/** Of the listeners in the policy, those that `hawser broker config` opens. */
export function caListeners(listeners: Iterable<Listener>): { mtls?: Listener; psk?: Listener } {
  const all = [...listeners];
  const mtls = all.find(({ requires, scope }) => scope === "full" && requires.includes("certificate"));
  const psk = all.find(({ requires }) => requires.includes("psk"));
  return { ...(mtls === undefined ? {} : { mtls }), ...(psk === undefined ? {} : { psk }) };
}

/** With an empty file mosquitto would allow everything. */
const NOBODY_AT_ALL = "# Written by hawser; changes made here are lost.\n\nuser -nobody\ntopic deny #\n";

/**
 * @param facts who may use which listener now: a name whose old sessions are not ended yet is held back for a while, whatever the registry
 *   says
 * @param clientsApart the clients, where they have a listener of their own: the policy's mTLS listener is then two
 * @throws PolicyError for what mosquitto cannot say
 */
export function caAcls(
  { policy, directory }: PolicyEngine,
  { full, shutOut, recovery }: Pick<BrokerFacts, "full" | "shutOut" | "recovery">,
  clientsApart?: ReadonlySet<string>,
): BrokerAcls {
  const active = new Set(full.map(({ name }) => name));
  const recoverable = new Set(recovery.map(({ name }) => name));
  const { mtls, psk } = caListeners(policy.listeners.values());
  /** What the policy says about those of the active who use a listener. */
  const inputFor = (isHere: (name: string) => boolean): CompileInput => {
    const names = [...directory.all()].map((principal) => ({
      ...principal,
      active: active.has(principal.name) && isHere(principal.name),
      recoverable: recoverable.has(principal.name),
    }));
    return new CompileInput(new PolicyEngine(policy, directoryOf(names)), "/", { anchors: "", chain: "", key: "", crl: "", psk: "" });
  };
  const listeners = [mtls, psk].filter((listener) => listener !== undefined);
  // The CA's configuration has limits of its own, one of them the policy's (limits.nft), and no bridges: those are for `policy compile`.
  requireExpressible(
    { ...policy, listeners: new Map(listeners.map((listener) => [listener.name, listener])), limitSources: new Map(), bridges: [] },
    mosquittoCapabilities("2.0.11"),
  );
  const textFor = (listener: Listener | undefined, options: AclOptions, isHere: (name: string) => boolean = () => true): string =>
    listener === undefined ? NOBODY_AT_ALL : mosquittoPolicyAcl(inputFor(isHere), listener, { shutOut: new Set(shutOut), ...options }).text;
  if (clientsApart === undefined) return { mtls: textFor(mtls, { isControlled: true }), psk: textFor(psk, {}) };
  return {
    mtls: textFor(mtls, {}, (name) => !clientsApart.has(name)),
    psk: textFor(psk, {}),
    backends: textFor(mtls, { isControlled: true, isByNameOnly: true }, (name) => clientsApart.has(name)),
  };
}
