/**
 * Seeded random numbers: the same seed gives the same numbers on every engine, because only 32-bit integer arithmetic is used.
 * The generator is sfc32 (Chris Doty-Humphrey's PractRand, public domain): small, fast, no weak seeds after warming up. Never for secrets.
 */
import type { Random } from "../../sdk/platform.js";

export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed any text; equal texts give equal sequences */
  constructor(readonly seed: string) {
    const hash = hashWords(seed);
    this.#a = hash();
    this.#b = hash();
    this.#c = hash();
    for (let i = 0; i < 12; i++) this.next();
  }

  /**
   * A generator of its own for one part of the world, so that what one part draws does not disturb another. Draws nothing from this one.
   */
  fork(label: string): SeededRandom {
    return new SeededRandom(`${this.seed}/${label}`);
  }

  /** Uniform in 0 .. 2^32 - 1. */
  next(): number {
    const result = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  fraction(): number {
    return this.next() / 0x1_0000_0000;
  }

  /** A whole number, both ends included. */
  between(lowest: number, highest: number): number {
    return lowest + Math.floor(this.fraction() * (highest - lowest + 1));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    const chosen = choices[this.between(0, choices.length - 1)];
    if (chosen === undefined) throw new RangeError("nothing to pick from");
    return chosen;
  }

  bytes(sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    for (let i = 0; i < sizeBytes; i++) bytes[i] = this.next() & 0xff;
    return bytes;
  }
}

/** A stream of 32-bit words that depends on every character (two lanes of MurmurHash3's mixing steps). */
export function hashWords(text: string): () => number {
  let one = 0x9747b28c ^ text.length;
  let two = 0x1b873593;
  for (let i = 0; i < text.length; i++) {
    one = Math.imul(one ^ text.charCodeAt(i), 0xcc9e2d51);
    one = (one << 13) | (one >>> 19);
    two = Math.imul((two ^ text.charCodeAt(i)) + i, 0x85ebca6b);
    two = (two << 17) | (two >>> 15);
  }
  return () => {
    one = (one + 0x9e3779b9) | 0;
    let word = one ^ two;
    two = (Math.imul(two, 0x5bd1e995) + one) | 0;
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    return (word ^ (word >>> 16)) >>> 0;
  };
}

/** Bytes that stand for a cryptographic result in this world: a function of the texts, the same on every engine. */
export function derivedBytes(text: string, sizeBytes: number): Uint8Array {
  const hash = hashWords(text);
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = hash() & 0xff;
  return bytes;
}
