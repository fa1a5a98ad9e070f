/**
 * The storage port over ECMA-419 key-value storage: NVS on the ESP32, which commits every write on its own and survives a power cut in it.
 */
import { errorMessage, HawserError } from "../../sdk/errors.js";
import type { Storage } from "../../sdk/platform.js";
import type { KeyValueStore } from "./ecma419.js";

/**
 * How ESP-IDF names a full partition, or numbers it where sdkconfig leaves its names out, as Moddable does (esp_err_t). Moddable throws
 * them as messages.
 */
const FULL = /NOT_ENOUGH_SPACE|NO_FREE_PAGES|VALUE_TOO_LONG|\b0x110[5de]\b/;

export function keyValueStorage(store: KeyValueStore): Storage {
  return {
    get(key) {
      const value = stored(key, () => store.read(key));
      return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
    },
    put: (key, value) => stored(key, () => store.write(key, value)),
    delete: (key) => stored(key, () => store.delete(key)),
    list(prefix) {
      return stored(`${prefix}*`, () => {
        const keys: string[] = [];
        // To the end, always: leaving NVS's iterator early would leak it.
        for (const key of store) if (key.startsWith(prefix)) keys.push(key);
        return keys.sort();
      });
    },
  };
}

function stored<Result>(key: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    const reason = errorMessage(error);
    if (FULL.test(reason))
      throw new HawserError("STORAGE_FULL", `no room in flash for the record "${key}" (${reason})`, "Make the nvs partition larger.");
    const message = `the record "${key}" could not be kept or read (${reason})`;
    throw new HawserError("STORAGE_FAILED", message, "Restart the device. If it happens again, provision it again.");
  }
}
