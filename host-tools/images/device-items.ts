/**
 * A device's identity as the firmware on an ESP32 keeps it in NVS: keys where ESP-IDF's PSA storage has them (namespace `psa_its`), records
 * where the SDK has them (namespace
 * `hawser`, as blobs: Moddable's key-value storage). The SDK itself writes and reads the records, so that a device finds what it would have
 * written.
 */
import { createPublicKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import { IdentityStore, installIdentity, keySlot, PSK_SLOT } from "../../sdk/identity/store.js";
import type { DeviceRecord, Salts } from "../../sdk/identity/store.js";
import { memoryKeyStore, memoryStorage } from "../../sim/node/memory-stores.js";
import { decodePsaKey, encodePsaKey, firstKeyId, slotOfKeyId } from "../../sim/node/psa-key-file.js";
import type { DeviceKey, PsaSlot } from "../../sim/node/psa-key-file.js";
import type { NvsItem } from "./nvs-format.js";

/** See firmware/boards/esp32.ts. */
export const RECORDS_NAMESPACE = "hawser";
/** ESP-IDF's, for the persistent keys of PSA. */
export const KEYS_NAMESPACE = "psa_its";

export interface ImageIdentity extends DeviceRecord {
  /** DER, leaf first. With it goes `privateKey`; without it the device makes its own key and fetches its first certificate over PSK. */
  readonly chain?: readonly Uint8Array[];
  readonly privateKey?: KeyObject;
  readonly trustAnchors: readonly Uint8Array[];
  /** As provisioned. */
  readonly psk?: Uint8Array;
  /** Of a device that has been in use. */
  readonly salts?: Salts | undefined;
  readonly topics?: DeviceTopics | undefined;
}

/**
 * What an NVS partition has to hold for a device to be this one from its first start.
 *
 * @throws HawserError as `installIdentity`: the SDK checks it all
 */
export function deviceItems(identity: ImageIdentity): NvsItem[] {
  const { privateKey, psk, ...installed } = identity;
  const keyStore = memoryKeyStore();
  const storage = memoryStorage();
  const keys: NvsItem[] = [];
  const keep = (slot: PsaSlot, key: DeviceKey): void => void keys.push(keyItem(slot, key));
  if (privateKey !== undefined) {
    keyStore.restore(keySlot("a"), Buffer.concat([Buffer.of(1), privateKey.export({ type: "pkcs8", format: "der" })]));
    keep("key-a", { kind: "signing", key: privateKey });
  }
  if (psk !== undefined) {
    keyStore.importPsk(PSK_SLOT, psk);
    keep("psk", { kind: "psk", key: psk });
  }
  installIdentity(storage, keyStore, installed);
  const names = storage.list("").filter((name) => name !== "identity");
  // The record that decides is last, as the SDK writes it.
  const records = [...names, "identity"].map((key): NvsItem => ({
    namespace: RECORDS_NAMESPACE,
    key,
    type: "blob",
    value: storage.get(key) ?? new Uint8Array(),
  }));
  return [...keys, ...records];
}

/** "PSAI", little-endian: begins an entry of ESP-IDF's PSA storage; flags and size follow, 32 bits each. */
const ITS_MAGIC = 0x50534149;
const ITS_HEADER_BYTES = 12;
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

function keyItem(slot: PsaSlot, key: DeviceKey): NvsItem {
  const file = encodePsaKey(key);
  const value = Buffer.alloc(ITS_HEADER_BYTES + file.length);
  value.writeUInt32LE(ITS_MAGIC);
  value.writeUInt32LE(file.length, 8);
  value.set(file, ITS_HEADER_BYTES);
  file.fill(0);
  return { namespace: KEYS_NAMESPACE, key: nameOfUid(BigInt(firstKeyId(slot))), type: "blob", value };
}

/** The name ESP-IDF gives a record of PSA: its 64-bit number in 13 digits of base 32. */
export function nameOfUid(uid: bigint): string {
  return Array.from({ length: 13 }, (_, digit) => BASE32[Number((uid >> BigInt(5 * (12 - digit))) & 31n)]).join("");
}

function uidOfName(name: string): bigint | undefined {
  if (!/^[A-Z2-7]{13}$/.test(name)) return undefined;
  return [...name].reduce((uid, digit) => (uid << 5n) | BigInt(BASE32.indexOf(digit)), 0n);
}

export interface FoundIdentity {
  readonly device: DeviceRecord;
  readonly topics: DeviceTopics;
  readonly serial?: string;
  readonly notAfterMs?: number;
  /** Whether a private key is there that belongs to the certificate. */
  readonly hasKey: boolean;
  readonly hasPsk: boolean;
  /** As a program on the host may use it; secret. */
  readonly keys: ReadonlyMap<PsaSlot, DeviceKey>;
}

/**
 * The identity a device would find in these items, by the SDK's own reading; undefined when there is none.
 * @throws HawserError `IDENTITY_CORRUPT`, `KEY_UNREADABLE`
 */
export function readDeviceItems(items: readonly NvsItem[]): FoundIdentity | undefined {
  const storage = memoryStorage();
  const keyStore = memoryKeyStore();
  const keys = new Map<PsaSlot, DeviceKey>();
  for (const item of items) {
    if (item.type !== "blob") continue;
    if (item.namespace === RECORDS_NAMESPACE) storage.put(item.key, item.value);
    if (item.namespace !== KEYS_NAMESPACE) continue;
    const slot = slotOfKeyId(Number(uidOfName(item.key) ?? 0n));
    if (slot !== undefined) keys.set(slot, decodePsaKey(itsData(item.value, item.key)));
  }
  if (storage.get("identity") === undefined) return undefined;
  for (const [slot, key] of keys) {
    if (key.kind === "psk") keyStore.importPsk(slot, key.key);
    else keyStore.restore(slot, Buffer.concat([Buffer.of(1), key.key.export({ type: "pkcs8", format: "der" })]));
  }
  const { device, active, base, identityBase } = IdentityStore.load(storage, keyStore);
  const own = active && keys.get(active.keySlot as PsaSlot);
  const hasKey =
    own?.kind === "signing" &&
    createPublicKey(own.key)
      .export({ type: "spki", format: "der" })
      .equals(active?.certificate.publicKey ?? new Uint8Array());
  return {
    device,
    topics: { base, identity: identityBase },
    ...(active && { serial: active.certificate.serial, notAfterMs: active.certificate.notAfterMs }),
    hasKey,
    hasPsk: keys.has("psk"),
    keys,
  };
}

function itsData(value: Uint8Array, name: string): Uint8Array {
  const bytes = Buffer.from(value);
  const sound =
    bytes.length >= ITS_HEADER_BYTES && bytes.readUInt32LE(0) === ITS_MAGIC && bytes.readUInt32LE(8) === bytes.length - ITS_HEADER_BYTES;
  if (!sound)
    throw new HawserError(
      "KEY_UNREADABLE",
      `the key ${name} in namespace ${KEYS_NAMESPACE} is not a record of ESP-IDF's PSA storage`,
      "Make the image again.",
    );
  return bytes.subarray(ITS_HEADER_BYTES);
}
