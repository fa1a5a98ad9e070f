/**
 * One hash over all entries of a registry that a change of one entry does not compute from the start: entries are spread over buckets by
 * the hash of their name, a bucket's digest is that of its entries, and the root is that of all buckets. With 100,000 names a change
 * touches some 50 entries and hashes 64 KiB. A store that does not hold all entries in memory (SQL) keeps the bucket digests in a table:
 * reading one entry then proves one bucket.
 */
import { createHash } from "node:crypto";

export interface RegistryRoot {
  /** There are 2^bits buckets. */
  readonly bits: number;
  readonly count: number;
  /** SHA-256, lower-case hex. */
  readonly root: string;
}

/** More entries than this in an average bucket, and the buckets are split. */
const ENTRIES_A_BUCKET = 64;
const NONE = Buffer.alloc(32);

/** What stands for an entry: its name and every byte of its text. */
export function entryDigest(name: string, text: Uint8Array | string): string {
  return createHash("sha256").update(`${name}\0`).update(text).digest("hex");
}

/** The bucket a name belongs to. */
export function bucketOf(name: string, bits: number): number {
  return bits === 0 ? 0 : createHash("sha256").update(name).digest().readUInt32BE(0) >>> (32 - bits);
}

/** @param entries digests by name, of one bucket */
export function bucketDigest(entries: ReadonlyMap<string, string>): Buffer {
  if (entries.size === 0) return NONE;
  const hash = createHash("sha256");
  for (const name of [...entries.keys()].sort()) hash.update(Buffer.from(entries.get(name) ?? "", "hex"));
  return hash.digest();
}

export function rootOf(bits: number, count: number, digests: readonly Buffer[]): RegistryRoot {
  const hash = createHash("sha256").update(`hawser registry ${bits} ${count}\n`);
  for (const digest of digests) hash.update(digest);
  return { bits, count, root: hash.digest("hex") };
}

export function bitsFor(count: number, bits: number): number {
  let wanted = bits;
  while (count > ENTRIES_A_BUCKET * 2 ** wanted && wanted < 20) wanted += 1;
  return wanted;
}

/** All digests in memory, for a store that reads all entries anyway. */
export class RegistryTree {
  #bits: number;
  #count = 0;
  #buckets: Map<string, string>[] = [];
  #digests: Buffer[] = [];

  /** @param bits as the sealed state has them: the same entries have another root over other buckets */
  constructor(entries: Iterable<readonly [name: string, digest: string]>, bits = 0) {
    this.#bits = bits;
    this.#fill([...entries]);
  }

  get root(): RegistryRoot {
    return rootOf(this.#bits, this.#count, this.#digests);
  }

  digestOf(name: string): string | undefined {
    return this.#buckets[bucketOf(name, this.#bits)]?.get(name);
  }

  /**
   * Takes changes in; undefined removes a name.
   * @returns takes them back
   */
  apply(changes: ReadonlyMap<string, string | undefined>): () => void {
    const before = new Map([...changes.keys()].map((name) => [name, this.digestOf(name)]));
    const bits = this.#bits;
    this.#put(changes);
    const wanted = bitsFor(this.#count, bits);
    if (wanted !== bits) this.#spread(wanted);
    return () => {
      if (wanted !== bits) this.#spread(bits);
      this.#put(before);
    };
  }

  #put(changes: ReadonlyMap<string, string | undefined>): void {
    const touched = new Set<number>();
    for (const [name, digest] of changes) {
      const number = bucketOf(name, this.#bits);
      const bucket = this.#buckets[number];
      if (bucket === undefined) continue;
      this.#count += (digest === undefined ? 0 : 1) - (bucket.has(name) ? 1 : 0);
      if (digest === undefined) bucket.delete(name);
      else bucket.set(name, digest);
      touched.add(number);
    }
    for (const number of touched) this.#digests[number] = bucketDigest(this.#buckets[number] ?? new Map());
  }

  #spread(bits: number): void {
    const all = this.#buckets.flatMap((bucket) => [...bucket]);
    this.#bits = bits;
    this.#fill(all);
  }

  #fill(entries: readonly (readonly [string, string])[]): void {
    this.#buckets = Array.from({ length: 2 ** this.#bits }, () => new Map<string, string>());
    for (const [name, digest] of entries) this.#buckets[bucketOf(name, this.#bits)]?.set(name, digest);
    this.#digests = this.#buckets.map(bucketDigest);
    this.#count = entries.length;
  }
}
