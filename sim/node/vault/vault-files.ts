/**
 * The files of a vault: `vault.json`, `r/<record>`, `k/<slot>`, `lock`; all but the lock sealed or summed, so that no changed byte goes
 * unseen.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import {
  errnoCode,
  isTemporaryName,
  removeLeftoverTemporaries,
  storageError,
  syncDirectory,
  unlinkIfThere,
  writeFileAtomic,
} from "../files/atomic-file.js";
import { problemWithDirectory, readFileOnly } from "../files/safe-path.js";
import { isSlotName } from "../node-key-store.js";
import { lockNow } from "../files/process-lock.js";
import type { ProcessLock } from "../files/process-lock.js";
import { isRecordKey } from "../record-storage.js";
import { deriveKey, readKeyDerivation, seal, unseal } from "./sealed.js";
import type { KeyDerivation } from "./sealed.js";
import { Generations, readStamp, stampBytes, STAMP_BYTES } from "./vault-generations.js";
import type { Stamp } from "./vault-generations.js";

export const HEADER_FILE = "vault.json";
export const LOCK_FILE = "lock";

/** Takes the lock of the vault in `directory`. Throws `VAULT_IN_USE`, `STORAGE_FAILED`. */
export function lockVault(directory: string): ProcessLock {
  return lockNow(join(directory, LOCK_FILE), (pid) => {
    const holder = pid === undefined ? "" : ` by process ${pid}`;
    return new HawserError(
      "VAULT_IN_USE",
      `the vault ${directory} is in use${holder}`,
      "Stop the other process, or give each device its own vault.",
    );
  });
}

/** The two kinds of sealed file, by the name of their directory. */
export type Role = "r" | "k";
const ROLES: readonly Role[] = ["r", "k"];

/** One file as found on disk, opened. */
export interface OpenedFile {
  role: Role;
  name: string;
  content: Buffer;
}

/** Reads and writes the sealed files of one vault whose lock is held. */
export class VaultFiles {
  #directory: string;
  readonly #key: Buffer;
  readonly #lock: ProcessLock;
  readonly #generations: Generations;
  /** A file whose last write failed: nobody knows what is on the disk. */
  #unsure: SealedFile | undefined;
  /** Stamps of erased files, to be removed after the next write. */
  readonly #erased = new Map<string, SealedFile>();
  #closed = false;

  constructor(directory: string, key: Buffer, lock: ProcessLock) {
    this.#directory = directory;
    this.#key = key;
    this.#lock = lock;
    this.#generations = new Generations(key);
  }

  get directory(): string {
    return this.#directory;
  }

  /** The vault's directory was renamed. */
  movedTo(directory: string): void {
    this.#directory = directory;
    this.#lock.movedTo(join(directory, LOCK_FILE));
  }

  save(role: Role, name: string, content: Uint8Array): void {
    this.#write({ role, name }, content);
    this.#removeErased({ role, name });
  }

  erase(role: Role, name: string): void {
    this.#write({ role, name }, undefined);
    this.#removeErased({ role, name });
    this.#erased.set(idOf({ role, name }), { role, name });
  }

  /**
   * Opens every file. Throws `VAULT_CORRUPT` naming the first that is damaged, or the newest when together they are not what was last
   * written.
   */
  readAll(): OpenedFile[] {
    const opened: OpenedFile[] = [];
    const stamps = new Map<string, Stamp>();
    for (const role of ROLES) {
      for (const name of namesIn(join(this.#directory, role), role)) {
        const { stamp, content } = this.#read({ role, name });
        stamps.set(idOf({ role, name }), stamp);
        if (stamp.isKept) opened.push({ role, name, content });
        else this.#erased.set(idOf({ role, name }), { role, name });
      }
    }
    const verdict = this.#generations.restore(stamps);
    if (!verdict.isWhole)
      throw corrupt(this.#directory, `a file other than ${verdict.newest} was restored, removed or added since the last write`);
    return opened;
  }

  /** Removes what writers that were killed left behind. */
  tidy(): void {
    for (const part of ["", ...ROLES]) removeLeftoverTemporaries(join(this.#directory, part));
    // The newest stamp of all may be an erased file's: it stays until the next write.
    for (const [id, file] of this.#erased) if (!this.#generations.isNewest(id)) this.#removeStamp(id, file);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#key.fill(0);
    this.#generations.forget();
    this.#lock.release();
  }

  #write(file: SealedFile, content: Uint8Array | undefined): void {
    this.#checkOpen();
    this.#settle(file);
    const stamp = this.#generations.next(idOf(file), content !== undefined);
    const sealed = seal(this.#key, Buffer.concat([stampBytes(stamp), content ?? Buffer.alloc(0)]), purposeOf(file));
    try {
      writeFileAtomic(this.#pathOf(file), sealed);
    } catch (error) {
      this.#unsure = file;
      throw error;
    }
    this.#generations.wrote(idOf(file), stamp);
  }

  /** Finds out what a write that failed left on the disk: the sum of the next one speaks for it. */
  #settle(wanted: SealedFile): void {
    if (this.#unsure === undefined) return;
    try {
      const file = this.#unsure;
      const isThere = readdirSync(join(this.#directory, file.role)).includes(encodeName(file.name));
      this.#generations.wrote(idOf(file), isThere ? this.#read(file).stamp : undefined);
      this.#unsure = undefined;
    } catch (error) {
      throw storageError(error, "write", this.#pathOf(wanted));
    }
  }

  /** The write just made speaks for them now. */
  #removeErased(newest: SealedFile): void {
    for (const [id, file] of this.#erased) if (id !== idOf(newest)) this.#removeStamp(id, file);
    this.#erased.clear();
  }

  /** Not made durable: a stamp that comes back is removed again. */
  #removeStamp(id: string, file: SealedFile): void {
    unlinkIfThere(this.#pathOf(file));
    this.#erased.delete(id);
  }

  #read(file: SealedFile): { stamp: Stamp; content: Buffer } {
    const path = this.#pathOf(file);
    const sealed = readBytes(path);
    let opened: Buffer;
    try {
      opened = unseal(this.#key, sealed, purposeOf(file));
    } catch {
      throw corrupt(path, "its seal is broken");
    }
    const stamp = readStamp(opened);
    if (stamp === undefined) throw corrupt(path, "it has no stamp");
    const content = Buffer.from(opened.subarray(STAMP_BYTES));
    opened.fill(0);
    return { stamp, content };
  }

  #pathOf({ role, name }: SealedFile): string {
    return join(this.#directory, role, encodeName(name));
  }

  #checkOpen(): void {
    if (this.#closed) throw new HawserError("STORAGE_FAILED", `the vault ${this.#directory} is closed`, "Open it again before writing.");
  }
}

interface SealedFile {
  readonly role: Role;
  readonly name: string;
}

function idOf({ role, name }: SealedFile): string {
  return `${role}/${name}`;
}

/** What a new vault is sealed with, and how a passphrase becomes that. */
export interface VaultKey {
  readonly derivation: KeyDerivation;
  readonly key: Buffer;
}

/** Makes the directories and the header of an empty vault in `directory`, which must exist. */
export function writeEmptyVault(directory: string, { derivation, key }: VaultKey): void {
  const check = seal(key, Buffer.alloc(0), CHECK_PURPOSE).toString("base64");
  try {
    for (const role of ROLES) mkdirSync(join(directory, role), { mode: 0o700 });
  } catch (error) {
    throw storageError(error, "make", directory);
  }
  writeFileAtomic(join(directory, HEADER_FILE), headerText(derivation, check));
  syncDirectory(directory);
}

/** The vault's key. Throws `VAULT_NOT_FOUND`, `VAULT_CORRUPT` or `WRONG_PASSPHRASE`. */
export function openHeader(directory: string, passphrase: string): Buffer {
  const path = join(directory, HEADER_FILE);
  checkDirectories(directory);
  const { derivation, check } = readHeader(path);
  const key = deriveKey(passphrase, derivation);
  try {
    unseal(key, Buffer.from(check, "base64"), CHECK_PURPOSE);
  } catch {
    throw new HawserError(
      "WRONG_PASSPHRASE",
      `the passphrase does not open the vault ${directory}`,
      "Give the passphrase used to create the vault.",
    );
  }
  return key;
}

/** A link would lead writes elsewhere, and who else may write here could plant one. */
function checkDirectories(directory: string): void {
  for (const path of [directory, ...ROLES.map((role) => join(directory, role))]) {
    const problem = problemWithDirectory(path, path === directory);
    if (problem === "it is missing" || problem === "it is a link") throw corrupt(path, problem);
    if (problem !== undefined)
      throw new HawserError("VAULT_EXPOSED", `the vault directory ${path} is not safe to use: ${problem}`, `Run: chmod go-w ${path}`);
  }
}

/** Throws `VAULT_NOT_FOUND` when there is nothing that could be a vault. */
export function checkHeaderThere(directory: string): void {
  readBytes(join(directory, HEADER_FILE), () => notFound(directory));
}

export function corrupt(path: string, why: string): HawserError {
  return new HawserError(
    "VAULT_CORRUPT",
    `the vault file ${path} is damaged: ${why}`,
    "Restore the vault from a copy, or provision the device again with --replace.",
  );
}

function notFound(directory: string): HawserError {
  return new HawserError("VAULT_NOT_FOUND", `no vault at ${directory}`, "Check the path, or create the vault with `hawser provision`.");
}

/** Since 2, a file's content begins with its stamp. */
const VERSION = 2;
const CHECK_PURPOSE = "hawser vault check";

function purposeOf(file: SealedFile): string {
  return `hawser vault 2 ${idOf(file)}`;
}

/** The header in its only form, closed by a sum: a damaged salt would otherwise look like a wrong passphrase. */
function headerText(derivation: KeyDerivation, check: string): string {
  const fields = { format: "hawser-vault", version: VERSION, derivation, check };
  const sha256 = createHash("sha256").update(JSON.stringify(fields)).digest("hex");
  return JSON.stringify({ ...fields, sha256 });
}

function readHeader(path: string): { derivation: KeyDerivation; check: string } {
  const text = readBytes(path).toString("utf8");
  const header = parseObject(text);
  if (header === undefined) throw corrupt(path, "it is incomplete");
  if (header["format"] === "hawser-vault" && typeof header["version"] === "number" && header["version"] !== VERSION) {
    const isNewer = header["version"] > VERSION;
    const next = isNewer ? "Use a newer hawser." : "Provision the device again with --replace.";
    throw new HawserError(
      isNewer ? "VAULT_TOO_NEW" : "VAULT_TOO_OLD",
      `the vault file ${path} has version ${header["version"]}; this program reads ${VERSION}`,
      next,
    );
  }
  const derivation = readKeyDerivation(header["derivation"]);
  const check = header["check"];
  if (derivation === undefined || typeof check !== "string" || headerText(derivation, check) !== text)
    throw corrupt(path, "its checksum does not match");
  return { derivation, check };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Names of the sealed files in a directory; strangers (an editor's copy, a desktop's marker) are left alone. */
function namesIn(directory: string, role: Role): string[] {
  let files: string[];
  try {
    files = readdirSync(directory);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw corrupt(directory, "it is missing");
    throw storageError(error, "read", directory);
  }
  const isName = role === "k" ? isSlotName : isRecordKey;
  return files
    .filter((file) => !isTemporaryName(file))
    .map(decodeName)
    .filter(isName)
    .sort();
}

// A record key may be "." or ".." or start with a dot: "%" is in no key and takes the first dot's place.
function encodeName(name: string): string {
  return name.startsWith(".") ? `%${name.slice(1)}` : name;
}

function decodeName(file: string): string {
  return file.startsWith("%") ? `.${file.slice(1)}` : file;
}

function readBytes(path: string, missing: () => HawserError = () => corrupt(path, "it is missing")): Buffer {
  try {
    return readFileOnly(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errnoCode(error))) throw missing();
    if (errnoCode(error) === "ELOOP") throw corrupt(path, "it is a link");
    throw storageError(error, "read", path);
  }
}
