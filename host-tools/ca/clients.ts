/** Credentials for clients that are no device: backends, operators, monitors, authorities. */
import { HawserError } from "../../sdk/errors.js";
import { checkId } from "../../sdk/identity/device-id.js";
import { checkClientRole, policyOf, withAttributes } from "./ca-policy.js";
import type { RegistryEntry } from "../ca-directory/registry-entry.js";
import { withAllRevoked, withCertificate } from "../ca-directory/state-transitions.js";
import { anchorsOf, chainOf, issueLeaf, pemChain } from "./context.js";
import type { CaContext, CaKeys } from "./context.js";
import { refuseCaseTwin } from "./case-twins.js";
import { AUTHORITY_NAME, checkClientName } from "./reserved-names.js";
import { toPem } from "../pki/pem.js";
import type { Profile } from "../pki/certificate-profiles.js";
import { generateKey, nodeCrypto } from "../pki/signer.js";

export interface ClientRequest {
  readonly name: string;
  readonly role: string;
  /** Revoke what a client of this name had. */
  readonly replace?: boolean;
  /** For the policy's scopes and topics. A client that is replaced keeps the others that it had. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Milliseconds; the CA's own setting when left out. */
  readonly lifetimeMs?: number;
  /**
   * Writes the credentials down, before the registry knows them: what it throws leaves everything as it was. Without it a disk that is full
   * would leave a name whose key nobody has. They are good only once `issueClient` resolves; should it reject, the change may still be
   * finished by whoever opens the CA next.
   */
  readonly keep?: (credentials: ClientCredentials) => void;
}

/** PEM texts. The key is not encrypted: for a file of mode 0600, never for a log. */
export interface ClientCredentials {
  readonly keyPem: string;
  /** Leaf and issuing CA. */
  readonly chainPem: string;
  /** The root, by which the client judges the broker. */
  readonly trustAnchorPem: string;
  readonly serial: string;
  readonly notAfterMs: number;
}

/**
 * Makes key and certificate for a client and records it.
 *
 * @throws HawserError `INVALID_ID`, `RESERVED_NAME`, `INVALID_ROLE`, `INVALID_ATTRIBUTE`, `ID_EXISTS` (also for a name that differs only in
 *   case), and those of `keep` and of every change
 */
export async function issueClient(
  ca: CaContext,
  { name, role, replace = false, attributes = {}, lifetimeMs = ca.record.lifetimesMs.client, keep }: ClientRequest,
): Promise<ClientCredentials> {
  checkClientName(checkId(name), role, ca.record.brokerHosts);
  return ca.store.change(async (draft) => {
    const policy = policyOf(draft);
    const clientRole = checkClientRole(policy, role);
    const before = draft.entries.get(name);
    if (before !== undefined && (before.kind === "device" || !replace)) throw nameExists(before);
    if (before === undefined) refuseCaseTwin(draft.twinOf(name), name);
    const fresh: RegistryEntry = {
      v: 1,
      kind: "client",
      name,
      role: clientRole,
      state: "active",
      createdAtMs: draft.nowMs,
      certificates: [],
    };
    const described = withAttributes(policy, before === undefined ? fresh : { ...before, role: clientRole, state: "active" }, attributes);
    const { keyPem, publicKey } = await newKeyPair();
    const { record, der } = await issueLeaf(ca.keys, name, publicKey, { kind: "client" }, draft.nowMs, lifetimeMs);
    const issued = { ...credentials(ca.keys, keyPem, der), serial: record.serial, notAfterMs: record.notAfterMs };
    keep?.(issued);
    // Each machine of a shared CA may run its authority, and they all have one name. Of too many certificates the oldest ends.
    const isBeside = draft.machine !== undefined && name === AUTHORITY_NAME;
    const cleared = isBeside ? described : withAllRevoked(described, "superseded", draft.nowMs);
    draft.put({ ...withCertificate(cleared, record, draft.nowMs), currentSerial: record.serial });
    draft.record({ event: "client-issued", name, role: clientRole, serial: record.serial });
    return issued;
  });
}

/**
 * Credentials that are in no registry and therefore have no rights on a broker but to connect: for removing what a
 * broker keeps for a name that has been shut out, and for telling a broker to end sessions. Only ever in memory.
 */
export async function passingCredentials(
  keys: CaKeys,
  name: string,
  nowMs: number,
  lifetimeMs: number,
  profile: Profile = { kind: "client" },
): Promise<Pick<ClientCredentials, "keyPem" | "chainPem" | "trustAnchorPem">> {
  const { keyPem, publicKey } = await newKeyPair();
  const { der } = await issueLeaf(keys, name, publicKey, profile, nowMs, lifetimeMs);
  return credentials(keys, keyPem, der);
}

function credentials(keys: CaKeys, keyPem: string, leaf: Uint8Array): Pick<ClientCredentials, "keyPem" | "chainPem" | "trustAnchorPem"> {
  return { keyPem, chainPem: pemChain(chainOf(keys, leaf)), trustAnchorPem: pemChain(anchorsOf(keys)) };
}

async function newKeyPair(): Promise<{ keyPem: string; publicKey: Uint8Array }> {
  const { pkcs8, publicKey } = await generateKey();
  const keyPem = toPem("PRIVATE KEY", pkcs8);
  pkcs8.fill(0);
  return { keyPem, publicKey: new Uint8Array(await nodeCrypto.subtle.exportKey("spki", publicKey)) };
}

function nameExists(entry: RegistryEntry): HawserError {
  if (entry.kind === "device") return new HawserError("ID_EXISTS", `the name ${entry.name} belongs to a device`, "Choose another name.");
  return new HawserError(
    "ID_EXISTS",
    `the client ${entry.name} already exists`,
    "Choose another name, or use --replace to revoke its certificates and issue a new one.",
  );
}
