/**
 * The device's identity in two slots, A and B, so that a new one is proved before it takes over and nothing is lost to a power cut.
 *
 * The one record `identity` decides; every step is: write what the next state needs, then put that record, then clean up what the old state
 * needed. A stop between any two writes leaves either the old state or the new one, and {@link IdentityStore.load} clears what is left
 * over.
 */
import { joinBlocks, splitBlocks } from "../encoding/blocks.js";
import { base64Encode, utf8Decode, utf8Encode } from "../encoding/text.js";
import { HawserError } from "../errors.js";
import type { ChainVerifier, KeyStore, Storage } from "../platform.js";
import { judgeOffer, type AnchorOffer } from "./anchor-offer.js";
import { checkUsable } from "./certificate-profile.js";
import { readCertificate, type CertificateInfo } from "./certificate.js";
import { checkId, isId } from "./device-id.js";
import { readTopics, type DeviceTopics } from "./device-topics.js";
import { saltedKeyInput, saltProofInput } from "./psk-salt.js";

export type Slot = "a" | "b";

/** Where the pre-shared key of the recovery rung lives in the key store, as provisioned. */
export const PSK_SLOT = "psk";
/** Where the key is put that is made of it and a salt, before it is shown. */
const SALTED_PSK_SLOT = "psk-salted";

/** Of the pre-shared key, the newer first: brokers take the key of one of them. "" stands for the key as provisioned. */
export type Salts = readonly [string, string];

/** Who the device is; written at provisioning, never changed after. */
export interface DeviceRecord {
  id: string;
  role: string;
  /** What names the pre-shared key to the broker; absent when the device has none. */
  pskIdentity?: string;
}

/** One usable identity: a certificate chain and the key-store slot that signs for it. */
export interface Identity {
  slot: Slot;
  keySlot: string;
  /** DER, leaf first. */
  chain: readonly Uint8Array[];
  certificate: CertificateInfo;
}

interface IdentityRecord {
  v: 1;
  active: Slot | null;
  /** A rotation under way: `enrolling` has a key and waits for its certificate, `pending` has both and waits to be proved. */
  next?: { slot: Slot; phase: "enrolling" | "pending"; failedProofs: number; topics?: DeviceTopics | undefined };
  /** The authority has not yet confirmed that it knows which certificate is in use. */
  unreported?: true;
  /** The newer one is told with the next report, if it has not been told before. */
  salts?: Salts | undefined;
  /** Absent: where they always were. */
  topics?: DeviceTopics | undefined;
}

export interface InstalledIdentity extends DeviceRecord {
  /** DER, leaf first; its key is in slot `key-a` already. Absent for a device that is to fetch its first certificate over PSK. */
  chain?: readonly Uint8Array[];
  trustAnchors: readonly Uint8Array[];
  /** Of a device that has been in use. */
  salts?: Salts | undefined;
  /** Left out, they are below `devices/ID`, and its identity's below `devices/ID/identity`. */
  topics?: DeviceTopics | undefined;
}

export const keySlot = (slot: Slot): string => `key-${slot}`;
const chainKey = (slot: Slot): string => `chain-${slot}`;
const other = (slot: Slot | null): Slot => (slot === "a" ? "b" : "a");

/**
 * Writes a device's first identity, the deciding record last. The key must be in key slot `key-a` (when there is a chain) and the
 * pre-shared key in slot `psk` (when there is a `pskIdentity`) before.
 * @throws HawserError `INVALID_ID`, `BAD_CERTIFICATE`, `UNSUPPORTED_CERTIFICATE` (PEM, or a key or extension that not every TLS engine
 *   takes),
 *   `WRONG_SUBJECT`, `KEY_MISMATCH`, `KEY_MISSING`
 */
export function installIdentity(storage: Storage, keyStore: KeyStore, installed: InstalledIdentity): void {
  const { chain, trustAnchors, id, role, pskIdentity, salts, topics } = installed;
  checkId(id);
  if (pskIdentity !== undefined && !keyStore.has(PSK_SLOT)) throw keyMissing(PSK_SLOT);
  for (const anchor of trustAnchors) checkUsable(anchor, "a trust anchor");
  if (chain) checkChain(chain, id, keyStore, "a");
  putJson(storage, "device", { v: 1, id, role, ...(pskIdentity === undefined ? {} : { pskIdentity }) });
  storage.put("anchors", joinBlocks(trustAnchors));
  if (chain) storage.put(chainKey("a"), joinBlocks(chain));
  const record: IdentityRecord = { v: 1, active: chain ? "a" : null, salts, topics };
  putJson(storage, "identity", record);
}

export class IdentityStore {
  readonly device: DeviceRecord;
  #isProving = false;
  /** In the place of the told one. */
  givenIdentityBase: string | undefined;
  #anchors: readonly Uint8Array[];
  /**
   * Those of {@link trustAnchors} that are left once a connection has shown that the others are not needed; undefined when nothing is to be
   * forgotten.
   */
  #sufficient: readonly Uint8Array[] | undefined;
  #record: IdentityRecord;
  #active: Identity | undefined;
  #pending: Identity | undefined;
  /** How often brokers have refused the pre-shared key since the record last changed. */
  #pskRefusals = 0;
  #saltInSlot: string | undefined;

  /**
   * Reads the identity and clears what an interrupted step left behind.
   * @throws HawserError `NOT_PROVISIONED`, `IDENTITY_CORRUPT`
   */
  static load(storage: Storage, keyStore: KeyStore): IdentityStore {
    if (!storage.get("identity")) {
      throw new HawserError(
        "NOT_PROVISIONED",
        "this device has no identity yet",
        "Run hawser provision --id ID with --vault PATH (a simulated device) or --serial PORT (a board).",
      );
    }
    return new IdentityStore(storage, keyStore);
  }

  /**
   * Of a device that has no certificate and never gets one: it signs in by password. A stored certificate stays unread and untouched.
   * @throws HawserError `INVALID_ID`, `UNSUPPORTED_CERTIFICATE`
   */
  static withoutCertificate(id: string, trustAnchors: readonly Uint8Array[], storage: Storage, keyStore: KeyStore): IdentityStore {
    for (const anchor of trustAnchors) checkUsable(anchor, "a trust anchor");
    return new IdentityStore(storage, keyStore, { device: { id: checkId(id), role: "" }, trustAnchors });
  }

  private constructor(
    private readonly storage: Storage,
    private readonly keyStore: KeyStore,
    given?: { device: DeviceRecord; trustAnchors: readonly Uint8Array[] },
  ) {
    this.device = given ? given.device : getJson(storage, "device", isDeviceRecord);
    if (given) {
      this.#anchors = given.trustAnchors;
      this.#record = { v: 1, active: null };
      return;
    }
    this.#record = getJson(storage, "identity", isIdentityRecord);
    this.#anchors = readBlocks(storage, "anchors");
    this.#active = this.#record.active ? this.#read(this.#record.active) : undefined;
    const next = this.#record.next;
    this.#pending = next?.phase === "pending" ? this.#read(next.slot) : undefined;
    this.#clearUnused();
  }

  /** DER; of one CA's the newest first. */
  get trustAnchors(): readonly Uint8Array[] {
    return this.#anchors;
  }

  /** Without those that cannot be read. */
  get anchorSerials(): readonly string[] {
    return serialsOf(this.#anchors);
  }

  /** What the broker is to be judged by when a new identity is proved: without the anchors that the authority no longer names. */
  get provingAnchors(): readonly Uint8Array[] {
    return this.#sufficient ?? this.#anchors;
  }

  /** The identity that serves. Absent before the first enrolment, or when its certificate cannot be read. */
  get active(): Identity | undefined {
    return this.#active;
  }

  /** A new identity that waits to be proved by a connection. */
  get pending(): Identity | undefined {
    return this.#pending;
  }

  /** The identity that is shown from now on; undefined for the pre-shared key. */
  show(which: "active" | "pending" | undefined): Identity | undefined {
    this.#isProving = which === "pending";
    return which && this[which];
  }

  /** The key slot of an enrolment that waits for its certificate. */
  get enrolling(): string | undefined {
    const next = this.#record.next;
    return next?.phase === "enrolling" ? keySlot(next.slot) : undefined;
  }

  /** True until the authority has confirmed the report of the certificate in use. */
  get unreported(): boolean {
    return this.#record.unreported === true;
  }

  get salts(): Salts | undefined {
    return this.#record.salts;
  }

  /** Where the application's topics are. */
  get base(): string {
    return readTopics(this.#record.topics)?.base ?? `devices/${this.device.id}`;
  }

  /** Where the device and the authority speak. A new certificate is proved on the topics that came with it. */
  get identityBase(): string {
    const topics = this.#isProving ? this.#nextTopics : this.#record.topics;
    return this.givenIdentityBase ?? readTopics(topics)?.identity ?? `devices/${this.device.id}/identity`;
  }

  get #nextTopics(): DeviceTopics | undefined {
    return this.#record.next?.topics ?? this.#record.topics;
  }

  /** What a report says of the pre-shared key. */
  get toldSalt(): { salt?: string; saltProof?: string | undefined } {
    const salt = this.salts?.[0];
    return salt === undefined ? {} : { salt, saltProof: this.#saltProof("device", salt) };
  }

  /**
   * Puts the pre-shared key that is to be shown into its slot. Which salt a broker goes by is known for sure only when it takes the key:
   * the newer one, as soon as the authority has the report.
   * @returns the slot
   */
  readyPsk(): string {
    const { salts, unreported, next } = this.#record;
    const isTold = unreported !== true && next?.phase !== "pending";
    const salt = salts?.[(this.#pskRefusals + (isTold ? 0 : 1)) % 2];
    if (!salt) return PSK_SLOT;
    if (salt !== this.#saltInSlot) this.keyStore.importPsk(SALTED_PSK_SLOT, this.keyStore.mac(PSK_SLOT, saltedKeyInput(salt)));
    this.#saltInSlot = salt;
    return SALTED_PSK_SLOT;
  }

  /** A broker refused it. @returns whether the next attempt shows one that was not refused */
  pskRefused(): boolean {
    return this.salts !== undefined && ++this.#pskRefusals % 2 === 1;
  }

  #saltProof(by: "device" | "authority", salt: string): string | undefined {
    try {
      return base64Encode(this.keyStore.mac(PSK_SLOT, saltProofInput(by, salt)));
    } catch {
      return undefined;
    }
  }

  /** No salt is forgotten that a broker may still go by: another comes in front once the authority has proved that it has the newer. */
  #withFresh(salt: string | undefined, saltProof: string | undefined): Salts | undefined {
    const { salts } = this;
    if (salt === undefined || this.device.pskIdentity === undefined) return salts;
    if (!salts) return [salt, ""];
    return saltProof !== undefined && saltProof === this.#saltProof("authority", salts[0]) ? [salt, salts[0]] : salts;
  }

  hasKey(identity: Identity): boolean {
    return this.keyStore.has(identity.keySlot);
  }

  /** Readies the free slot for an enrolment and returns its key slot; one already begun goes on with the same key. */
  beginEnrolment(): string {
    const begun = this.enrolling;
    if (begun !== undefined && this.keyStore.has(begun)) return begun;
    const slot = other(this.#record.active);
    this.#put({ ...this.#record, next: { slot, phase: "enrolling", failedProofs: 0 } });
    this.#pending = undefined;
    this.keyStore.generate(keySlot(slot));
    return keySlot(slot);
  }

  /**
   * Stores the certificate the authority issued, to be proved. It has to come from a trust anchor, or from the CA of the certificate that
   * serves: a device may trust one CA to name its brokers and belong to another.
   * @param freshSalt for the pre-shared key, drawn at random; left out, its salts stay
   * @param saltProof what the authority says of the salt that it has
   * @param topics where the device's are from the moment that the certificate serves; left out, they stay
   * @throws HawserError `NOT_ENROLLING`, `BAD_CERTIFICATE`, `WRONG_SUBJECT`, `KEY_MISMATCH`, `UNTRUSTED_CERTIFICATE`
   */
  storePending(
    chain: readonly Uint8Array[],
    chains: ChainVerifier,
    freshSalt?: string,
    saltProof?: string,
    topics?: DeviceTopics,
  ): Identity {
    const next = this.#record.next;
    if (next?.phase !== "enrolling")
      throw new HawserError("NOT_ENROLLING", "received a certificate that was not requested", "No action needed: it is ignored.");
    const certificate = checkChain(chain, this.device.id, this.keyStore, next.slot);
    if (!chains.leadsTo(chain, [...this.trustAnchors, ...(this.#active?.chain.slice(1) ?? [])])) {
      throw new HawserError(
        "UNTRUSTED_CERTIFICATE",
        `certificate ${certificate.serial} was not issued by a CA that this device trusts`,
        "Find out who answers its certificate requests.",
      );
    }
    this.storage.put(chainKey(next.slot), joinBlocks(chain));
    this.#put({ ...this.#record, next: { ...next, phase: "pending", topics }, salts: this.#withFresh(freshSalt, saltProof) });
    this.#pending = { slot: next.slot, keySlot: keySlot(next.slot), chain, certificate };
    return this.#pending;
  }

  /**
   * Takes the trust anchors that an authority offers, if a present one leads to them: whoever answers for the authority can add none of
   * their own. One that the authority no longer names stays until a connection was made without it.
   * @returns the serials of those that are new
   * @throws HawserError `UNTRUSTED_ANCHOR`, `BAD_CERTIFICATE`, `UNSUPPORTED_CERTIFICATE`
   */
  takeAnchors(offer: AnchorOffer, chains: ChainVerifier): readonly string[] {
    const { added, superseded } = judgeOffer(this.#anchors, offer, chains);
    if (added.length > 0) this.#putAnchors([...added, ...this.#anchors]);
    this.#sufficient = superseded.length > 0 ? this.#anchors.filter((anchor) => !superseded.includes(anchor)) : undefined;
    return serialsOf(added);
  }

  /**
   * The broker is judged by {@link provingAnchors} alone and has passed: the others are forgotten.
   * @returns their serials
   */
  forgetAnchors(): readonly string[] {
    const kept = this.#sufficient;
    if (kept === undefined) return [];
    const forgotten = this.#anchors.filter((anchor) => !kept.includes(anchor));
    this.#putAnchors(kept);
    this.#sufficient = undefined;
    return serialsOf(forgotten);
  }

  /**
   * Brokers may still need every anchor.
   * @returns whether some were about to be forgotten
   */
  keepAnchors(): boolean {
    const wereToGo = this.#sufficient !== undefined;
    this.#sufficient = undefined;
    return wereToGo;
  }

  #putAnchors(anchors: readonly Uint8Array[]): void {
    this.storage.put("anchors", joinBlocks(anchors));
    this.#anchors = anchors;
  }

  /** The pending identity has proved itself: it serves from now on, and the old one is destroyed. */
  commit(): Identity {
    const proved = this.#pending;
    if (!proved) throw new HawserError("NOTHING_PENDING", "there is no pending identity to commit", "Report this as a bug in Hawser.");
    this.#put({ v: 1, active: proved.slot, unreported: true, salts: this.salts, topics: this.#nextTopics });
    this.#active = proved;
    this.#pending = undefined;
    this.#clearUnused();
    return proved;
  }

  /**
   * Gives up the rotation under way; the active identity serves on. What throws is storage; the pending identity is then gone until the
   * next boot, which finds it again.
   */
  drop(): void {
    const { next: _dropped, ...rest } = this.#record;
    this.#pending = undefined;
    this.#put(rest);
    this.#clearUnused();
  }

  /** The next proof is on the topics before: a broker that does not grant the new ones must not cost the device its certificate. */
  forgetTopics(): void {
    const next = this.#record.next;
    if (next?.topics) this.#put({ ...this.#record, next: { ...next, topics: undefined } });
  }

  /** Counts a proof that failed though the network was there; durable, so that a device in a reboot loop gives up as well. */
  countFailedProof(): number {
    const next = this.#record.next;
    if (!next) return 0;
    const failedProofs = next.failedProofs + 1;
    this.#put({ ...this.#record, next: { ...next, failedProofs } });
    return failedProofs;
  }

  /** The authority has confirmed the report. */
  markReported(): void {
    const { unreported: _reported, ...rest } = this.#record;
    this.#put(rest);
  }

  #put(record: IdentityRecord): void {
    putJson(this.storage, "identity", record);
    this.#record = record;
    this.#pskRefusals = 0;
  }

  /** A slot that cannot be read is no identity: the ladder deals with its absence, the device does not fall over it. */
  #read(slot: Slot): Identity | undefined {
    try {
      const chain = readBlocks(this.storage, chainKey(slot));
      const leaf = chain[0];
      return leaf ? { slot, keySlot: keySlot(slot), chain, certificate: readCertificate(leaf) } : undefined;
    } catch {
      return undefined;
    }
  }

  /** What cannot be cleared away now is tried again by the next change or boot: it must not cost the identity that serves. */
  #clearUnused(): void {
    for (const slot of ["a", "b"] as const) {
      const { active, next } = this.#record;
      if (slot === active || (slot === next?.slot && next.phase === "pending")) continue;
      try {
        if (this.storage.get(chainKey(slot))) this.storage.delete(chainKey(slot));
        if (slot !== next?.slot && this.keyStore.has(keySlot(slot))) this.keyStore.destroy(keySlot(slot));
      } catch {
        continue;
      }
    }
  }
}

function checkChain(chain: readonly Uint8Array[], id: string, keyStore: KeyStore, slot: Slot): CertificateInfo {
  const leaf = chain[0];
  if (!leaf) throw new HawserError("BAD_CERTIFICATE", "the certificate chain is empty", "Issue a new certificate.");
  for (const one of chain) checkUsable(one, "a certificate of the chain");
  const certificate = readCertificate(leaf);
  if (certificate.commonName !== id) {
    throw new HawserError(
      "WRONG_SUBJECT",
      `the certificate is for ${JSON.stringify(certificate.commonName)}, but this device is ${id}`,
      "Issue a certificate for this device.",
    );
  }
  if (!sameBytes(certificate.publicKey, keyStore.publicKey(keySlot(slot)))) {
    throw new HawserError(
      "KEY_MISMATCH",
      "the certificate does not belong to the device's key",
      "Issue a certificate for this device's own request.",
    );
  }
  return certificate;
}

function serialsOf(certificates: readonly Uint8Array[]): string[] {
  return certificates.flatMap((der) => {
    try {
      return [readCertificate(der).serial];
    } catch {
      return [];
    }
  });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function readBlocks(storage: Storage, key: string): Uint8Array[] {
  const bytes = storage.get(key);
  return bytes ? splitBlocks(bytes) : [];
}

function putJson(storage: Storage, key: string, value: unknown): void {
  storage.put(key, utf8Encode(JSON.stringify(value)));
}

/** What a record may hold, as it is read: anything. */
type Unread<T> = { readonly [Name in keyof T]?: unknown };

function isDeviceRecord(value: Unread<DeviceRecord>): value is DeviceRecord {
  const { id, role, pskIdentity } = value;
  return typeof id === "string" && isId(id) && typeof role === "string" && (pskIdentity === undefined || typeof pskIdentity === "string");
}

function isIdentityRecord(value: Unread<IdentityRecord>): value is IdentityRecord {
  const { active, next, salts } = value;
  if ((active !== null && !isSlot(active)) || (salts !== undefined && !Array.isArray(salts))) return false;
  if (next === undefined) return true;
  if (typeof next !== "object" || next === null) return false;
  const { slot, phase, failedProofs } = next as Unread<NonNullable<IdentityRecord["next"]>>;
  return isSlot(slot) && slot !== active && (phase === "enrolling" || phase === "pending") && typeof failedProofs === "number";
}

function isSlot(value: unknown): value is Slot {
  return value === "a" || value === "b";
}

function getJson<T extends object>(storage: Storage, key: string, isValid: (value: Unread<T>) => value is Unread<T> & T): T {
  const bytes = storage.get(key);
  try {
    const value: unknown = bytes && JSON.parse(utf8Decode(bytes));
    if (typeof value === "object" && value !== null && (value as { v?: unknown }).v === 1 && isValid(value as Unread<T>)) return value as T;
  } catch {
    // reported below, together with a record that is missing or of another version
  }
  throw new HawserError(
    "IDENTITY_CORRUPT",
    `the device's record "${key}" cannot be read`,
    "Provision the device again with --replace. On a board, erase the flash first.",
  );
}

function keyMissing(slot: string): HawserError {
  return new HawserError("KEY_MISSING", `the key slot "${slot}" is empty`, "Put the key into its slot before you install the identity.");
}
