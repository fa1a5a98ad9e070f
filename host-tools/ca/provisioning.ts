/**
 * Giving a device its identity, in steps, because its key is made where it will live: reserve the name, (the caller makes key and request),
 * complete,
 * (the caller puts the vault into place), activate. Stopped anywhere, the name is at worst reserved, and the next attempt takes it over.
 */
import { HawserError } from "../../sdk/errors.js";
import { checkId, recoveryIdentity } from "../../sdk/identity/device-id.js";
import { lockNow } from "../../sim/node/files/process-lock.js";
import type { ProcessLock } from "../../sim/node/files/process-lock.js";
import { checkDeviceRole, policyOf, topicsOf, withAttributes } from "./ca-policy.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import type { RegistryEntry } from "../ca-directory/registry-entry.js";
import { reservedEntry, withAllRevoked, withCertificate, withoutPsk } from "../ca-directory/state-transitions.js";
import { checkRequest } from "../pki/certificate-request.js";
import { anchorsOf, chainOf, issueLeaf } from "./context.js";
import { checkKey } from "./certificate-renewal.js";
import { withCertificatePasswords } from "./certificate-passwords.js";
import type { CaContext } from "./context.js";
import { reservationFile } from "../ca-directory/directory-layout.js";
import { refuseCaseTwin } from "./case-twins.js";
import { checkDeviceName } from "./reserved-names.js";
import { newPsk, provisionedPsk, activePsk, saltProof } from "./sealed-psk.js";
import type { Draft } from "../ca-directory/change-draft.js";

/** The role of a device where none is named. */
export const USUAL_DEVICE_ROLE = "sensor";

export interface ReserveRequest {
  readonly id: string;
  /** Left out: with `replace` the role that the device has, as a quarantine must not end by it; else {@link USUAL_DEVICE_ROLE}. */
  readonly role?: string;
  /** Take the place of a device that has this id: what it had is revoked when the new identity is issued. */
  readonly replace?: boolean;
  /** For the policy's scopes and topics. A device that is replaced keeps the others that it had. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/** A name that is this process's to provision, until `activate` or `abandon`. */
export interface Reservation {
  readonly id: string;
  readonly role: string;
  readonly replace: boolean;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface ResumeRequest {
  readonly id: string;
  readonly role: string;
  /** Of the certificate that was handed out. */
  readonly serial: string;
  /** A device that was let in is to be replaced, not found to be done. */
  readonly replace: boolean;
}

/** What a device's vault needs. The PSK is the caller's to wipe. */
export interface DeviceIdentity {
  readonly id: string;
  readonly role: string;
  readonly serial: string;
  readonly notAfterMs: number;
  /** DER, leaf first, then the issuing CA. */
  readonly chain: readonly Uint8Array[];
  /** DER */
  readonly trustAnchors: readonly Uint8Array[];
  readonly psk: Buffer;
  readonly pskIdentity: string;
  /** Where the policy has its topics; undefined where it has none that a device could be told. */
  readonly topics: DeviceTopics | undefined;
  /** Serials of the certificates that were revoked for this one (with `replace`). */
  readonly replaced: readonly string[];
}

export class Provisioning {
  readonly #locks = new Map<Reservation, ProcessLock>();

  constructor(private readonly ca: CaContext) {}

  /**
   * Takes the name. With `replace` the device that has it stays untouched until {@link complete}.
   *
   * @throws HawserError `INVALID_ID`, `RESERVED_NAME`, `INVALID_ROLE`, `INVALID_ATTRIBUTE`, `ID_EXISTS` (also while another process
   *   provisions it, or for a name that differs only in case), and those of every change
   */
  async reserve({ id, role: asked, replace = false, attributes = {} }: ReserveRequest): Promise<Reservation> {
    checkDeviceName(checkId(id), this.ca.record.brokerHosts);
    const lock = lockNow(this.ca.directory.pathOf(reservationFile(id)), (pid) => inProgress(id, pid));
    let role = asked ?? USUAL_DEVICE_ROLE;
    try {
      await this.ca.store.change((draft) => {
        const policy = policyOf(draft);
        const replaced = replace ? draft.entries.get(id) : undefined;
        if (asked === undefined && replaced?.kind === "device") role = replaced.role;
        // Tried before anything is made; set when the certificate is.
        withAttributes(policy, reservedEntry(id, checkDeviceRole(policy, role), draft.nowMs), attributes);
        reserveIn(draft, id, role, replace);
      });
    } catch (error) {
      lock.release();
      throw error;
    }
    const reservation = { id, role, replace, attributes };
    this.#locks.set(reservation, lock);
    return reservation;
  }

  /**
   * Issues the certificate for the device's key and makes its PSK.
   *
   * @param csr PKCS#10, DER
   * @param lifetimeMs of the certificate; the CA's own setting when left out
   * @throws HawserError `BAD_REQUEST`, `BAD_SIGNATURE`, `WRONG_SUBJECT`, `NOT_RESERVED`, and those of every change
   */
  async complete(reservation: Reservation, csr: Uint8Array, lifetimeMs = this.ca.record.lifetimesMs.device): Promise<DeviceIdentity> {
    this.#check(reservation);
    const { id, role, attributes } = reservation;
    const { publicKey, publicKeyHash } = await checkRequest(csr, id);
    return this.ca.store.change(async (draft) => {
      const before = reservedOrReplaced(draft, reservation);
      checkKey(draft, publicKeyHash);
      const { record, der } = await issueLeaf(this.ca.keys, id, publicKey, { kind: "client" }, draft.nowMs, lifetimeMs);
      const replaced = before.certificates.filter((old) => old.status === "active").map((old) => old.serial);
      // Where the device before it spoke to the authority says nothing of this one.
      const { identityBase: _ofTheDeviceBefore, ...known } = before;
      const described = withAttributes(policyOf(draft), reservedFor({ ...known, role, state: "reserved" }, draft), attributes);
      const cleared = withAllRevoked(described, "superseded", draft.nowMs);
      const { psk, sealed } = newPsk(this.ca.keys, id);
      const entry = { ...withCertificate(cleared, record, draft.nowMs), currentSerial: record.serial, psk: sealed };
      draft.put(withCertificatePasswords(this.ca.keys, policyOf(draft), entry));
      draft.record({ event: "issued", name: id, role, serial: record.serial, ...(replaced.length > 0 ? { replaced } : {}) });
      const trustAnchors = anchorsOf(this.ca.keys);
      return {
        id,
        role,
        serial: record.serial,
        notAfterMs: record.notAfterMs,
        chain: chainOf(this.ca.keys, der),
        trustAnchors,
        psk,
        pskIdentity: recoveryIdentity(id),
        topics: topicsOf(draft, entry),
        replaced,
      };
    });
  }

  /** Lets the device in: its vault is in place. Throws `NOT_RESERVED`, and as every change. */
  async activate(reservation: Reservation): Promise<void> {
    this.#check(reservation);
    await this.ca.store.change((draft) => {
      const entry = draft.entries.get(reservation.id);
      if (entry?.state !== "reserved" || entry.psk === undefined || isElsewhere(entry, draft)) throw notReserved(reservation.id);
      draft.put(activated(entry));
      draft.record({ event: "activated", name: entry.name, role: entry.role });
    });
    this.#release(reservation);
  }

  /**
   * Gives the name back: nothing handed out under this reservation is valid any more. A device that was to be replaced is untouched before
   * `complete` and shut out after it. Nothing happens when the reservation is settled. Throws as every change.
   */
  async abandon(reservation: Reservation): Promise<void> {
    if (!this.#locks.has(reservation)) return;
    try {
      await this.ca.store.change((draft) => abandonIn(draft, reservation));
    } finally {
      this.#release(reservation);
    }
  }

  /**
   * Lets a device in whose provisioning was cut off between {@link complete} and {@link activate}: the caller has what was handed out.
   *
   * @returns undefined when the name has another certificate or role, or was let in already and is to be replaced
   * @throws HawserError `ID_EXISTS` while another process provisions it, and those of every change
   */
  async resume({ id, role, serial, replace }: ResumeRequest): Promise<{ readonly notAfterMs: number } | undefined> {
    const lock = lockNow(this.ca.directory.pathOf(reservationFile(checkId(id))), (pid) => inProgress(id, pid));
    try {
      return await this.ca.store.change((draft) => {
        const entry = draft.entries.get(id);
        const current = entry?.certificates.find((one) => one.serial === serial && one.status === "active");
        if (entry?.kind !== "device" || entry.role !== role || entry.currentSerial !== serial || current === undefined) return undefined;
        if (entry.state === "active") return replace ? undefined : { notAfterMs: current.notAfterMs };
        if (entry.state !== "reserved" || entry.psk === undefined) return undefined;
        draft.put(activated(entry));
        draft.record({ event: "activated", name: id, role });
        return { notAfterMs: current.notAfterMs };
      });
    } finally {
      lock.release();
    }
  }

  #check(reservation: Reservation): void {
    if (!this.#locks.has(reservation)) throw notReserved(reservation.id);
  }

  #release(reservation: Reservation): void {
    this.#locks.get(reservation)?.release();
    this.#locks.delete(reservation);
  }
}

/**
 * The pre-shared key for a device that is given its identity once more, by a station or in an image: the one that it was provisioned with,
 * or a new one where the device has gone on to others since: of those, no station knows the salts.
 *
 * @returns undefined when the name has none that could be used. The caller's to wipe. Throws as every change.
 */
export async function pskForAgain(ca: CaContext, id: string): Promise<Buffer | undefined> {
  return ca.store.change((draft) => {
    const entry = draft.entries.get(id);
    if (entry === undefined || activePsk(ca.keys, entry) === undefined) return undefined;
    if (saltProof(ca.keys, entry) === undefined) return provisionedPsk(ca.keys, entry);
    const { psk, sealed } = newPsk(ca.keys, id);
    const certificates = entry.certificates.map(({ passwordHash: _ofTheKeyBefore, ...record }) => record);
    draft.put(withCertificatePasswords(ca.keys, policyOf(draft), { ...entry, certificates, psk: sealed }));
    draft.record({ event: "psk-renewed", name: id });
    return psk;
  });
}

function reserveIn(draft: Draft, id: string, role: string, replace: boolean): void {
  const entry = draft.entries.get(id);
  // Reserved, and we hold the name's lock: whoever reserved it is gone.
  const abandoned = entry?.state === "reserved";
  if (entry !== undefined && abandoned && !replace && isElsewhere(entry, draft)) throw inProgressElsewhere(id, entry);
  if (entry !== undefined && !abandoned && !replace) throw idExists(entry);
  if (entry?.kind === "client") throw idExists(entry);
  if (entry === undefined) refuseCaseTwin(draft.twinOf(id), id);
  if (replace && entry !== undefined && !abandoned) return;
  const fresh =
    entry === undefined
      ? reservedEntry(id, role, draft.nowMs)
      : withoutPsk(withAllRevoked({ ...entry, role }, "cessationOfOperation", draft.nowMs));
  draft.put(reservedFor(fresh, draft));
  draft.record({ event: "reserved", name: id, role });
}

/** This machine has the name, where several share the CA: the locks of one are not seen by another. */
function reservedFor(entry: RegistryEntry, { machine }: Draft): RegistryEntry {
  const { reservedBy: _before, ...rest } = entry;
  return machine === undefined ? rest : { ...rest, reservedBy: machine };
}

/** Whether another machine has the name: it may be gone, or at work. */
export function isElsewhere({ reservedBy }: RegistryEntry, { machine }: Draft): boolean {
  return reservedBy !== undefined && reservedBy !== machine;
}

function activated(entry: RegistryEntry): RegistryEntry {
  const { reservedBy: _settled, ...rest } = entry;
  return { ...rest, state: "active" };
}

function reservedOrReplaced(draft: Draft, { id, replace }: Reservation): RegistryEntry {
  const entry = draft.entries.get(id);
  if (entry?.kind !== "device" || (entry.state !== "reserved" && !replace)) throw notReserved(id);
  if (entry.state === "reserved" && isElsewhere(entry, draft)) throw notReserved(id);
  return entry;
}

function abandonIn(draft: Draft, { id }: Reservation): void {
  const entry = draft.entries.get(id);
  if (entry?.state !== "reserved" || isElsewhere(entry, draft)) return;
  if (entry.certificates.length === 0) draft.remove(id);
  else draft.put(withoutPsk(withAllRevoked(entry, "cessationOfOperation", draft.nowMs)));
  draft.record({ event: "abandoned", name: id });
}

function idExists(entry: RegistryEntry): HawserError {
  if (entry.kind === "client")
    return new HawserError("ID_EXISTS", `the name ${entry.name} belongs to a client with the role ${entry.role}`, "Choose another id.");
  const state = entry.state === "active" ? "provisioned" : entry.state;
  return new HawserError(
    "ID_EXISTS",
    `the device ${entry.name} is already ${state}`,
    "Choose another id, or use --replace to revoke its certificates and provision it again.",
  );
}

function inProgress(id: string, pid: number | undefined): HawserError {
  return new HawserError(
    "ID_EXISTS",
    `the device ${id} is being provisioned by ${pid === undefined ? "another process" : `process ${pid}`}`,
    "Wait for it to finish, or choose another id.",
  );
}

function inProgressElsewhere(id: string, { reservedBy = "" }: RegistryEntry): HawserError {
  return new HawserError(
    "ID_EXISTS",
    `the device ${id} is being provisioned by another machine (${reservedBy.slice(0, 8)})`,
    "Finish it there. If that was given up, use --replace.",
  );
}

function notReserved(id: string): HawserError {
  return new HawserError("NOT_RESERVED", `${id} is not reserved by this process`, "Reserve it first. Each reservation works once.");
}
