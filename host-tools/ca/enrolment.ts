/** Certificates for devices that ask over MQTT: renewal of a good one, or recovery from a revoked or expired one. */
import { HawserError } from "../../sdk/errors.js";
import type { CertificateRecord, RegistryEntry } from "../ca-directory/registry-entry.js";
import { withCertificate, withOlderSuperseded } from "../ca-directory/state-transitions.js";
import { checkRequest } from "../pki/certificate-request.js";
import { chainOf, issueLeaf } from "./context.js";
import type { CaContext } from "./context.js";

export interface EnrolledCertificate {
  /** DER, leaf first, then the issuing CA. */
  readonly chain: readonly Uint8Array[];
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly notAfterMs: number;
  /** True when the same key had been certified before and this is that certificate again. */
  readonly repeated: boolean;
}

/**
 * Issues for a device that proved its name to the broker and sent a request. The same key gets the same certificate again. When this resolves, the
 * registry, the revocation list and the broker configurations know the certificate: a device whose certificate alone was revoked is let in again.
 *
 * @throws HawserError `BAD_REQUEST`, `BAD_SIGNATURE`, `WRONG_SUBJECT`, `UNKNOWN_DEVICE`, `DEVICE_REVOKED`, and those of every change
 */
export async function issueFromCsr(ca: CaContext, id: string, csr: Uint8Array, lifetimeMs = ca.record.lifetimesMs.device): Promise<EnrolledCertificate> {
  const { publicKey, publicKeyHash } = await checkRequest(csr, id);
  return ca.store.change(async (draft) => {
    const entry = enrollable(draft.entries.get(id), id);
    const known = entry.certificates.find((record) => record.publicKeyHash === publicKeyHash && record.notAfterMs > draft.nowMs);
    if (known !== undefined) return again(ca, known);
    const { record, der } = await issueLeaf(ca.keys, id, publicKey, { kind: "client" }, draft.nowMs, lifetimeMs);
    draft.put({ ...withCertificate(entry, record, draft.nowMs), state: "active" });
    draft.record({ event: "enrolled", name: id, serial: record.serial, ...(entry.state === "active" ? {} : { recoveredFrom: entry.state }) });
    return { chain: chainOf(ca.keys, der), serial: record.serial, notAfterMs: record.notAfterMs, repeated: false };
  });
}

/**
 * Retires what was issued to the device before `activeSerial`, which it reports to have committed.
 *
 * @returns the serials retired now; none when the report is an old one come again
 * @throws HawserError `UNKNOWN_DEVICE`, `UNKNOWN_CERTIFICATE` (not one of this device's valid ones), and those of every change
 */
export async function retireOlder(ca: CaContext, id: string, activeSerial: string): Promise<readonly string[]> {
  return ca.store.change((draft) => {
    const entry = draft.entries.get(id);
    if (entry?.kind !== "device") throw unknownDevice(id);
    const reported = entry.certificates.find((record) => record.serial === activeSerial);
    if (reported === undefined) throw unknownCertificate(id, activeSerial);
    if (reported.status !== "active") return [];
    const after = withOlderSuperseded(entry, activeSerial, draft.nowMs);
    const retired = entry.certificates.filter((record, index) => record.status === "active" && after.certificates[index]?.status !== "active").map(({ serial }) => serial);
    if (retired.length === 0 && entry.currentSerial === activeSerial) return [];
    draft.put(after);
    draft.record({ event: "committed", name: id, serial: activeSerial, ...(retired.length > 0 ? { retired } : {}) });
    return retired;
  });
}

function enrollable(entry: RegistryEntry | undefined, id: string): RegistryEntry {
  if (entry?.kind !== "device" || entry.state === "reserved") throw unknownDevice(id);
  if (entry.state === "revoked") throw new HawserError("DEVICE_REVOKED", `the device ${id} is revoked`, "Provision it anew with --replace if it is to come back.");
  return entry;
}

function again(ca: CaContext, known: CertificateRecord): EnrolledCertificate {
  if (known.status !== "active" || known.der === undefined) {
    throw new HawserError("BAD_REQUEST", "the key of the certificate request had a certificate that is revoked", "Make a new key.");
  }
  return { chain: chainOf(ca.keys, Buffer.from(known.der, "base64")), serial: known.serial, notAfterMs: known.notAfterMs, repeated: true };
}

function unknownDevice(id: string): HawserError {
  return new HawserError("UNKNOWN_DEVICE", `there is no device ${id}`, "Provision it first.");
}

function unknownCertificate(id: string, serial: string): HawserError {
  return new HawserError("UNKNOWN_CERTIFICATE", `the device ${id} has no certificate ${serial}`, "Check that the device and this authority belong to the same CA.");
}
