/**
 * The NVS partition of ESP-IDF, format version 2: its numbers, and what an entry holds. Little-endian throughout; pages of 4,096 bytes,
 * entries of 32.
 * Source: ESP-IDF's documentation of the NVS library, "Internals".
 */
import { crc32 } from "node:zlib";

export const PAGE_BYTES = 4096;
export const ENTRY_BYTES = 32;
/** Header and bitmap come first; each takes the room of one entry. */
export const FIRST_ENTRY_AT = 64;
export const BITMAP_AT = 32;
export const ENTRIES_A_PAGE = 126;
/** Of the keys of an encrypted partition, both halves. */
export const NVS_KEY_SIZE = 64;
export const MAX_KEY_CHARACTERS = 15;
export const MAX_NAMESPACES = 254;
/** A string with its NUL: it has to stand on one page. */
export const MAX_STRING_BYTES = 4000;
/** Chunks of a blob are counted in one byte, of which the first bit tells two versions apart. */
export const MAX_BLOB_CHUNKS = 127;

export const PAGE_STATES = { empty: 0xffffffff, active: 0xfffffffe, full: 0xfffffffc, freeing: 0xfffffff8, corrupt: 0xfffffff0 } as const;
export type PageState = keyof typeof PAGE_STATES;
export const PAGE_VERSION = 0xfe;
export const PAGE_VERSION_1 = 0xff;

/** No chunk of a blob. */
export const CHUNK_ANY = 0xff;
/** The bit of a chunk's index that an update of a blob flips. */
export const CHUNK_VERSION = 0x80;

export const TYPES = {
  u8: 0x01,
  i8: 0x11,
  u16: 0x02,
  i16: 0x12,
  u32: 0x04,
  i32: 0x14,
  u64: 0x08,
  i64: 0x18,
  float: 0x24,
  double: 0x28,
  string: 0x21,
  blobV1: 0x41,
  blobData: 0x42,
  blobIndex: 0x48,
} as const;

/** Bytes of each integer type, and whether it has a sign. */
export const INTEGERS = {
  u8: { bytes: 1, signed: false },
  i8: { bytes: 1, signed: true },
  u16: { bytes: 2, signed: false },
  i16: { bytes: 2, signed: true },
  u32: { bytes: 4, signed: false },
  i32: { bytes: 4, signed: true },
  u64: { bytes: 8, signed: false },
  i64: { bytes: 8, signed: true },
} as const;
export type IntegerType = keyof typeof INTEGERS;

export function isIntegerType(type: string): type is IntegerType {
  return Object.hasOwn(INTEGERS, type);
}

export type NvsValue =
  | { readonly type: IntegerType; readonly value: bigint }
  | { readonly type: "float" | "double"; readonly value: number }
  /** Without the NUL that ends it in flash. */
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "blob"; readonly value: Uint8Array };

/** One key of one namespace. */
export type NvsItem = { readonly namespace: string; readonly key: string } & NvsValue;

/** The rule of all CRCs in NVS and in esp_secure_cert: CRC-32 whose register starts at 0. "123456789" gives D202D277. */
export function espCrc32(bytes: Uint8Array): number {
  // Node gives 0 for no bytes at all, whatever it begins with.
  return bytes.length === 0 ? 0xffffffff : crc32(bytes, 0xffffffff) >>> 0;
}

/** An entry's CRC covers all of it but the CRC itself, at bytes 4 to 7. */
export function entryCrc(entry: Uint8Array): number {
  return crc32(entry.subarray(8, ENTRY_BYTES), crc32(entry.subarray(0, 4), 0xffffffff)) >>> 0;
}

export function entryAddress(page: number, entry: number): number {
  return page * PAGE_BYTES + FIRST_ENTRY_AT + entry * ENTRY_BYTES;
}

/** `0x001a40`: how every message names a place in an image. */
export function hexOffset(offset: number): string {
  return `0x${offset.toString(16).padStart(4, "0")}`;
}
