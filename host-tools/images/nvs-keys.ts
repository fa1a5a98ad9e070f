/**
 * The keys of an encrypted NVS partition: XTS-AES-256 over each written entry, with the entry's address in the partition as tweak. Header,
 * bitmap and empty entries stay as they are. Source: ESP-IDF, "NVS Encryption".
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { espCrc32, hexOffset, NVS_KEY_SIZE, PAGE_BYTES } from "./nvs-format.js";

/** Encryption key and tweak key, 32 bytes each, one after the other. */
export const NVS_KEY_BYTES = NVS_KEY_SIZE;
export const HMAC_KEY_BYTES = 32;

/** What the chip's HMAC peripheral is asked for, each repeated eight times. */
const ENCRYPTION_SEED = Buffer.from("5a5abeae".repeat(8), "hex");
const TWEAK_SEED = Buffer.from("a5a5dece".repeat(8), "hex");

/** New keys from the system's generator; the caller's to wipe. */
export function newNvsKeys(): Buffer {
  return randomBytes(NVS_KEY_BYTES);
}

/**
 * The keys of the HMAC scheme, which the chip derives from a key in its eFuses.
 * @throws HawserError `BAD_IMAGE_KEY` when the key is not of 32 bytes
 */
export function nvsKeysFromHmac(hmacKey: Uint8Array): Buffer {
  checkHmacKey(hmacKey);
  const derive = (seed: Buffer): Buffer => createHmac("sha256", hmacKey).update(seed).digest();
  return Buffer.concat([derive(ENCRYPTION_SEED), derive(TWEAK_SEED)]);
}

export function checkHmacKey(hmacKey: Uint8Array): void {
  if (hmacKey.length === HMAC_KEY_BYTES) return;
  throw new HawserError(
    "BAD_IMAGE_KEY",
    `an HMAC key has 32 bytes, this one ${hmacKey.length}`,
    "Give the file that is burned into the chip's eFuse block.",
  );
}

/** The `nvs_keys` partition: keys, their CRC, and erased flash after it. */
export function nvsKeysPartition(keys: Uint8Array): Buffer {
  checkKeys(keys);
  const partition = Buffer.alloc(PAGE_BYTES, 0xff);
  partition.set(keys);
  partition.writeUInt32LE(espCrc32(keys), NVS_KEY_BYTES);
  return partition;
}

/**
 * The keys in an `nvs_keys` partition.
 * @throws HawserError `BAD_IMAGE_KEY`
 */
export function readNvsKeysPartition(partition: Uint8Array): Buffer {
  const bytes = Buffer.from(partition);
  const next = "Give the nvs_keys partition that was made with this image.";
  if (bytes.length < NVS_KEY_BYTES + 4)
    throw new HawserError("BAD_IMAGE_KEY", `an nvs_keys partition has at least 68 bytes, this one ${bytes.length}`, next);
  const keys = bytes.subarray(0, NVS_KEY_BYTES);
  const stored = bytes.readUInt32LE(NVS_KEY_BYTES);
  if (stored !== espCrc32(keys))
    throw new HawserError("BAD_IMAGE_KEY", `the CRC of the keys at ${hexOffset(NVS_KEY_BYTES)} is wrong`, next);
  return Buffer.from(keys);
}

/** Encrypts whole entries; `address` is that of the first in the partition. */
export function encryptEntries(entries: Uint8Array, address: number, keys: Uint8Array): Buffer {
  return eachEntry(entries, address, (entry, tweak) => createCipheriv("aes-256-xts", keys, tweak).update(entry));
}

export function decryptEntries(entries: Uint8Array, address: number, keys: Uint8Array): Buffer {
  return eachEntry(entries, address, (entry, tweak) => createDecipheriv("aes-256-xts", keys, tweak).update(entry));
}

function eachEntry(entries: Uint8Array, address: number, run: (entry: Uint8Array, tweak: Buffer) => Buffer): Buffer {
  const out = Buffer.alloc(entries.length);
  const tweak = Buffer.alloc(16);
  for (let at = 0; at < entries.length; at += 32) {
    tweak.writeUInt32LE(address + at);
    out.set(run(entries.subarray(at, at + 32), tweak), at);
  }
  return out;
}

/** @throws HawserError `BAD_IMAGE_KEY` for keys of another length, or two equal halves, which no implementation of XTS takes */
export function checkKeys(keys: Uint8Array): void {
  if (keys.length !== NVS_KEY_BYTES)
    throw new HawserError(
      "BAD_IMAGE_KEY",
      `NVS keys have 64 bytes, these ${keys.length}`,
      "Give the nvs_keys partition, or the 64 bytes alone.",
    );
  if (Buffer.from(keys.subarray(0, 32)).equals(keys.subarray(32)))
    throw new HawserError("BAD_IMAGE_KEY", "both halves of the NVS keys are equal", "Draw new keys.");
}
