/** The key store in C over PSA (`firmware/native/key-store.h`) as the SDK's port. Keys never come into JavaScript. */
import { HawserError } from "../../sdk/errors.js";
import type { KeyStore, Random } from "../../sdk/platform.js";

// How Moddable's compiler, and the XS host in CI, bind C functions.
declare function native<Callable>(name: string): Callable;

const open = native<() => number>("xs_keys_open");
const generate = native<(slot: string) => number>("xs_keys_generate");
const csr = native<(slot: string, commonName: string) => ArrayBuffer | number>("xs_keys_csr");
const sign = native<(slot: string, bytes: Uint8Array) => ArrayBuffer | number>("xs_keys_sign");
const publicKey = native<(slot: string) => ArrayBuffer | number>("xs_keys_public_key");
const mac = native<(slot: string, bytes: Uint8Array) => ArrayBuffer | number>("xs_keys_mac");
const importPsk = native<(slot: string, bytes: Uint8Array) => number>("xs_keys_import_psk");
const destroy = native<(slot: string) => number>("xs_keys_destroy");
const has = native<(slot: string) => boolean | number>("xs_keys_has");
const random = native<(sizeBytes: number) => ArrayBuffer | number>("xs_keys_random");

/** `key_store_status` in `firmware/native/key-store.h`. */
const OK = 0;
const MISSING = 1;
const FULL = 4;

/** @throws HawserError `KEY_STORE_FAILED` when the keys cannot be opened */
export function openNativeKeyStore(): KeyStore {
  check(open(), "opened");
  return {
    generate: (slot) => check(generate(slot), `made in slot "${slot}"`),
    csr: (slot, commonName) => bytes(csr(slot, commonName), `used from slot "${slot}" for a certificate request`),
    sign: (slot, data) => bytes(sign(slot, data), `used from slot "${slot}" to sign`),
    publicKey: (slot) => bytes(publicKey(slot), `read from slot "${slot}"`),
    mac: (slot, data) => bytes(mac(slot, data), `used from slot "${slot}"`),
    importPsk: (slot, key) => check(importPsk(slot, key), `stored in slot "${slot}"`),
    destroy: (slot) => check(destroy(slot), `removed from slot "${slot}"`),
    has(slot) {
      const found = has(slot);
      if (typeof found === "number") throw storeError(found, `looked for in slot "${slot}"`);
      return found;
    },
  };
}

/** Random numbers of PSA: the chip's own generator on the ESP32. */
export const nativeRandom: Random = {
  bytes: (sizeBytes) => bytes(random(sizeBytes), "drawn at random"),
  fraction: () => Math.random(),
};

function check(status: number, what: string): void {
  if (status !== OK) throw storeError(status, what);
}

function bytes(result: ArrayBuffer | number, what: string): Uint8Array {
  if (typeof result === "number") throw storeError(result, what);
  return new Uint8Array(result);
}

function storeError(status: number, what: string): HawserError {
  if (status === MISSING) return new HawserError("KEY_MISSING", `no key of this kind could be ${what}`, "Enrol or provision the device.");
  if (status === FULL) return new HawserError("STORAGE_FULL", `a key could not be ${what}: the key store is full`, "Free some flash.");
  // Mbed TLS makes one status of everything that its storage says no to, a full flash among it.
  return new HawserError(
    "KEY_STORE_FAILED",
    `a key could not be ${what} (status ${status})`,
    "Free some flash, then restart the device. If it happens again, provision it again.",
  );
}
