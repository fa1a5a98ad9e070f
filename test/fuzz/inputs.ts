/** Where inputs come from: the kept corpus, and its bent descendants, each a function of target, seed and number alone. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SeededRandom } from "../../sim/virtual/random.js";
import type { Target } from "./fuzz-target.js";

export interface CorpusEntry {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** It shows a defect that is still there: its name begins with `open-` until the defect is mended. */
  readonly isOpen: boolean;
}

/** One in so many inputs is pure noise. */
const NOISE_EVERY = 64;

/** The kept inputs of a target, by name. They lie in the source tree, so the working directory has to be the package's. */
export function readCorpus(target: string): CorpusEntry[] {
  const folder = join("test", "fuzz", "corpus", target.replace(/^broken-.*/, "certificate"));
  if (!existsSync(folder)) throw new Error(`${folder} is not here: run from the package's folder`);
  return readdirSync(folder)
    .sort()
    .map((name) => ({ name, bytes: new Uint8Array(readFileSync(join(folder, name))), isOpen: name.startsWith("open-") }));
}

/** Input `number` of a run: the corpus as it is first, then bent. */
export function makeInput(target: Target, corpus: readonly CorpusEntry[], seed: string, number: number): Uint8Array {
  const kept = corpus[number];
  if (kept !== undefined) return kept.bytes.slice();
  const random = new SeededRandom(`${seed}/${target.name}/${number}`);
  if (corpus.length === 0 || random.between(1, NOISE_EVERY) === 1)
    return random.bytes(random.between(0, Math.min(256, target.maximumBytes)));
  const base = random.pick(corpus).bytes;
  const other = random.pick(corpus).bytes;
  const bent = target.bend(random, base, other);
  return bent.length > target.maximumBytes ? bent.slice(0, target.maximumBytes) : bent;
}
