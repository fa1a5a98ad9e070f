/** Certificates for devices that ask over MQTT: renewal of a good one, or recovery from a revoked or expired one. */
import { X509Certificate } from "node:crypto";
import type { AnchorOffer } from "../../sdk/identity/anchor-offer.js";
import { HawserError } from "../../sdk/errors.js";
import type { CertificateRecord, RegistryEntry } from "../ca-directory/registry-entry.js";
import type { Draft } from "../ca-directory/change-draft.js";
import { isCompromised, withCertificate, withOlderSuperseded } from "../ca-directory/state-transitions.js";
import { checkRequest } from "../pki/certificate-request.js";
import { DEFAULT_IDENTITY_BASE } from "../policy/identity-topics.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import { policyOf, topicsOf } from "./ca-policy.js";
import { withCertificatePasswords } from "./certificate-passwords.js";
import { anchorsOf, chainOf, issueLeaf, linksOf } from "./context.js";
import type { CaContext, CaKeys } from "./context.js";
import { withSalt, saltProof } from "./sealed-psk.js";
import type { ToldSalt } from "../../sdk/identity/psk-salt.js";

export interface EnrolledCertificate {
  /** DER, leaf first, then the issuing CA, and after a rollover of the root what leads to the one before. */
  readonly chain: readonly Uint8Array[];
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly notAfterMs: number;
  /** True when the same key had been certified before and this is that certificate again. */
  readonly repeated: boolean;
  /** What the device is to trust from now on, where that is not what it said it trusts. */
  readonly offer?: AnchorOffer;
  /** Shows the device which salt its pre-shared key has; absent before the first. Base64. */
  readonly saltProof?: string;
  /** Where the policy has the device's topics now; undefined where it has none that a device could be told. */
  readonly topics: DeviceTopics | undefined;
}

export interface EnrolOptions {
  /** Milliseconds; the CA's own setting when left out. */
  readonly lifetimeMs?: number;
  /** When the request came, milliseconds since the epoch; without it, now. */
  readonly arrivedAtMs?: number;
  /** Serials of the trust anchors that the device has; earlier devices do not say, and are offered none. */
  readonly anchors?: readonly string[];
  /**
   * At most so many new certificates of one name in an hour; 0 means no limit. Counted in the registry, so that it outlives whoever asks.
   */
  readonly perHour?: number;
  /**
   * Who asks over the network; left out where the caller knows the device. A request costs the holder of a good certificate that
   * certificate: without its key's signature, the holder has to be asked first.
   */
  readonly asker?: {
    /** SHA-256 of the key that signed the request, lower-case hex. */
    readonly signedBy?: string;
    /** The holder was asked, and did not say that the certificate is in use. */
    readonly holderIsSilent: boolean;
  };
}

/**
 * Issues for a device that proved its name to the broker and sent a request. The same key gets the same certificate again. When this
 * resolves, the registry, the revocation list and the broker configurations know the certificate: a device whose certificate alone was
 * revoked is let in again.
 *
 * @throws HawserError `BAD_REQUEST`, `BAD_SIGNATURE`, `WRONG_SUBJECT`, `UNKNOWN_DEVICE`, `DEVICE_REVOKED`, `STALE_REQUEST` (the name lost
 *   something after it was asked for), `RATE_LIMITED`, `ASKING_HOLDER` (ask whether the certificate is in use, then come with `asker`), and
 *   those of every change
 */
export async function issueFromCsr(ca: CaContext, id: string, csr: Uint8Array, options: EnrolOptions = {}): Promise<EnrolledCertificate> {
  const { lifetimeMs = ca.record.lifetimesMs.device, arrivedAtMs = Infinity, perHour = 0, anchors, asker } = options;
  const { publicKey, publicKeyHash } = await checkRequest(csr, id);
  return ca.store.change(async (draft) => {
    const entry = enrollable(draft.entries.get(id), id);
    checkFresh(entry, arrivedAtMs);
    const known = entry.certificates.find((record) => record.publicKeyHash === publicKeyHash && record.notAfterMs > draft.nowMs);
    const proof = saltProof(ca.keys, entry);
    const told = { ...(proof === undefined ? {} : { saltProof: proof }), topics: topicsOf(draft, entry) };
    if (known !== undefined) return { ...again(ca, known, draft.nowMs, anchors), ...told };
    checkKey(draft, publicKeyHash);
    const isProved = asker === undefined || !hasHolder(entry, draft.nowMs) || isHolder(entry, asker.signedBy, draft.nowMs);
    if (!isProved && !asker.holderIsSilent) throw askHolder(id);
    checkRate(entry, perHour, draft.nowMs);
    const { record, der } = await issueLeaf(ca.keys, id, publicKey, { kind: "client" }, draft.nowMs, lifetimeMs);
    const isStranger = asker !== undefined && isStrange(entry, asker.signedBy);
    const issued = { ...record, ...(!isProved && { unproved: true as const }), ...(isStranger && { stranger: true as const }) };
    const enrolled: RegistryEntry = { ...withCertificate(entry, issued, draft.nowMs), state: "active" };
    draft.put(withCertificatePasswords(ca.keys, policyOf(draft), enrolled));
    draft.record({
      event: "enrolled",
      name: id,
      serial: record.serial,
      ...(isProved ? {} : { proof: "none; the holder was asked" }),
      ...(entry.state === "active" ? {} : { recoveredFrom: entry.state }),
    });
    const { serial, notAfterMs } = record;
    return { ...shown(ca.keys, der, draft.nowMs, anchors), ...told, serial, notAfterMs, repeated: false };
  });
}

/** What a device reports of itself. */
export interface DeviceReport {
  /** SHA-256 of the key that signed it, lower-case hex; left out where the caller knows the device. */
  readonly signedBy?: string;
  /** What its pre-shared key is salted with from now on. */
  readonly salt?: ToldSalt;
  /** Where it speaks to the authority: see {@link RegistryEntry}. */
  readonly identityBase?: string;
}

/**
 * Retires what was issued to the device before `activeSerial`, which it reports to have committed, and the pre-shared key that it had until
 * now. The key stays where somebody may have come in without a key of the name's: the holder would have nothing left to come back with.
 *
 * @returns the serials retired now; none when the report is an old one come again
 * @throws HawserError `UNKNOWN_DEVICE`, `UNKNOWN_CERTIFICATE` (not one of this device's valid ones, or another's report), and those of
 *   every change
 */
export async function retireOlder(
  ca: CaContext,
  id: string,
  activeSerial: string,
  { signedBy, salt, identityBase = DEFAULT_IDENTITY_BASE }: DeviceReport = {},
): Promise<readonly string[]> {
  return ca.store.change((draft) => {
    const entry = draft.entries.get(id);
    if (entry?.kind !== "device") throw unknownDevice(id);
    const reported = entry.certificates.find((record) => record.serial === activeSerial);
    if (reported === undefined || (signedBy !== undefined && reported.publicKeyHash !== signedBy))
      throw unknownCertificate(id, activeSerial);
    if (reported.status !== "active") return [];
    const after = withOlderSuperseded(entry, activeSerial, draft.nowMs);
    const retired = entry.certificates
      .filter((record, index) => record.status === "active" && after.certificates[index]?.status !== "active")
      .map(({ serial }) => serial);
    const psk = salt === undefined || reported.stranger === true ? undefined : withSalt(ca.keys, entry, salt);
    const isMoved = identityBase !== (entry.identityBase ?? DEFAULT_IDENTITY_BASE);
    if (retired.length === 0 && entry.currentSerial === activeSerial && psk === undefined && !isMoved) return [];
    const moved = isMoved ? { identityBase } : {};
    draft.put({ ...after, ...(psk === undefined ? {} : { psk }), ...moved });
    const [also, changed] = [retired.length > 0 ? { retired } : {}, psk === undefined ? {} : { psk: "changed" }];
    draft.record({ event: "committed", name: id, serial: activeSerial, ...also, ...changed, ...moved });
    return retired;
  });
}

/**
 * Puts it on the audit trail that the holder of a certificate objected to a request for its name.
 * @param signedBy SHA-256 of the holder's key
 * @returns the certificate's serial
 * @throws HawserError `UNKNOWN_CERTIFICATE`: the key has no certificate of that name that is good
 */
export async function recordObjection(ca: CaContext, id: string, signedBy: string): Promise<string> {
  return ca.store.change((draft) => {
    const { certificates = [] } = draft.entries.get(id) ?? {};
    const held = certificates.find((record) => record.publicKeyHash === signedBy && isGood(record, draft.nowMs));
    if (held === undefined) throw unknownCertificate(id, "of that key");
    draft.record({ event: "enrolment-refused", name: id, serial: held.serial, reason: "in use" });
    return held.serial;
  });
}

function isGood({ status, notAfterMs }: CertificateRecord, nowMs: number): boolean {
  return status === "active" && notAfterMs > nowMs;
}

function hasHolder({ certificates }: RegistryEntry, nowMs: number): boolean {
  return certificates.some((record) => isGood(record, nowMs));
}

/**
 * Whether the key is that of a good certificate of the name; or of one that was superseded by another's who had not shown it: whoever came
 * in while the holder was away does not keep the holder out.
 */
function isHolder({ certificates }: RegistryEntry, keyHash: string | undefined, nowMs: number): boolean {
  const at = certificates.findIndex((record) => record.publicKeyHash === keyHash && record.notAfterMs > nowMs);
  const held = certificates[at];
  if (held === undefined) return false;
  return held.status === "active" || (held.status === "superseded" && certificates.slice(at + 1).some(({ unproved }) => unproved === true));
}

/**
 * Whether the asker shows no key that the name got from its owner, though it got one: whatever became of that certificate, its holder may
 * come back.
 */
function isStrange({ certificates }: RegistryEntry, keyHash: string | undefined): boolean {
  const own = certificates.filter(({ stranger }) => stranger !== true);
  return own.length > 0 && !own.some(({ publicKeyHash }) => publicKeyHash === keyHash);
}

function askHolder(id: string): HawserError {
  return new HawserError(
    "ASKING_HOLDER",
    `the device ${id} has a certificate whose key did not sign this request`,
    "Nothing has to be done: whoever holds it is asked whether it is in use.",
  );
}

/** @throws HawserError `BAD_REQUEST` for a key that was revoked for compromise, under whatever name */
export function checkKey(draft: Draft, publicKeyHash: string): void {
  if (isCompromised(draft.withEnded(), publicKeyHash))
    throw new HawserError("BAD_REQUEST", "the key of the certificate request was revoked for compromise", "Make a new key.");
}

function enrollable(entry: RegistryEntry | undefined, id: string): RegistryEntry {
  if (entry?.kind !== "device" || entry.state === "reserved") throw unknownDevice(id);
  if (entry.state === "revoked")
    throw new HawserError("DEVICE_REVOKED", `the device ${id} is revoked`, "To bring it back, provision it again with --replace.");
  return entry;
}

function again(ca: CaContext, known: CertificateRecord, nowMs: number, anchors?: readonly string[]): Omit<EnrolledCertificate, "topics"> {
  if (known.status !== "active" || known.der === undefined) {
    throw new HawserError("BAD_REQUEST", "the key of the certificate request belongs to a revoked certificate", "Make a new key.");
  }
  return {
    ...shown(ca.keys, Buffer.from(known.der, "base64"), nowMs, anchors),
    serial: known.serial,
    notAfterMs: known.notAfterMs,
    repeated: true,
  };
}

/** More are of no use: so many roots have not ended at once. */
const LINKS_OFFERED = 4;

/**
 * The chain for a device, and the anchors it is to have. What leads to an earlier root stands in the chain only for one that does not have
 * the newest: it might not take what is offered.
 */
function shown(keys: CaKeys, leaf: Uint8Array, nowMs: number, anchors?: readonly string[]): Pick<EnrolledCertificate, "chain" | "offer"> {
  const { rootLinks = [] } = keys;
  const wanted = anchorsOf(keys);
  const serials = wanted.map((der) => new X509Certificate(der).serialNumber.toLowerCase().replace(/^0+/, ""));
  const chain = chainOf(keys, leaf);
  const hasNewest = anchors?.includes(serials[0] ?? "") === true;
  // Where no root was ever another, an anchor that is not ours is that of another CA, which the device may trust as well.
  const isUpToDate = rootLinks.length === 0 || (anchors?.length === serials.length && serials.every((serial) => anchors.includes(serial)));
  const offer = anchors === undefined || isUpToDate ? {} : { offer: { anchors: wanted, links: rootLinks.slice(0, LINKS_OFFERED) } };
  return { chain: hasNewest ? chain : [...chain, ...linksOf(keys, nowMs)], ...offer };
}

/** A request from before a revocation or replacement is of whoever held the name then. */
function checkFresh({ certificates }: RegistryEntry, arrivedAtMs: number): void {
  if (!certificates.some(({ revokedAtMs }) => revokedAtMs !== undefined && revokedAtMs >= arrivedAtMs)) return;
  throw new HawserError("STALE_REQUEST", "one of the device's certificates was retired after this request", "Ask again.");
}

const HOUR_MS = 3_600_000;
/** Certificates begin a little before they are made. */
const BACKDATED_MS = 5 * 60_000;

function checkRate({ name, certificates }: RegistryEntry, perHour: number, nowMs: number): void {
  const recent = certificates.filter(({ notBeforeMs }) => notBeforeMs > nowMs - HOUR_MS - BACKDATED_MS).length;
  if (perHour > 0 && recent >= perHour)
    throw new HawserError(
      "RATE_LIMITED",
      `the device ${name} received ${recent} certificates within an hour`,
      "Wait before requesting another.",
    );
}

function unknownDevice(id: string): HawserError {
  return new HawserError("UNKNOWN_DEVICE", `unknown device ${id}`, "Provision it first.");
}

function unknownCertificate(id: string, serial: string): HawserError {
  return new HawserError(
    "UNKNOWN_CERTIFICATE",
    `the device ${id} has no certificate ${serial}`,
    "Check that the device and this authority belong to the same CA.",
  );
}
