/** What a fuzzing target is: one reader of foreign bytes, and what must hold whatever the bytes are. */
import type { SeededRandom } from "../../sim/virtual/random.js";

/**
 * Takes one input and says in a word what came of it: `ok`, the code of a failure, whatever is worth counting.
 * A thrown HawserError counts by its code. Anything else that is thrown is a finding, as is a promise that nobody handles.
 */
export type Subject = (input: Uint8Array) => string | Promise<string>;

/** Bends an input; `other` lends pieces. Draws from `random` alone. */
export type Bend = (random: SeededRandom, base: Uint8Array, other: Uint8Array) => Uint8Array;

export interface Target {
  readonly name: string;
  /** How many inputs the default run of a million gives it. */
  readonly inputs: number;
  /** No input is longer, bytes. */
  readonly maximumBytes: number;
  readonly bend: Bend;
  /** Makes the subject ready; called once for each run. */
  open(): Promise<Subject>;
}

/** A promise of the subject that was broken: thrown by targets where no exception would tell. */
export class BrokenPromise extends Error {
  override readonly name: string = "BrokenPromise";
}

/** @throws BrokenPromise where `holds` is false */
export function promise(holds: boolean, what: string): asserts holds {
  if (!holds) throw new BrokenPromise(what);
}
