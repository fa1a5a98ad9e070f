/** A device's flash: records that survive power cuts, wear that is counted, a partition that can be full or fail. */
import { HawserError } from "../../../sdk/errors.js";
import type { Storage } from "../../../sdk/platform.js";
import type { PowerSupply } from "./power-supply.js";

const VALID_KEY = /^[a-z0-9._-]{1,15}$/;
/** What a record costs beside its bytes: NVS spends one 32-byte entry on each. */
const RECORD_OVERHEAD_BYTES = 32;

export class Flash {
  readonly #records = new Map<string, Uint8Array>();
  readonly #wear = new Map<string, number>();
  #writes = 0;
  #refusals = 0;
  #peakBytes = 0;
  /** Asked before each write; true makes it fail. */
  failing: (key: string) => boolean = () => false;
  /** Told of each change, the moment it is durable. */
  onChange: (key: string) => void = () => undefined;

  /** @param capacityBytes what fits; may change, as a partition shared with others does */
  constructor(public capacityBytes: number) {}

  /** Puts and deletes since the beginning. */
  get writes(): number {
    return this.#writes;
  }

  /** Writes that failed, or found no room. */
  get refusals(): number {
    return this.#refusals;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  get recordCount(): number {
    return this.#records.size;
  }

  /** Writes of each key that was ever written. */
  get wear(): ReadonlyMap<string, number> {
    return this.#wear;
  }

  get usedBytes(): number {
    let total = 0;
    for (const value of this.#records.values()) total += RECORD_OVERHEAD_BYTES + value.length;
    return total;
  }

  /** What lies in the flash, without the device: for checks. */
  peek(key: string): Uint8Array | undefined {
    return this.#records.get(key)?.slice();
  }

  /** All that lies in the flash. */
  snapshot(): ReadonlyMap<string, Uint8Array> {
    return new Map(this.#records);
  }

  /** The storage port of one power-on. */
  open(power: PowerSupply): Storage {
    return {
      get: (key) => {
        power.check();
        checkKey(key);
        return this.#records.get(key)?.slice();
      },
      put: (key, value) => {
        checkKey(key);
        power.check();
        this.#mayWrite(key);
        this.#mustFit(key, value.length);
        power.change(() => this.#put(key, value.slice()));
      },
      delete: (key) => {
        checkKey(key);
        power.check();
        if (!this.#records.has(key)) return;
        this.#mayWrite(key);
        power.change(() => this.#delete(key));
      },
      list: (prefix) => {
        power.check();
        return [...this.#records.keys()].filter((key) => key.startsWith(prefix)).sort();
      },
    };
  }

  #mayWrite(key: string): void {
    if (!this.failing(key)) return;
    this.#refusals++;
    throw new HawserError("STORAGE_FAILED", `the flash failed on record ${key}`, "Replace the flash.");
  }

  #mustFit(key: string, sizeBytes: number): void {
    const replaced = this.#records.get(key);
    const others = this.usedBytes - (replaced ? RECORD_OVERHEAD_BYTES + replaced.length : 0);
    if (others + RECORD_OVERHEAD_BYTES + sizeBytes > this.capacityBytes) {
      this.#refusals++;
      throw new HawserError("STORAGE_FULL", `no room for ${sizeBytes} bytes of record ${key}`, "Free some records.");
    }
  }

  #put(key: string, value: Uint8Array): void {
    this.#records.set(key, value);
    this.#peakBytes = Math.max(this.#peakBytes, this.usedBytes);
    this.#count(key);
  }

  #delete(key: string): void {
    this.#records.delete(key);
    this.#count(key);
  }

  #count(key: string): void {
    this.#writes++;
    this.#wear.set(key, (this.#wear.get(key) ?? 0) + 1);
    this.onChange(key);
  }
}

function checkKey(key: string): void {
  if (!VALID_KEY.test(key))
    throw new HawserError(
      "INVALID_KEY",
      `invalid storage key ${JSON.stringify(key)}`,
      "Use 1 to 15 characters of a-z, 0-9, '.', '_' and '-'.",
    );
}

/** The same storage, which tells of each change once it is durable. */
export function toldOfChanges(storage: Storage, changed: (key: string) => void): Storage {
  return {
    ...storage,
    put: (key, value) => {
      storage.put(key, value);
      changed(key);
    },
    delete: (key) => {
      storage.delete(key);
      changed(key);
    },
  };
}
