/**
 * A vault: everything one device must keep, in one encrypted directory that one process at a time holds (docs/protocol.md, "A vault").
 *
 * Opening reads and proves all of it; from then on reads are served from memory and each write is one durable file.
 */
import type { KeyObject } from "node:crypto";
import { join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import type { KeyStore, Storage } from "../../../sdk/platform.js";
import { NodeKeyStore } from "../node-key-store.js";
import type { LinkKeys } from "../node-key-store.js";
import type { ProcessLock } from "../files/process-lock.js";
import { NodeStorage } from "../record-storage.js";
import { deriveKey, deriveKeyBeside, newKeyDerivation } from "./sealed.js";
import type { ScryptCost } from "./sealed.js";
import { checkHeaderThere, corrupt, lockVault, openHeader, VaultFiles, writeEmptyVault } from "./vault-files.js";
import type { VaultKey } from "./vault-files.js";
import { VaultPlace } from "./vault-place.js";

export interface NewVaultOptions {
  /** What the passphrase's key derivation costs; the default suits people's passphrases. */
  scryptCost?: Readonly<ScryptCost>;
  /** Put the new vault in the place of one that is there and not in use. */
  replace?: boolean;
}

/** A vault that is being filled beside its place; it is at its place whole after `commit`, or not at all. */
export interface StagedVault {
  readonly vault: Vault;
  /**
   * Moves the vault to its place, durably; it stays open. Throws `VAULT_EXISTS` when something came to be there meanwhile,
   * `STORAGE_FAILED`;
   * the staged vault is gone then.
   */
  commit(): void;
  /** Closes and removes it. Nothing happens after `commit`. */
  discard(): void;
}

export class Vault implements LinkKeys {
  readonly #files: VaultFiles;
  readonly #keys: NodeKeyStore;
  readonly #records: NodeStorage;

  private constructor(files: VaultFiles) {
    this.#files = files;
    this.#keys = new NodeKeyStore({ save: (slot, secret) => files.save("k", slot, secret), erase: (slot) => files.erase("k", slot) });
    this.#records = new NodeStorage({ save: (key, value) => files.save("r", key, value), erase: (key) => files.erase("r", key) });
  }

  /**
   * Makes an empty vault at `path`, whose parent must exist, and holds it.
   *
   * @throws HawserError `VAULT_EXISTS` when anything is there, `VAULT_IN_USE` when it is to be replaced and held, `STORAGE_FULL`,
   *   `STORAGE_FAILED`
   */
  static create(path: string, passphrase: string, options: NewVaultOptions = {}): Vault {
    const staged = Vault.createStaged(path, passphrase, options);
    staged.commit();
    return staged.vault;
  }

  /** Makes the key of a new vault on another thread: a passphrase takes about a tenth of a second. It is for one vault. */
  static async newKey(passphrase: string, scryptCost?: Readonly<ScryptCost>): Promise<VaultKey> {
    const derivation = newKeyDerivation(scryptCost);
    return { derivation, key: await deriveKeyBeside(passphrase, derivation) };
  }

  /**
   * Makes an empty vault in a directory beside `path`, to be filled and then moved into place.
   *
   * @param secret the passphrase, or what {@link Vault.newKey} made of it
   * @throws HawserError as {@link Vault.create}
   */
  static createStaged(path: string, secret: string | VaultKey, options: NewVaultOptions = {}): StagedVault {
    const place = VaultPlace.claim(resolve(path), options.replace ?? false);
    let lock: ProcessLock | undefined;
    try {
      const directory = place.makeStaging();
      lock = lockVault(directory);
      const made = typeof secret === "string" ? newKeyNow(secret, options.scryptCost) : secret;
      writeEmptyVault(directory, made);
      const vault = new Vault(new VaultFiles(directory, made.key, lock));
      return staged(vault, place, () => vault.#files.movedTo(place.path));
    } catch (error) {
      lock?.release();
      place.abandon();
      throw error;
    }
  }

  /**
   * Opens the vault at `path` and holds it until {@link close}. A failure changes nothing on disk.
   *
   * @throws HawserError `VAULT_NOT_FOUND`, `WRONG_PASSPHRASE`, `VAULT_CORRUPT`, `VAULT_TOO_NEW`, `VAULT_IN_USE`, `STORAGE_FAILED`
   */
  static open(path: string, passphrase: string): Vault {
    const directory = resolve(path);
    checkHeaderThere(directory);
    const lock = lockVault(directory);
    try {
      const vault = new Vault(new VaultFiles(directory, openHeader(directory, passphrase), lock));
      vault.#load();
      vault.#files.tidy();
      return vault;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  get path(): string {
    return this.#files.directory;
  }

  get storage(): Storage {
    return this.#records;
  }

  get keyStore(): KeyStore & LinkKeys {
    return this.#keys;
  }

  /** For the dialer alone. Throws `KEY_MISSING`. */
  signingKey(slot: string): KeyObject {
    return this.#keys.signingKey(slot);
  }

  /** For the dialer alone. Throws `KEY_MISSING`. */
  psk(slot: string): Buffer {
    return this.#keys.psk(slot);
  }

  /** Lets others open the vault; writes fail from now on. Idempotent. */
  close(): void {
    this.#files.close();
  }

  #load(): void {
    for (const { role, name, content } of this.#files.readAll()) {
      if (role === "r") this.#records.restore(name, content);
      else if (!this.#keys.restore(name, content)) throw corrupt(join(this.path, "k", name), "it holds no key");
      content.fill(0);
    }
  }
}

function newKeyNow(passphrase: string, scryptCost: Readonly<ScryptCost> | undefined): VaultKey {
  const derivation = newKeyDerivation(scryptCost);
  return { derivation, key: deriveKey(passphrase, derivation) };
}

function staged(vault: Vault, place: VaultPlace, inPlace: () => void): StagedVault {
  let settled = false;
  const discard = (): void => {
    if (settled) return;
    settled = true;
    vault.close();
    place.abandon();
  };
  return {
    vault,
    discard,
    commit: () => {
      if (settled)
        throw new HawserError("VAULT_NOT_STAGED", `the vault for ${place.path} was already committed or discarded`, "Stage a new one.");
      try {
        place.take();
      } catch (error) {
        discard();
        throw error;
      }
      settled = true;
      inPlace();
    },
  };
}
