/** From the entries of an NVS partition to its keys: names of namespaces, strings, and blobs put together from their chunks. */
import { locateWrongByte } from "./locate-damage.js";
import { CHUNK_ANY, CHUNK_VERSION, ENTRY_BYTES, espCrc32, INTEGERS, isIntegerType, TYPES } from "./nvs-format.js";
import type { IntegerType, NvsItem, NvsValue } from "./nvs-format.js";

/** One entry whose own CRC is right, decrypted, and the entries of data after it. */
export interface RawEntry {
  readonly page: number;
  /** In the image. */
  readonly address: number;
  readonly entry: Buffer;
  readonly data: Buffer;
  readonly encrypted: boolean;
}

export type Report = (offset: number, problem: string) => void;

interface Named extends RawEntry {
  readonly namespace: number;
  readonly key: string;
  readonly type: number;
}

const TYPE_NAMES = new Map<number, string>(Object.entries(TYPES).map(([name, number]) => [number, name]));

export function assembleItems(entries: readonly RawEntry[], report: Report): { namespaces: Map<string, number>; items: NvsItem[] } {
  const named = entries.map(nameOf);
  const namespaces = new Map<string, number>();
  for (const { namespace, key, type, entry } of named) if (namespace === 0 && type === TYPES.u8) namespaces.set(key, entry[24] ?? 0);
  const nameOfNamespace = new Map([...namespaces].map(([name, index]) => [index, name]));
  const items: NvsItem[] = [];
  const chunks = named.filter(({ type }) => type === TYPES.blobData);
  const claimed = new Set<Named>();
  for (const one of named) {
    if (one.namespace === 0 || one.type === TYPES.blobData) continue;
    const namespace = nameOfNamespace.get(one.namespace);
    if (namespace === undefined) report(one.address, `key ${JSON.stringify(one.key)} is in namespace ${one.namespace}, which has no name`);
    const value = one.type === TYPES.blobIndex ? blobOf(one, chunks, claimed, report) : valueOf(one, report);
    if (value !== undefined) items.push({ namespace: namespace ?? `#${one.namespace}`, key: one.key, ...value });
  }
  for (const chunk of chunks)
    if (!claimed.has(chunk)) report(chunk.address, `a chunk of the blob ${JSON.stringify(chunk.key)} that no index names`);
  return { namespaces, items };
}

function nameOf(raw: RawEntry): Named {
  const key = raw.entry.subarray(8, 24);
  const end = key.indexOf(0);
  return { ...raw, namespace: raw.entry[0] ?? 0, type: raw.entry[1] ?? 0, key: key.toString("latin1", 0, end < 0 ? 16 : end) };
}

function valueOf(one: Named, report: Report): NvsValue | undefined {
  const { entry, type } = one;
  const name = TYPE_NAMES.get(type) ?? "";
  if (isIntegerType(name)) return { type: name, value: integerOf(entry, name) };
  if (name === "float") return { type: name, value: entry.readFloatLE(24) };
  if (name === "double") return { type: name, value: entry.readDoubleLE(24) };
  if (name !== "string" && name !== "blobV1") {
    report(one.address + 1, `key ${JSON.stringify(one.key)} is of the unknown type ${type.toString(16).padStart(2, "0")}`);
    return undefined;
  }
  const bytes = dataOf(one, report);
  if (bytes === undefined || name === "blobV1") return bytes && { type: "blob", value: bytes };
  const end = bytes.indexOf(0);
  if (end !== bytes.length - 1)
    report(
      one.address + ENTRY_BYTES + (end < 0 ? bytes.length - 1 : end),
      `the string ${JSON.stringify(one.key)} does not end with its only NUL`,
    );
  return { type: "string", value: bytes.toString("utf8", 0, end < 0 ? bytes.length : end) };
}

function integerOf(entry: Buffer, type: IntegerType): bigint {
  const { bytes, signed } = INTEGERS[type];
  const value = entry.readBigUInt64LE(24) & ((1n << BigInt(bytes * 8)) - 1n);
  return signed ? BigInt.asIntN(bytes * 8, value) : value;
}

/** The bytes behind an entry of variable size, once their CRC is proved. */
function dataOf({ address, entry, data, key, encrypted }: Named, report: Report): Buffer | undefined {
  const sizeBytes = entry.readUInt16LE(24);
  if (sizeBytes > data.length) {
    report(address + 24, `key ${JSON.stringify(key)} claims ${sizeBytes} bytes and has ${data.length}`);
    return undefined;
  }
  const bytes = data.subarray(0, sizeBytes);
  const stored = entry.readUInt32LE(28);
  const computed = espCrc32(bytes);
  const start = address + ENTRY_BYTES;
  if (stored !== computed) {
    const wrong = encrypted ? undefined : locateWrongByte(stored ^ computed, sizeBytes);
    report(
      wrong === undefined ? start : start + wrong.index,
      `the data of key ${JSON.stringify(key)} does not match its CRC${wrong === undefined ? "" : ": this byte is wrong"}`,
    );
    return undefined;
  }
  const dirty = data.findIndex((byte, index) => index >= sizeBytes && byte !== 0xff);
  if (dirty >= 0) report(start + dirty, `a byte after the data of key ${JSON.stringify(key)} is not erased`);
  return bytes;
}

function blobOf(index: Named, chunks: readonly Named[], claimed: Set<Named>, report: Report): NvsValue | undefined {
  const sizeBytes = index.entry.readUInt32LE(24);
  const count = index.entry[28] ?? 0;
  const start = index.entry[29] ?? 0;
  if (start !== 0 && start !== CHUNK_VERSION)
    report(index.address + 29, `the chunks of the blob ${JSON.stringify(index.key)} begin with ${start}`);
  const parts: Buffer[] = [];
  for (let number = start; number < start + count; number++) {
    const chunk = chunks.find(
      ({ namespace, key, entry }) => namespace === index.namespace && key === index.key && entry[3] === number && number !== CHUNK_ANY,
    );
    const bytes = chunk && dataOf(chunk, report);
    if (chunk === undefined)
      report(index.address, `chunk ${number - start} of ${count} of the blob ${JSON.stringify(index.key)} is missing`);
    else claimed.add(chunk);
    if (bytes === undefined) return undefined;
    parts.push(bytes);
  }
  const value = Buffer.concat(parts);
  if (value.length !== sizeBytes)
    report(index.address + 24, `the blob ${JSON.stringify(index.key)} claims ${sizeBytes} bytes, and its chunks have ${value.length}`);
  return value.length === sizeBytes ? { type: "blob", value } : undefined;
}
