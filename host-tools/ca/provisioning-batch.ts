/**
 * Provisioning many devices as one change of the CA: for fleets whose keys are made on this machine, where a change a device would take
 * minutes.
 */
import { HawserError } from "../../sdk/errors.js";
import { checkId, recoveryIdentity } from "../../sdk/identity/device-id.js";
import { reservationFile } from "../ca-directory/directory-layout.js";
import { lockNow, type ProcessLock } from "../../sim/node/files/process-lock.js";
import { reservedEntry, withCertificate } from "../ca-directory/state-transitions.js";
import { checkRequest } from "../pki/certificate-request.js";
import { checkDeviceRole, policyOf, topicsOf } from "./ca-policy.js";
import { withCertificatePasswords } from "./certificate-passwords.js";
import type { RegistryEntry } from "../ca-directory/registry-entry.js";
import { anchorsOf, chainOf, issueLeaf } from "./context.js";
import type { CaContext } from "./context.js";
import { isElsewhere } from "./provisioning.js";
import type { DeviceIdentity } from "./provisioning.js";
import { CaseTwins } from "./case-twins.js";
import { checkDeviceName } from "./reserved-names.js";
import { newPsk } from "./sealed-psk.js";

export interface BatchDevice {
  readonly id: string;
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
}

export interface BatchRequest {
  readonly role: string;
  readonly devices: readonly BatchDevice[];
  /** Of the certificates, milliseconds; the CA's own setting when left out. */
  readonly lifetimeMs?: number;
}

/** The audit trail's last line is read back within 64 KiB, and this change's names every device with its serial number. */
export const MOST_IN_BATCH = 250;

/**
 * Issues certificate and PSK for every device and lets them in, all or none. The caller keeps what it gets: a process that dies after this
 * has devices in the CA whose keys nobody has, which `provision --replace` or `revoke` mends.
 *
 * @throws HawserError `BAD_NUMBER` (more than {@link MOST_IN_BATCH}), `INVALID_ID`, `RESERVED_NAME`, `INVALID_ROLE`, `ID_EXISTS`,
 *   `BAD_REQUEST`, `BAD_SIGNATURE`, `WRONG_SUBJECT`, and those of every change
 */
export async function provisionBatch(
  ca: CaContext,
  { role, devices, lifetimeMs = ca.record.lifetimesMs.device }: BatchRequest,
): Promise<DeviceIdentity[]> {
  if (devices.length > MOST_IN_BATCH)
    throw new HawserError("BAD_NUMBER", `${devices.length} devices in one batch`, `Provision at most ${MOST_IN_BATCH} at once.`);
  const locks: ProcessLock[] = [];
  try {
    const asked: { id: string; publicKey: Uint8Array }[] = [];
    for (const { id, csr } of devices) {
      checkDeviceName(checkId(id), ca.record.brokerHosts);
      locks.push(lockNow(ca.directory.pathOf(reservationFile(id)), () => exists(id, "being provisioned by another process")));
      asked.push({ id, publicKey: (await checkRequest(csr, id)).publicKey });
    }
    return await ca.store.change(async (draft) => {
      const checkedRole = checkDeviceRole(policyOf(draft), role);
      const made: DeviceIdentity[] = [];
      const twins = new CaseTwins(draft.entries.keys());
      for (const { id, publicKey } of asked) {
        const before = draft.entries.get(id);
        // Reserved, and we hold the name's lock: whoever reserved it is gone.
        if (before !== undefined && (before.state !== "reserved" || isElsewhere(before, draft)))
          throw exists(id, `a ${before.kind} of this CA already`);
        if (before === undefined) twins.add(id);
        const { record, der } = await issueLeaf(ca.keys, id, publicKey, { kind: "client" }, draft.nowMs, lifetimeMs);
        const { psk, sealed } = newPsk(ca.keys, id);
        const entry: RegistryEntry = {
          ...withCertificate(reservedEntry(id, checkedRole, draft.nowMs), record, draft.nowMs),
          state: "active",
          currentSerial: record.serial,
          psk: sealed,
        };
        draft.put(withCertificatePasswords(ca.keys, policyOf(draft), entry));
        made.push({
          id,
          role: checkedRole,
          serial: record.serial,
          notAfterMs: record.notAfterMs,
          chain: chainOf(ca.keys, der),
          trustAnchors: anchorsOf(ca.keys),
          psk,
          pskIdentity: recoveryIdentity(id),
          topics: topicsOf(draft, entry),
          replaced: [],
        });
      }
      draft.record({ event: "batch-provisioned", role: checkedRole, names: made.map(({ id, serial }) => `${id} ${serial}`) });
      return made;
    });
  } finally {
    for (const lock of locks) lock.release();
  }
}

function exists(id: string, what: string): HawserError {
  return new HawserError(
    "ID_EXISTS",
    `the device ${id} is ${what}`,
    "Choose other ids, or use the file with the identities of an earlier run.",
  );
}
