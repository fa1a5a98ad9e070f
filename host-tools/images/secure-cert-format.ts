/**
 * The `esp_secure_cert` partition in its TLV form: entries one after the other, each with a CRC; a reader stops at the first that does not
 * begin with the magic.
 * Little-endian. Source: Espressif's esp_secure_cert_mgr, docs/format.md.
 */
import { espCrc32 } from "./nvs-format.js";

export const TLV_MAGIC = 0xba5eba11;
export const TLV_HEADER_BYTES = 12;
export const TLV_CRC_BYTES = 4;
/** Flash that the chip encrypts is written in blocks of this many bytes. */
export const TLV_ALIGN_BYTES = 16;
export const SECURE_CERT_BYTES = 0x2000;
/** Where Espressif's tool puts the partition unless told otherwise. */
export const SECURE_CERT_OFFSET = 0xd000;
/** Follows the last entry where a tool appended one to a finished image. */
export const TLV_END_MARKER = 0x0000ffff;

export const TLV_TYPES = {
  "ca-certificate": 0,
  "device-certificate": 1,
  "private-key": 2,
  "ds-data": 3,
  "ds-context": 4,
  "ecdsa-salt": 5,
  "security-config": 6,
  "tee-key": 7,
  "signature-block": 8,
  integrity: 9,
  "user-1": 51,
  "user-2": 52,
  "user-3": 53,
  "user-4": 54,
  "user-5": 55,
  "matter-1": 201,
  "matter-2": 202,
} as const;
export type TlvTypeName = keyof typeof TLV_TYPES;

/** What a private key's entry says of the key. */
export const TLV_FLAGS = { "hmac-encrypted": 0x80, "hmac-derived-ecdsa": 0x40, "ecdsa-peripheral": 0x08 } as const;

export interface TlvEntry {
  readonly type: number;
  /** Tells entries of one type apart. */
  readonly subtype: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

export function typeName(type: number): string {
  return Object.entries(TLV_TYPES).find(([, number]) => number === type)?.[0] ?? `type-${type}`;
}

/** The bytes one entry takes. */
export function tlvSize(dataBytes: number): number {
  return TLV_HEADER_BYTES + Math.ceil(dataBytes / TLV_ALIGN_BYTES) * TLV_ALIGN_BYTES + TLV_CRC_BYTES;
}

export function encodeTlv({ type, subtype, flags, data }: TlvEntry): Buffer {
  const bytes = Buffer.alloc(tlvSize(data.length));
  bytes.writeUInt32LE(TLV_MAGIC);
  bytes[4] = flags;
  bytes[8] = type;
  bytes[9] = subtype;
  bytes.writeUInt16LE(data.length, 10);
  bytes.set(data, TLV_HEADER_BYTES);
  const end = bytes.length - TLV_CRC_BYTES;
  bytes.writeUInt32LE(espCrc32(bytes.subarray(0, end)), end);
  return bytes;
}
