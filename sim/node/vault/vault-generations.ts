/**
 * Shows that the files of a vault belong together: a single one that was put back to an older content, removed or added is noticed, though
 * each is sealed soundly.
 *
 * Each sealed file carries a stamp: the number of its write, which grows by one with every write to the vault, and a sum over name and
 * number of all files that are kept after that write. The stamp with the highest number speaks for the whole vault. An erased file is first
 * replaced by a stamp alone, removed with the next write. The sum adds up HMACs modulo 2^256 and is only ever stored sealed: who cannot
 * open it cannot look for other files with the same sum.
 *
 * What this cannot show is a vault that was put back as a whole.
 */
import { createHmac } from "node:crypto";

export const STAMP_BYTES = 1 + 8 + 32;
const KEPT = 1;
const ERASED = 2;
const MODULUS = 2n ** 256n;

export interface Stamp {
  readonly isKept: boolean;
  readonly generation: number;
  readonly sum: bigint;
}

/** @returns undefined when the bytes begin with no stamp */
export function readStamp(bytes: Buffer): Stamp | undefined {
  const kind = bytes[0];
  if (bytes.length < STAMP_BYTES || (kind !== KEPT && kind !== ERASED)) return undefined;
  return { isKept: kind === KEPT, generation: Number(bytes.readBigUInt64BE(1)), sum: BigInt(`0x${bytes.toString("hex", 9, STAMP_BYTES)}`) };
}

export function stampBytes({ isKept, generation, sum }: Stamp): Buffer {
  const bytes = Buffer.alloc(STAMP_BYTES);
  bytes[0] = isKept ? KEPT : ERASED;
  bytes.writeBigUInt64BE(BigInt(generation), 1);
  bytes.write(sum.toString(16).padStart(64, "0"), 9, "hex");
  return bytes;
}

/** The stamps of one vault, as its files have them. */
export class Generations {
  readonly #key: Buffer;
  readonly #kept = new Map<string, number>();
  #latest = 0;
  #newest = "";
  #sum = 0n;

  /** @param key the vault's; this makes its own of it */
  constructor(key: Uint8Array) {
    this.#key = createHmac("sha256", key).update("hawser vault generations").digest();
  }

  /** The stamp for a write to `file`, not counted before {@link wrote}. */
  next(file: string, isKept: boolean): Stamp {
    const generation = this.#latest + 1;
    return { isKept, generation, sum: this.#with(file, isKept ? generation : undefined) };
  }

  /** What is on the disk now; undefined for a file that is not there. */
  wrote(file: string, stamp: Stamp | undefined): void {
    const generation = stamp?.isKept === true ? stamp.generation : undefined;
    this.#sum = this.#with(file, generation);
    if (generation === undefined) this.#kept.delete(file);
    else this.#kept.set(file, generation);
    if (stamp === undefined || stamp.generation <= this.#latest) return;
    this.#latest = stamp.generation;
    this.#newest = file;
  }

  /**
   * Takes in the stamps of all files there are.
   * @returns whether they are those of the vault's last write; otherwise its newest file, the one that says so
   */
  restore(stamps: ReadonlyMap<string, Stamp>): { isWhole: true } | { isWhole: false; newest: string } {
    let newest: [string, Stamp] | undefined;
    for (const [file, stamp] of stamps) {
      if (newest !== undefined && newest[1].generation === stamp.generation) return { isWhole: false, newest: file };
      if (newest === undefined || newest[1].generation < stamp.generation) newest = [file, stamp];
      this.wrote(file, stamp);
    }
    if (newest === undefined || newest[1].sum === this.#sum) return { isWhole: true };
    return { isWhole: false, newest: newest[0] };
  }

  /** Whether no stamp of another file is newer than `file`'s. */
  isNewest(file: string): boolean {
    return this.#newest === file;
  }

  forget(): void {
    this.#key.fill(0);
  }

  #with(file: string, generation: number | undefined): bigint {
    const before = this.#kept.get(file);
    const change = (generation === undefined ? 0n : this.#term(file, generation)) - (before === undefined ? 0n : this.#term(file, before));
    return (((this.#sum + change) % MODULUS) + MODULUS) % MODULUS;
  }

  #term(file: string, generation: number): bigint {
    return BigInt(`0x${createHmac("sha256", this.#key).update(`${file}\0${generation}`).digest("hex")}`);
  }
}
