/** A key store and a storage that forget everything with the process: for tests and for simulated devices without a vault. */
import type { KeyStore, Storage } from "../../sdk/platform.js";
import { NodeKeyStore, type LinkKeys } from "./node-key-store.js";
import { NodeStorage } from "./record-storage.js";

const nobody = { save: (): void => undefined, erase: (): void => undefined };

export interface MemoryKeyStore extends KeyStore, LinkKeys {
  /**
   * Takes in what a keeper saved earlier.
   * @returns false when the bytes are no key
   */
  restore(slot: string, secret: Uint8Array): boolean;
}

export function memoryKeyStore(): MemoryKeyStore {
  return new NodeKeyStore(nobody);
}

export function memoryStorage(): Storage {
  return new NodeStorage(nobody);
}
