/** What a broker is to know, as the CA directory is now. */
import { pskIdentities } from "../brokers/mosquitto/mosquitto-acl.js";
import type { NamedKey } from "../brokers/mosquitto/mosquitto-acl.js";
import type { BrokerFacts } from "../brokers/mosquitto/mosquitto-config.js";
import { nameOfPskIdentity } from "../../sdk/identity/device-id.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import { FILES } from "../ca-directory/directory-layout.js";
import type { OwedEnd } from "../ca-directory/sessions-to-end.js";
import type { EntryMap, RegistryNames } from "../ca-directory/ca-registry.js";
import type { NameSummary } from "../ca-directory/registry-entry.js";
import { toPem } from "../pki/pem.js";
import { brokerPolicyOf } from "./ca-policy.js";
import { activePsk } from "./sealed-psk.js";
import { anchorsOf, pemChain, readCertificates, readSealedKey } from "./context.js";
import type { CaKeys } from "./context.js";

/**
 * The same, without rights for names whose old sessions may still be there: on the mTLS port, and on the PSK port where the session is one
 * of a withdrawn key.
 */
export function withHeld(facts: CaFacts, owed: readonly OwedEnd[]): CaFacts {
  const held = owed.filter(({ hold }) => hold === "now").map(({ userName }) => userName);
  if (held.length === 0) return facts;
  const names = new Set(held.map(nameOfPskIdentity));
  const onPsk = new Set(held.filter((userName) => userName !== nameOfPskIdentity(userName)).map(nameOfPskIdentity));
  return {
    ...facts,
    full: facts.full.filter(({ name }) => !names.has(name)),
    shutOut: [...new Set([...facts.shutOut, ...names])].sort(),
    recovery: facts.recovery.filter(({ name }) => !onPsk.has(name)),
    keys: facts.keys.filter(({ name }) => !onPsk.has(name)),
  };
}

/**
 * The same, with the rights of devices that lost their certificates alone and may recover: until their sessions are cut. A device cannot
 * tell in 3.1.1 that a message was denied, and what it publishes between the denial and the cut would be lost. Its certificates are in the
 * revocation list all the same: nobody comes in anew.
 *
 * Only at the first attempt: what could not be cut then has no rights.
 */
export function untilCut(facts: CaFacts, owed: readonly OwedEnd[], entries: EntryMap): CaFacts {
  const devices = owed.flatMap(({ userName, hold }) => {
    const entry = entries.get(userName);
    return hold === "later" && entry?.state === "certificate-revoked" ? [entry] : [];
  });
  return devices.length === 0 ? facts : { ...facts, full: [...facts.full, ...devices].sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

export interface CaFacts extends BrokerFacts {
  readonly keys: readonly (NamedKey & { readonly name: string })[];
}

/** Revoked, or to be replaced after a revocation. A name that is reserved for the first time has nothing that could be shut out. */
function isShutOut({ state, certificates }: NameSummary): boolean {
  return state === "revoked" || (state === "reserved" && certificates.some(({ status }) => status !== "active"));
}

/** @throws HawserError `CA_CORRUPT` */
export function brokerFacts(files: CaFiles, keys: CaKeys, registry: RegistryNames): CaFacts {
  const names = [...registry.summaries()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const recoverable = names.flatMap((entry) => {
    const key = activePsk(keys, entry);
    return key === undefined ? [] : [{ name: entry.name, role: entry.role, key }];
  });
  const brokerKey = readSealedKey(files, FILES.brokerKey, keys.sealing);
  const brokerKeyPem = toPem("PRIVATE KEY", brokerKey);
  brokerKey.fill(0);
  return {
    ...brokerPolicyOf(files, names),
    full: names.filter((entry) => entry.state === "active"),
    clients: new Set(names.flatMap(({ kind, name }) => (kind === "client" ? [name] : []))),
    shutOut: names.filter(isShutOut).map((entry) => entry.name),
    recovery: recoverable,
    keys: recoverable.flatMap(({ name, key }) => pskIdentities(name).map((identity) => ({ name, identity, key }))),
    brokerChainPem: pemChain(readCertificates(files, FILES.brokerChain)),
    brokerKeyPem,
    anchorsPem: pemChain([
      ...anchorsOf(keys),
      ...(keys.uppers ?? []),
      keys.issuing.certificate,
      ...(keys.previous === undefined ? [] : [keys.previous.certificate]),
    ]),
    crlPem: files.read(FILES.crl).toString("utf8"),
  };
}
