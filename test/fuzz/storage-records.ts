/**
 * All storage records of a device as one input: for each its key and its value, both with their length before them; read as far as it goes.
 */
import type { SeededRandom } from "../../sim/virtual/random.js";
import { byteBend, words } from "./bend.js";
import { jsonBend } from "./json-bend.js";
import type { Bend } from "./fuzz-target.js";

export type Records = [key: string, value: Uint8Array][];

export function packRecords(records: Records): Uint8Array {
  const parts = records.flatMap(([key, value]) => [
    Uint8Array.of(key.length),
    new TextEncoder().encode(key),
    Uint8Array.of(value.length >> 8, value.length & 0xff),
    value,
  ]);
  const packed = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    packed.set(part, at);
    at += part.length;
  }
  return packed;
}

/** Keys that no storage takes are left out. */
export function unpackRecords(packed: Uint8Array): Records {
  const records: Records = [];
  for (let at = 0; at < packed.length;) {
    const keyEnd = at + 1 + (packed[at] ?? 0);
    const key = new TextDecoder().decode(packed.subarray(at + 1, keyEnd));
    const size = ((packed[keyEnd] ?? 0) << 8) | (packed[keyEnd + 1] ?? 0);
    at = keyEnd + 2 + size;
    if (/^[a-z0-9._-]{1,15}$/.test(key)) records.push([key, packed.slice(keyEnd + 2, at)]);
  }
  return records;
}

const RECORD_WORDS = words(
  [0, 0, 0, 0],
  [0xff, 0xff, 0xff, 0xff],
  [0, 0, 1],
  [1, 0, 1],
  [1, 1, 1],
  [0x32, 6, 0, 1, 0x74, 0, 1, 0],
  [0x34, 6, 0, 1, 0x74, 0, 2, 0],
  "1767225600000",
  "-1",
  "9007199254740991",
  "1e3",
);
const byBytes = byteBend(RECORD_WORDS);

/** Damages values and leaves most keys alone: it is the values that a reader of flash trusts. */
export const recordBend: Bend = (random, base, other) => {
  let records = unpackRecords(base);
  const others = unpackRecords(other);
  for (let left = random.between(1, 3); left > 0 && records.length > 0; left--) records = damage(random, records, others);
  return packRecords(records);
};

function damage(random: SeededRandom, records: Records, others: Records): Records {
  const at = random.between(0, records.length - 1);
  const [key, value] = records[at] ?? ["", new Uint8Array(0)];
  const kind = random.between(0, 11);
  if (kind === 0) return records.filter((_, index) => index !== at);
  if (kind === 1 && others.length > 0) return [...records, random.pick(others)];
  if (kind === 2) return [...records, [bentKey(random, key), value]];
  if (kind === 3)
    return records.map((record, index) => (index === at ? [key, (records[random.between(0, records.length - 1)] ?? record)[1]] : record));
  const theirs = others.find(([name]) => name === key)?.[1] ?? value;
  const bend = value[0] === 0x7b && random.chance(0.8) ? jsonBend : byBytes;
  const bent = bend(random, value, theirs).slice(0, 4_096);
  return records.map((record, index) => (index === at ? [key, bent] : record));
}

/** Another record number or part, another slot. */
function bentKey(random: SeededRandom, key: string): string {
  const bent = key.replace(/[0-9ab]/g, (digit) => (random.chance(0.3) ? random.pick(["0", "1", "a", "b", "f"]) : digit));
  return random.chance(0.3) ? `${bent}-01`.slice(0, 15) : bent;
}
