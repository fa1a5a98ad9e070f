/**
 * Bends bytes the way links, flashes and attackers do: flips, cuts, repeats, wrong lengths, pieces of other inputs, words of the format.
 */
import type { SeededRandom } from "../../sim/virtual/random.js";
import type { Bend } from "./fuzz-target.js";

const MOST_BENDS = 6;
const LONGEST_PIECE = 24;
/** Values at which readers of lengths and numbers go wrong. */
const EDGES = [
  0, 1, 2, 3, 4, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
];

type Step = (random: SeededRandom, bytes: Uint8Array, other: Uint8Array, words: readonly Uint8Array[]) => Uint8Array;

/** @param words what the format is made of: markers, keywords, whole fields */
export function byteBend(words: readonly Uint8Array[]): Bend {
  return (random, base, other) => {
    let bytes: Uint8Array = base.slice();
    for (let left = random.between(1, MOST_BENDS); left > 0; left--) bytes = random.pick(STEPS)(random, bytes, other, words);
    return bytes;
  };
}

/** The words of a format, written as text (ISO 8859-1) or numbers. */
export function words(...list: (string | readonly number[])[]): Uint8Array[] {
  return list.map((word) =>
    typeof word === "string" ? Uint8Array.from(word, (character) => character.charCodeAt(0)) : Uint8Array.from(word),
  );
}

const flip: Step = (random, bytes) => change(bytes, somewhere(random, bytes), (old) => old ^ (1 << random.between(0, 7)));
const setByte: Step = (random, bytes) => change(bytes, somewhere(random, bytes), () => random.next());
const nudge: Step = (random, bytes) => change(bytes, somewhere(random, bytes), (old) => old + random.between(-4, 4));

/** Big-endian over one, two or four bytes: an edge, or about what is left of the input, as a length may say. */
const setNumber: Step = (random, bytes) => {
  const width = random.pick([1, 2, 4]);
  const at = somewhere(random, bytes);
  const value = random.chance(0.5) ? random.pick(EDGES) : bytes.length - at - width + random.between(-2, 2);
  for (let i = 0; i < width; i++) change(bytes, at + i, () => Math.floor(value / 2 ** (8 * (width - 1 - i))));
  return bytes;
};

const insertNoise: Step = (random, bytes) => splice(bytes, gap(random, bytes), 0, random.bytes(random.between(1, LONGEST_PIECE)));
const insertWord: Step = (random, bytes, _other, list) =>
  splice(bytes, gap(random, bytes), 0, list.length > 0 ? random.pick(list) : random.bytes(2));
const overwriteWord: Step = (random, bytes, _other, list) => {
  const word = list.length > 0 ? random.pick(list) : random.bytes(2);
  return splice(bytes, gap(random, bytes), word.length, word);
};
const remove: Step = (random, bytes) => splice(bytes, gap(random, bytes), random.between(1, LONGEST_PIECE), NOTHING);
const cut: Step = (random, bytes) => bytes.slice(0, gap(random, bytes));

const repeat: Step = (random, bytes) => {
  const start = somewhere(random, bytes);
  const piece = bytes.slice(start, start + random.between(1, LONGEST_PIECE * 2));
  const times = random.chance(0.1) ? random.between(2, 40) : 1;
  const all = new Uint8Array(piece.length * times);
  for (let i = 0; i < times; i++) all.set(piece, i * piece.length);
  return splice(bytes, start, 0, all);
};

const borrow: Step = (random, bytes, other) => {
  const start = somewhere(random, other);
  return splice(
    bytes,
    gap(random, bytes),
    random.pick([0, 0, LONGEST_PIECE]),
    other.slice(start, start + random.between(1, LONGEST_PIECE * 4)),
  );
};
/** The beginning of one and the end of the other. */
const join: Step = (random, bytes, other) => splice(bytes, gap(random, bytes), Infinity, other.slice(gap(random, other)));

const STEPS: readonly Step[] = [
  flip,
  flip,
  setByte,
  nudge,
  setNumber,
  setNumber,
  insertNoise,
  insertWord,
  insertWord,
  overwriteWord,
  remove,
  remove,
  cut,
  repeat,
  repeat,
  borrow,
  borrow,
  join,
];
const NOTHING = new Uint8Array(0);

function somewhere(random: SeededRandom, bytes: Uint8Array): number {
  return random.between(0, Math.max(0, bytes.length - 1));
}

function gap(random: SeededRandom, bytes: Uint8Array): number {
  return random.between(0, bytes.length);
}

function change(bytes: Uint8Array, at: number, to: (old: number) => number): Uint8Array {
  if (at < bytes.length) bytes[at] = to(bytes[at] ?? 0);
  return bytes;
}

function splice(bytes: Uint8Array, at: number, removed: number, added: Uint8Array): Uint8Array {
  const rest = bytes.subarray(Math.min(bytes.length, at + removed));
  const result = new Uint8Array(at + added.length + rest.length);
  result.set(bytes.subarray(0, at));
  result.set(added, at);
  result.set(rest, at + added.length);
  return result;
}
