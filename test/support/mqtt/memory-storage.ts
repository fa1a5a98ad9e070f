/** For tests: storage in memory whose power can be cut before any write, or which fails. */
import { HawserError } from "../../../sdk/errors.js";
import type { Storage } from "../../../sdk/platform.js";

export class PowerCut extends Error {
  override readonly name: string = "PowerCut";
}

export class MemoryStorage implements Storage {
  readonly records: Map<string, Uint8Array>;
  writes = 0;
  /** Writes that still succeed before power fails; from then on every write throws. */
  writesBeforeCut = Infinity;
  isFull = false;
  /** For the values of all records together. */
  roomBytes = Infinity;
  onCut: (() => void) | undefined;

  constructor(records: Iterable<readonly [string, Uint8Array]> = []) {
    this.records = new Map(records);
  }

  get(key: string): Uint8Array | undefined {
    return this.records.get(key)?.slice();
  }

  put(key: string, value: Uint8Array): void {
    if (!/^[a-z0-9._-]{1,15}$/.test(key) || value.length > 4_096) throw new Error(`not a record: ${key}, ${value.length} bytes`);
    this.#write();
    if (this.isFull || !this.#hasRoom(key, value.length)) throw new HawserError("STORAGE_FULL", "no room", "");
    this.records.set(key, value.slice());
  }

  delete(key: string): void {
    if (!this.records.has(key)) return;
    this.#write();
    if (this.isFull) throw new HawserError("STORAGE_FAILED", "no flash", "");
    this.records.delete(key);
  }

  list(prefix: string): string[] {
    return [...this.records.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  /** What the next boot finds. */
  afterReboot(): MemoryStorage {
    return new MemoryStorage(this.records);
  }

  #hasRoom(key: string, sizeBytes: number): boolean {
    let usedBytes = sizeBytes;
    for (const [other, value] of this.records) if (other !== key) usedBytes += value.length;
    return usedBytes <= this.roomBytes;
  }

  #write(): void {
    if (this.writes >= this.writesBeforeCut) {
      this.onCut?.();
      throw new PowerCut("power was cut");
    }
    this.writes++;
  }
}
