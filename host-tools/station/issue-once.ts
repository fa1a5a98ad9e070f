/**
 * One identity for one key, however often it is asked for. The name is let in as soon as its certificate is issued, before the device has
 * it: only the device's key can use it, and a station that is killed in between finds the same certificate again. And one name for one key:
 * a device cut off there is not given a second.
 */
import { errorCode, HawserError } from "../../sdk/errors.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import type { DeviceIdentity, ReserveRequest } from "../ca/provisioning.js";
import type { ListedName } from "../ca-directory/registry.js";

export interface IssuedIdentity extends Omit<DeviceIdentity, "psk" | "pskIdentity"> {
  readonly publicKeyHash: string;
  /** Named by the id. The caller's to wipe. */
  readonly psk?: Buffer;
}

/**
 * @param csr PKCS#10, DER, already checked
 * @param publicKeyHash SHA-256 of the key in it
 * @throws HawserError `INVALID_ID`, `INVALID_ROLE`, `ID_EXISTS` when another key has the name, `ALREADY_PROVISIONED` when the key has
 *   another name, and those of every change
 */
export async function issueOnce(
  ca: CertificateAuthority,
  request: ReserveRequest,
  csr: Uint8Array,
  publicKeyHash: string,
): Promise<IssuedIdentity> {
  const names = await ca.list();
  checkHasNoOtherName(names, request.id, publicKeyHash);
  if (!isCurrentKey(names, request.id, publicKeyHash)) return issueAnew(ca, request, csr, publicKeyHash);
  try {
    return await issueAgain(ca, request.id, csr, publicKeyHash);
  } catch (error) {
    // The key has a revoked certificate as well, of an attempt that ended before its name was let in.
    if (errorCode(error) !== "BAD_REQUEST") throw error;
    return issueAnew(ca, { ...request, replace: true }, csr, publicKeyHash);
  }
}

function checkHasNoOtherName(names: readonly ListedName[], id: string, publicKeyHash: string): void {
  const other = names.find(
    ({ name, certificates }) =>
      name !== id && certificates.some((known) => known.publicKeyHash === publicKeyHash && known.status === "active"),
  );
  if (other === undefined) return;
  const next = `Provision it with --id ${other.name}; or revoke ${other.name} first (hawser revoke), then run the same command again.`;
  throw new HawserError(
    "ALREADY_PROVISIONED",
    `the connected device was being provisioned as ${other.name} when the command was interrupted`,
    next,
  );
}

function isCurrentKey(names: readonly ListedName[], id: string, publicKeyHash: string): boolean {
  const listed = names.find(({ name }) => name === id);
  const current = listed?.certificates.find(({ serial }) => serial === listed.serial);
  return listed?.kind === "device" && listed.state === "active" && current?.publicKeyHash === publicKeyHash;
}

async function issueAgain(ca: CertificateAuthority, id: string, csr: Uint8Array, publicKeyHash: string): Promise<IssuedIdentity> {
  const { chain, serial, notAfterMs, topics } = await ca.issueFromCsr(id, csr);
  const psk = await ca.pskForAgain(id);
  const { roleOf } = await ca.brokerMaterial();
  return {
    id,
    role: roleOf(id) ?? "",
    serial,
    notAfterMs,
    publicKeyHash,
    chain,
    trustAnchors: ca.trustAnchors,
    ...(psk && { psk }),
    topics,
    replaced: [],
  };
}

async function issueAnew(
  ca: CertificateAuthority,
  request: ReserveRequest,
  csr: Uint8Array,
  publicKeyHash: string,
): Promise<IssuedIdentity> {
  const reservation = await ca.reserve(request);
  try {
    const { id, role, serial, notAfterMs, chain, trustAnchors, psk, topics, replaced } = await ca.complete(reservation, csr);
    await ca.activate(reservation);
    return { id, role, serial, notAfterMs, publicKeyHash, chain, trustAnchors, psk, topics, replaced };
  } catch (error) {
    // Should this fail as well, the name stays reserved, and the next attempt takes it over.
    await ca.abandon(reservation).catch(() => undefined);
    throw error;
  }
}
