/**
 * Keys as PSA keeps them, made from and turned into what other key stores hold: "Mbed Crypto storage specification", key file format
 * version 0
 * (Mbed TLS 3 and 4). Only the two kinds of key that `firmware/native/key-store.c` makes.
 */
import { createECDH, createPrivateKey, type KeyObject } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";

/** A P-256 key pair, or the bytes of a pre-shared key. */
export type DeviceKey = { kind: "signing"; key: KeyObject } | { kind: "psk"; key: Uint8Array };

/** Ids that `key-store.c` gives: three places for each slot, four ids apart. */
const FIRST_ID = 0x00485700;
const IDS_PER_SLOT = 4;
const SLOTS = ["key-a", "key-b", "psk", "psk-salted", "tls-session"] as const;

export type PsaSlot = (typeof SLOTS)[number];
export const PSA_SLOTS: readonly PsaSlot[] = SLOTS;

/** The id of the first place of a slot. */
export function firstKeyId(slot: PsaSlot): number {
  return FIRST_ID + IDS_PER_SLOT * SLOTS.indexOf(slot);
}

/** The slot an id belongs to; undefined for ids that are none of ours. */
export function slotOfKeyId(id: number): PsaSlot | undefined {
  return SLOTS[Math.floor((id - FIRST_ID) / IDS_PER_SLOT)];
}

const MAGIC = Buffer.from("PSA\0KEY\0", "latin1");
const HEADER_BYTES = 36;
const PERSISTENT = 1;
const SCALAR_BYTES = 32;

/** What the two kinds may be used for, as `key-store.c` sets it: PSA key types, usage flags and algorithms (PSA Crypto API 1.2). */
const ATTRIBUTES = {
  /** PSA_KEY_TYPE_ECC_KEY_PAIR(SECP_R1); sign hash and message; ECDSA with SHA-256. */
  signing: { type: 0x7112, usage: 0x1400, algorithm: 0x06000609 },
  /** PSA_KEY_TYPE_DERIVE; derive and export; TLS12_PSK_TO_MS with SHA-256. */
  psk: { type: 0x1200, usage: 0x4001, algorithm: 0x08000309 },
} as const;

export function encodePsaKey(deviceKey: DeviceKey): Uint8Array {
  const { type, usage, algorithm } = ATTRIBUTES[deviceKey.kind];
  const data = deviceKey.kind === "psk" ? deviceKey.key : scalarOf(deviceKey.key);
  const file = Buffer.alloc(HEADER_BYTES + data.length);
  MAGIC.copy(file);
  file.writeUInt32LE(0, 8);
  file.writeUInt32LE(PERSISTENT, 12);
  file.writeUInt16LE(type, 16);
  file.writeUInt16LE(data.length * 8, 18);
  file.writeUInt32LE(usage, 20);
  file.writeUInt32LE(algorithm, 24);
  file.writeUInt32LE(data.length, 32);
  file.set(data, HEADER_BYTES);
  return file;
}

/** @throws HawserError `KEY_UNREADABLE` */
export function decodePsaKey(file: Uint8Array): DeviceKey {
  const bytes = Buffer.from(file);
  const whole =
    bytes.length > HEADER_BYTES &&
    bytes.subarray(0, 8).equals(MAGIC) &&
    bytes.readUInt32LE(8) === 0 &&
    bytes.readUInt32LE(32) === bytes.length - HEADER_BYTES;
  const data = bytes.subarray(HEADER_BYTES);
  const type = whole ? bytes.readUInt16LE(16) : 0;
  if (type === ATTRIBUTES.psk.type) return { kind: "psk", key: new Uint8Array(data) };
  if (type === ATTRIBUTES.signing.type && data.length === SCALAR_BYTES) return { kind: "signing", key: keyOf(data) };
  throw new HawserError(
    "KEY_UNREADABLE",
    "a key of the XS host is in a form this version does not know",
    "Report this. The previous key is kept.",
  );
}

function scalarOf(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: "jwk" }).d ?? "", "base64url");
}

function keyOf(scalar: Buffer): KeyObject {
  const pair = createECDH("prime256v1");
  pair.setPrivateKey(scalar);
  const point = pair.getPublicKey();
  const text = (from: number, to: number): string => point.subarray(from, to).toString("base64url");
  const jwk = {
    kty: "EC",
    crv: "P-256",
    d: scalar.toString("base64url"),
    x: text(1, 1 + SCALAR_BYTES),
    y: text(1 + SCALAR_BYTES, 1 + 2 * SCALAR_BYTES),
  };
  return createPrivateKey({ key: jwk, format: "jwk" });
}
