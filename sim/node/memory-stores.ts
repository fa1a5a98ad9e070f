/** A key store and a storage that forget everything with the process: for tests and for simulated devices without a vault. */
import { NodeKeyStore } from "./node-key-store.js";
import { NodeStorage } from "./record-storage.js";

const nobody = { save: (): void => undefined, erase: (): void => undefined };

export function memoryKeyStore(): NodeKeyStore {
  return new NodeKeyStore(nobody);
}

export function memoryStorage(): NodeStorage {
  return new NodeStorage(nobody);
}
