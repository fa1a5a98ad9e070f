/**
 * A vault as the store of a device on XS: the records as they are, the keys in PSA's form. Nothing of a device lies anywhere else, so
 * either engine goes on where the other ended, a rotation included.
 */
import { resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { NodeKeyStore } from "../../../sim/node/node-key-store.js";
import { NodeStorage } from "../../../sim/node/record-storage.js";
import { checkHeaderThere, lockVault, openHeader, VaultFiles } from "../../../sim/node/vault/vault-files.js";
import {
  decodePsaKey,
  encodePsaKey,
  firstKeyId,
  PSA_SLOTS,
  slotOfKeyId,
  type DeviceKey,
  type PsaSlot,
} from "../../../sim/node/psa-key-file.js";
import type { HostStore, PsaKeyFiles } from "../../../sim/xs/store-server.js";

export interface VaultStore extends HostStore {
  close(): void;
}

/**
 * Opens the vault at `path` and holds it until `close`.
 * @throws HawserError as `Vault.open`
 */
export function openVaultStore(path: string, passphrase: string): VaultStore {
  const directory = resolve(path);
  checkHeaderThere(directory);
  const lock = lockVault(directory);
  try {
    const files = new VaultFiles(directory, openHeader(directory, passphrase), lock);
    const records = new NodeStorage({ save: (key, value) => files.save("r", key, value), erase: (key) => files.erase("r", key) });
    const keys = new VaultKeyFiles({ save: (slot, secret) => files.save("k", slot, secret), erase: (slot) => files.erase("k", slot) });
    for (const { role, name, content } of files.readAll()) {
      if (role === "r") records.restore(name, content);
      else keys.restore(name, content);
      content.fill(0);
    }
    files.tidy();
    return { records, keys, close: () => files.close() };
  } catch (error) {
    lock.release();
    throw error;
  }
}

interface SlotKeeper {
  save(slot: string, secret: Uint8Array): void;
  erase(slot: string): void;
}

/**
 * The C key store replaces a key by writing the new one under another id of its slot before it removes the old one. The vault has one file
 * a slot, replaced as a whole: it holds the key written last.
 */
export class VaultKeyFiles implements PsaKeyFiles {
  readonly #files = new Map<number, Uint8Array>();
  /** Which of a slot's ids the vault holds. */
  readonly #kept = new Map<PsaSlot, number>();

  constructor(private readonly keeper: SlotKeeper) {}

  /** Takes in what a vault holds; other slots than a device's are left alone. @throws HawserError `VAULT_CORRUPT` */
  restore(name: string, secret: Uint8Array): void {
    const slot = PSA_SLOTS.find((one) => one === name);
    if (slot === undefined) return;
    const id = firstKeyId(slot);
    this.#files.set(id, encodePsaKey(keyOf(slot, secret)));
    this.#kept.set(slot, id);
  }

  get(id: number): Uint8Array | undefined {
    return this.#files.get(id);
  }

  put(id: number, file: Uint8Array): void {
    this.#keep(slotOf(id), id, file);
    this.#files.set(id, file);
  }

  delete(id: number): void {
    if (!this.#files.has(id)) return;
    const slot = slotOf(id);
    if (this.#kept.get(slot) === id) this.#keepAnother(slot, id);
    this.#files.delete(id);
  }

  #keep(slot: PsaSlot, id: number, file: Uint8Array): void {
    this.keeper.save(slot, secretOf(slot, decodePsaKey(file)));
    this.#kept.set(slot, id);
  }

  #keepAnother(slot: PsaSlot, gone: number): void {
    const other = [...this.#files].find(([id]) => id !== gone && slotOfKeyId(id) === slot);
    if (other) return this.#keep(slot, ...other);
    this.keeper.erase(slot);
    this.#kept.delete(slot);
  }
}

function slotOf(id: number): PsaSlot {
  const slot = slotOfKeyId(id);
  if (slot === undefined)
    throw new HawserError("STORAGE_FAILED", `the XS host tried to store ${id.toString(16)}, which is not a device key`, "Report this.");
  return slot;
}

function keyOf(slot: PsaSlot, secret: Uint8Array): DeviceKey {
  const reader = readerOf(slot, secret);
  if (!reader)
    throw new HawserError(
      "VAULT_CORRUPT",
      `the vault's file k/${slot} holds no key`,
      "Restore the vault from a copy, or provision the device again with --replace.",
    );
  return slot.startsWith("key") ? { kind: "signing", key: reader.signingKey(slot) } : { kind: "psk", key: reader.psk(slot) };
}

/** The file's content as `NodeKeyStore` writes and reads it: a byte for the kind, then PKCS#8 or the pre-shared key. */
function secretOf(slot: PsaSlot, deviceKey: DeviceKey): Uint8Array {
  const secret =
    deviceKey.kind === "psk"
      ? Buffer.from([2, ...deviceKey.key])
      : Buffer.concat([Buffer.of(1), deviceKey.key.export({ type: "pkcs8", format: "der" })]);
  // Never in the place of a key what the vault could not open.
  if (!readerOf(slot, secret))
    throw new HawserError(
      "STORAGE_FAILED",
      `the XS host made a key for slot ${slot} that a vault cannot keep`,
      "Report this. The previous key is kept.",
    );
  return secret;
}

function readerOf(slot: PsaSlot, secret: Uint8Array): NodeKeyStore | undefined {
  const reader = new NodeKeyStore({ save: () => undefined, erase: () => undefined });
  return reader.restore(slot, secret) ? reader : undefined;
}
