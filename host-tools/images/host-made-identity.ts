/**
 * Key injection: the host makes a device's key and hands it on at once, inside an image. Nothing else of it is left: it is never written to
 * disk outside the image. Prefer keys that devices make themselves (`hawser provision --serial`, `--psk-only`).
 */
import type { KeyObject } from "node:crypto";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { keySlot } from "../../sdk/identity/store.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import type { DeviceIdentity, ReserveRequest } from "../ca/provisioning.js";

export interface HostMadeIdentity extends DeviceIdentity {
  readonly privateKey: KeyObject;
}

/**
 * Has the CA issue an identity for a key of the host's, and lets it in once `keep` has put it where it belongs. A failure takes all of it
 * back.
 *
 * @param keep writes the image, durably; what it was given is wiped afterwards
 * @param privateKey P-256; a new one when left out
 * @throws HawserError as `reserve`, `complete` and `activate` of the CA, and what `keep` throws
 */
export async function issueHostMade(
  ca: CertificateAuthority,
  request: ReserveRequest,
  keep: (identity: HostMadeIdentity) => void,
  privateKey?: KeyObject,
): Promise<Omit<HostMadeIdentity, "privateKey" | "psk">> {
  const keyStore = memoryKeyStore();
  const slot = keySlot("a");
  if (privateKey === undefined) keyStore.generate(slot);
  else keyStore.restore(slot, Buffer.concat([Buffer.of(1), privateKey.export({ type: "pkcs8", format: "der" })]));
  const reservation = await ca.reserve(request);
  try {
    const issued = await ca.complete(reservation, keyStore.csr(slot, request.id));
    keep({ ...issued, privateKey: keyStore.signingKey(slot) });
    await ca.activate(reservation);
    const { psk, ...rest } = issued;
    psk.fill(0);
    return rest;
  } catch (error) {
    // Should this fail as well, the name stays reserved, and the next attempt takes it over.
    await ca.abandon(reservation).catch(() => undefined);
    throw error;
  } finally {
    keyStore.destroy(slot);
  }
}
