/**
 * Builds an NVS partition, byte for byte as Espressif's generator does (version 2). Where that one errs, this one does not: a namespace
 * that is opened again gets its keys, and a string that needs a page to itself gets one.
 */
import { HawserError } from "../../sdk/errors.js";
import { checkKeys, encryptEntries } from "./nvs-keys.js";
import {
  BITMAP_AT,
  CHUNK_ANY,
  entryAddress,
  entryCrc,
  ENTRIES_A_PAGE,
  ENTRY_BYTES,
  espCrc32,
  INTEGERS,
  MAX_BLOB_CHUNKS,
  MAX_KEY_CHARACTERS,
  MAX_NAMESPACES,
  MAX_STRING_BYTES,
  PAGE_BYTES,
  PAGE_STATES,
  PAGE_VERSION,
  TYPES,
} from "./nvs-format.js";
import type { IntegerType, NvsItem } from "./nvs-format.js";

export interface NvsImageRequest {
  /** Of the partition: a multiple of 4,096. Below 0x3000 it is for reading only, and the image ends with its last used page. */
  readonly sizeBytes: number;
  /** In the order in which they are written. */
  readonly items: readonly NvsItem[];
  /** 64 bytes, for an encrypted partition. */
  readonly keys?: Uint8Array;
}

/** From this size on, one page is kept free, for the device to move entries to. */
const MIN_WRITABLE_BYTES = 0x3000;
/** 16 MB: no flash of the family is larger. */
const MAX_BYTES = 0x1000000;

/**
 * @throws HawserError `BAD_IMAGE`, `BAD_IMAGE` (naming namespace and key), `IMAGE_FULL`, `BAD_IMAGE_KEY`
 */
export function buildNvsImage({ sizeBytes, items, keys }: NvsImageRequest): Buffer {
  if (!Number.isInteger(sizeBytes) || sizeBytes < PAGE_BYTES || sizeBytes > MAX_BYTES || sizeBytes % PAGE_BYTES !== 0) {
    throw new HawserError(
      "BAD_IMAGE",
      `invalid partition size ${sizeBytes}`,
      "Use a multiple of 4096 from 0x1000 to 0x1000000: 0x3000 or more if the device writes to it.",
    );
  }
  if (keys !== undefined) checkKeys(keys);
  checkUnique(items);
  const writer = new NvsWriter(sizeBytes, keys);
  for (const item of items) writer.add(item);
  return writer.finish();
}

class NvsWriter {
  readonly #pages: Buffer[] = [];
  readonly #namespaces = new Map<string, number>();
  readonly #mostPages: number;
  #used = 0;

  constructor(
    private readonly sizeBytes: number,
    private readonly keys: Uint8Array | undefined,
  ) {
    this.#mostPages = sizeBytes / PAGE_BYTES - (sizeBytes >= MIN_WRITABLE_BYTES ? 1 : 0);
    this.#openPage();
  }

  add(item: NvsItem): void {
    checkName(item.key, "key", item);
    const namespace = this.#namespace(item);
    switch (item.type) {
      case "string":
        return this.#addString(namespace, item.key, stringBytes(item, item.value));
      case "blob":
        return this.#addBlob(namespace, item, item.value);
      case "float":
      case "double":
        throw badEntry(item, "floating point is not written by ESP-IDF's own generator either", "Store it as a string or a blob.");
      default:
        return this.#addSmall(namespace, item.key, TYPES[item.type], integerBytes(item));
    }
  }

  finish(): Buffer {
    const used = Buffer.concat(this.#pages);
    if (this.sizeBytes < MIN_WRITABLE_BYTES) return used;
    return Buffer.concat([used, Buffer.alloc(this.sizeBytes - used.length, 0xff)]);
  }

  #namespace(item: NvsItem): number {
    const known = this.#namespaces.get(item.namespace);
    if (known !== undefined) return known;
    checkName(item.namespace, "namespace", item);
    const index = this.#namespaces.size + 1;
    if (index > MAX_NAMESPACES) throw badEntry(item, `it is namespace ${index}, and there can be 254`, "Use fewer namespaces.");
    this.#namespaces.set(item.namespace, index);
    this.#addSmall(0, item.namespace, TYPES.u8, Buffer.of(index));
    return index;
  }

  #addSmall(namespace: number, key: string, type: number, data: Uint8Array): void {
    if (this.#used >= ENTRIES_A_PAGE) this.#openPage();
    this.#write(makeEntry(namespace, type, 1, CHUNK_ANY, key, data));
  }

  #addString(namespace: number, key: string, bytes: Buffer): void {
    const span = 1 + Math.ceil(bytes.length / ENTRY_BYTES);
    // As the generator does: a string never fills a page to its end. One that needs a whole page has no other way.
    if (this.#used > 0 && this.#used + span >= ENTRIES_A_PAGE) this.#openPage();
    this.#write(makeEntry(namespace, TYPES.string, span, CHUNK_ANY, key, sizeAndCrc(bytes)));
    this.#write(bytes);
  }

  #addBlob(namespace: number, item: NvsItem, bytes: Uint8Array): void {
    if (this.#used >= ENTRIES_A_PAGE) this.#openPage();
    let chunks = 0;
    for (let at = 0, more = true; more; chunks++) {
      const room = (ENTRIES_A_PAGE - this.#used - 1) * ENTRY_BYTES;
      const chunk = bytes.subarray(at, at + room);
      at += chunk.length;
      more = at < bytes.length;
      if (chunks >= MAX_BLOB_CHUNKS) throw badEntry(item, `a blob of ${bytes.length} bytes is too long`, "Split it into several keys.");
      this.#write(makeEntry(namespace, TYPES.blobData, 1 + Math.ceil(chunk.length / ENTRY_BYTES), chunks, item.key, sizeAndCrc(chunk)));
      this.#write(chunk);
      if (more || room - chunk.length < ENTRY_BYTES) this.#openPage();
    }
    const total = Buffer.alloc(8, 0xff);
    total.writeUInt32LE(bytes.length);
    total.set([chunks, 0], 4);
    this.#write(makeEntry(namespace, TYPES.blobIndex, 1, CHUNK_ANY, item.key, total));
  }

  /** Bytes into as many entries as they take. */
  #write(bytes: Uint8Array): void {
    const count = Math.ceil(bytes.length / ENTRY_BYTES);
    const page = this.#page;
    const padded = Buffer.alloc(count * ENTRY_BYTES, 0xff);
    padded.set(bytes);
    const address = entryAddress(this.#pages.length - 1, this.#used);
    page.set(this.keys === undefined ? padded : encryptEntries(padded, address, this.keys), entryAddress(0, this.#used));
    padded.fill(0);
    for (let entry = this.#used; entry < this.#used + count; entry++) {
      const at = BITMAP_AT + Math.floor(entry / 4);
      page[at] = (page[at] ?? 0) & ~(1 << (2 * (entry % 4)));
    }
    this.#used += count;
  }

  get #page(): Buffer {
    const page = this.#pages.at(-1);
    if (page === undefined) throw new Error("no page is open");
    return page;
  }

  #openPage(): void {
    this.#pages.at(-1)?.writeUInt32LE(PAGE_STATES.full);
    if (this.#pages.length >= this.#mostPages) {
      throw new HawserError(
        "IMAGE_FULL",
        `the entries do not fit into ${this.sizeBytes} bytes`,
        "Make the partition larger: --size, and partitions.csv.",
      );
    }
    const page = Buffer.alloc(PAGE_BYTES, 0xff);
    page.writeUInt32LE(PAGE_STATES.active);
    page.writeUInt32LE(this.#pages.length, 4);
    page[8] = PAGE_VERSION;
    page.writeUInt32LE(espCrc32(page.subarray(4, 28)), 28);
    this.#pages.push(page);
    this.#used = 0;
  }
}

/** An entry with its data (at most 8 bytes) and its CRC. */
function makeEntry(namespace: number, type: number, span: number, chunk: number, key: string, data: Uint8Array): Buffer {
  const entry = Buffer.alloc(ENTRY_BYTES, 0xff);
  entry.set([namespace, type, span, chunk]);
  entry.fill(0, 8, 24);
  entry.write(key, 8, "latin1");
  entry.set(data, 24);
  entry.writeUInt32LE(entryCrc(entry), 4);
  return entry;
}

/** What the entry before variable data says of it: its size and its CRC. */
function sizeAndCrc(data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(8, 0xff);
  bytes.writeUInt16LE(data.length);
  bytes.writeUInt32LE(espCrc32(data), 4);
  return bytes;
}

function integerBytes(item: NvsItem & { type: IntegerType }): Buffer {
  const { bytes, signed } = INTEGERS[item.type];
  const bits = BigInt(bytes * 8);
  const [least, most] = signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
  if (item.value < least || item.value > most)
    throw badEntry(item, `${item.value} does not fit ${item.type}`, `Use ${least} to ${most}, or another type.`);
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, item.value));
  return out.subarray(0, bytes);
}

function stringBytes(item: NvsItem, text: string): Buffer {
  if (text.includes("\0")) throw badEntry(item, "the string holds a NUL, which would end it on the device", "Store it as a blob.");
  const bytes = Buffer.from(`${text}\0`, "utf8");
  if (bytes.length > MAX_STRING_BYTES)
    throw badEntry(
      item,
      `the string takes ${bytes.length} bytes with its NUL, and ${MAX_STRING_BYTES} are the most`,
      "Store it as a blob.",
    );
  return bytes;
}

function checkName(name: string, what: string, item: NvsItem): void {
  if (!/^[\x20-\x7e]+$/.test(name))
    throw badEntry(item, `the ${what} is empty, or has characters beyond ASCII`, "Use 1 to 15 printable ASCII characters.");
  if (name.length > MAX_KEY_CHARACTERS) throw badEntry(item, `the ${what} has ${name.length} characters`, "Use at most 15.");
}

/** The device would find one of the two, and which one is chance. */
function checkUnique(items: readonly NvsItem[]): void {
  const seen = new Set<string>();
  for (const item of items) {
    const name = JSON.stringify([item.namespace, item.key]);
    if (seen.has(name)) throw badEntry(item, "the key is there twice", "Remove one of the two.");
    seen.add(name);
  }
}

function badEntry({ namespace, key }: NvsItem, problem: string, next: string): HawserError {
  return new HawserError("BAD_IMAGE", `NVS key ${JSON.stringify(key)} in namespace ${JSON.stringify(namespace)}: ${problem}`, next);
}
