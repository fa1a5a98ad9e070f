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
  /** Set when the buckets are the files of an index, and their digests those of the files. */
  readonly indexed?: true;
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

  /** The tree after a change; a removed name is undefined. This one stays as it is. */
  with(changes: ReadonlyMap<string, { readonly digest: string } | undefined>): RegistryTree {
    const after = new RegistryTree([], this.#bits);
    after.#count = this.#count;
    after.#buckets = [...this.#buckets];
    after.#digests = [...this.#digests];
    after.#put(changes);
    const wanted = bitsFor(after.#count, this.#bits);
    if (wanted !== this.#bits) after.#spread(wanted);
    return after;
  }

  #put(changes: ReadonlyMap<string, { readonly digest: string } | undefined>): void {
    const touched = new Map<number, Map<string, string>>();
    for (const [name, change] of changes) {
      const number = bucketOf(name, this.#bits);
      const bucket = touched.get(number) ?? new Map(this.#buckets[number]);
      touched.set(number, bucket);
      this.#count += (change === undefined ? 0 : 1) - (bucket.has(name) ? 1 : 0);
      if (change === undefined) bucket.delete(name);
      else bucket.set(name, change.digest);
    }
    for (const [number, bucket] of touched) {
      this.#buckets[number] = bucket;
      this.#digests[number] = bucketDigest(bucket);
    }
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
