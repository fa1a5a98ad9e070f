/** The storage port on Node: records held in memory, kept by whoever is given as keeper (a vault, or nobody in tests). */
import { HawserError } from "../../sdk/errors.js";
import type { Storage } from "../../sdk/platform.js";

/** Keeps the records; each call is atomic and durable when it returns. */
export interface RecordKeeper {
  save(key: string, value: Uint8Array): void;
  erase(key: string): void;
}

export class NodeStorage implements Storage {
  readonly #records = new Map<string, Uint8Array>();
  readonly #keeper: RecordKeeper;

  constructor(keeper: RecordKeeper) {
    this.#keeper = keeper;
  }

  /** Takes in what the keeper saved earlier. */
  restore(key: string, value: Uint8Array): void {
    this.#records.set(key, new Uint8Array(value));
  }

  get(key: string): Uint8Array | undefined {
    return this.#records.get(key)?.slice();
  }

  put(key: string, value: Uint8Array): void {
    checkKey(key);
    const copy = new Uint8Array(value);
    this.#keeper.save(key, copy);
    this.#records.set(key, copy);
  }

  delete(key: string): void {
    checkKey(key);
    if (!this.#records.has(key)) return;
    this.#keeper.erase(key);
    this.#records.delete(key);
  }

  list(prefix: string): string[] {
    return [...this.#records.keys()].filter((key) => key.startsWith(prefix)).sort();
  }
}

/** Whether this may name a record: 1..15 characters of `[a-z0-9._-]`. */
export function isRecordKey(key: string): boolean {
  return /^[a-z0-9._-]{1,15}$/.test(key);
}

function checkKey(key: string): void {
  if (!isRecordKey(key))
    throw new HawserError("STORAGE_FAILED", `invalid record name "${key}"`, "Use 1 to 15 characters of a-z, 0-9, ., _ and -.");
}
