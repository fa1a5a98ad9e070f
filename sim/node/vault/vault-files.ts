/**
 * The files of a vault: `vault.json`, `r/<record>`, `k/<slot>`, `lock`; all but the lock sealed or summed, so that no changed byte goes unseen.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { errnoCode, isTemporaryName, removeFileDurably, removeLeftoverTemporaries, storageError, syncDirectory, writeFileAtomic } from "../files/atomic-file.js";
import { isSlotName } from "../node-key-store.js";
import { lockNow } from "../files/process-lock.js";
import type { ProcessLock } from "../files/process-lock.js";
import { isRecordKey } from "../record-storage.js";
import { deriveKey, newKeyDerivation, readKeyDerivation, seal, unseal } from "./sealed.js";
import type { KeyDerivation, ScryptCost } from "./sealed.js";

export const HEADER_FILE = "vault.json";
export const LOCK_FILE = "lock";

/** Takes the lock of the vault in `directory`. Throws `VAULT_IN_USE`, `STORAGE_FAILED`. */
export function lockVault(directory: string): ProcessLock {
  return lockNow(join(directory, LOCK_FILE), (pid) => {
    const holder = pid === undefined ? "" : ` by process ${pid}`;
    return new HawserError("VAULT_IN_USE", `the vault ${directory} is in use${holder}`, "Stop the other process, or give each device its own vault.");
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
  #closed = false;

  constructor(directory: string, key: Buffer, lock: ProcessLock) {
    this.#directory = directory;
    this.#key = key;
    this.#lock = lock;
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
    this.#checkOpen();
    writeFileAtomic(this.#pathOf(role, name), seal(this.#key, content, purposeOf(role, name)));
  }

  erase(role: Role, name: string): void {
    this.#checkOpen();
    removeFileDurably(this.#pathOf(role, name));
  }

  /** Opens every file. Throws `VAULT_CORRUPT` naming the first that is damaged. */
  readAll(): OpenedFile[] {
    return ROLES.flatMap((role) => namesIn(join(this.#directory, role), role).map((name) => this.#read(role, name)));
  }

  /** Removes what writers that were killed left behind. */
  tidy(): void {
    for (const part of ["", ...ROLES]) removeLeftoverTemporaries(join(this.#directory, part));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#key.fill(0);
    this.#lock.release();
  }

  #read(role: Role, name: string): OpenedFile {
    const path = this.#pathOf(role, name);
    const sealed = readBytes(path);
    try {
      return { role, name, content: unseal(this.#key, sealed, purposeOf(role, name)) };
    } catch {
      throw corrupt(path, "its seal is broken");
    }
  }

  #pathOf(role: Role, name: string): string {
    return join(this.#directory, role, encodeName(name));
  }

  #checkOpen(): void {
    if (this.#closed) throw new HawserError("STORAGE_FAILED", `the vault ${this.#directory} is closed`, "Open it again before writing.");
  }
}

/** Makes the directories and the header of an empty vault in `directory`, which must exist, and returns its key. */
export function writeEmptyVault(directory: string, passphrase: string, cost: Readonly<ScryptCost> | undefined): Buffer {
  const derivation = newKeyDerivation(cost);
  const key = deriveKey(passphrase, derivation);
  const check = seal(key, Buffer.alloc(0), CHECK_PURPOSE).toString("base64");
  try {
    for (const role of ROLES) mkdirSync(join(directory, role), { mode: 0o700 });
  } catch (error) {
    throw storageError(error, "make", directory);
  }
  writeFileAtomic(join(directory, HEADER_FILE), headerText(derivation, check));
  syncDirectory(directory);
  return key;
}

/** The vault's key. Throws `VAULT_NOT_FOUND`, `VAULT_CORRUPT` or `WRONG_PASSPHRASE`. */
export function openHeader(directory: string, passphrase: string): Buffer {
  const path = join(directory, HEADER_FILE);
  const { derivation, check } = readHeader(path);
  const key = deriveKey(passphrase, derivation);
  try {
    unseal(key, Buffer.from(check, "base64"), CHECK_PURPOSE);
  } catch {
    throw new HawserError("WRONG_PASSPHRASE", `the passphrase does not open the vault ${directory}`, "Give the passphrase the vault was made with.");
  }
  return key;
}

/** Throws `VAULT_NOT_FOUND` when there is nothing that could be a vault. */
export function checkHeaderThere(directory: string): void {
  readBytes(join(directory, HEADER_FILE), () => notFound(directory));
}

export function corrupt(path: string, why: string): HawserError {
  return new HawserError("VAULT_CORRUPT", `the vault file ${path} is damaged: ${why}`, "Restore the vault from a copy, or provision the device again with --replace.");
}

function notFound(directory: string): HawserError {
  return new HawserError("VAULT_NOT_FOUND", `there is no vault at ${directory}`, "Check the path, or make the vault with `hawser provision`.");
}

const CHECK_PURPOSE = "hawser vault check";

function purposeOf(role: Role, name: string): string {
  return `hawser vault ${role}/${name}`;
}

/** The header in its only form, closed by a sum: a damaged salt would otherwise look like a wrong passphrase. */
function headerText(derivation: KeyDerivation, check: string): string {
  const fields = { format: "hawser-vault", version: 1, derivation, check };
  const sha256 = createHash("sha256").update(JSON.stringify(fields)).digest("hex");
  return JSON.stringify({ ...fields, sha256 });
}

function readHeader(path: string): { derivation: KeyDerivation; check: string } {
  const text = readBytes(path).toString("utf8");
  const header = parseObject(text);
  if (header === undefined) throw corrupt(path, "it is not whole");
  if (header["format"] === "hawser-vault" && typeof header["version"] === "number" && header["version"] > 1) {
    throw new HawserError("VAULT_TOO_NEW", `the vault file ${path} has version ${header["version"]}; this program knows 1`, "Use a newer hawser.");
  }
  const derivation = readKeyDerivation(header["derivation"]);
  const check = header["check"];
  if (derivation === undefined || typeof check !== "string" || headerText(derivation, check) !== text) throw corrupt(path, "its sum does not match");
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
  return files.filter((file) => !isTemporaryName(file)).map(decodeName).filter(isName).sort();
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
    return readFileSync(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errnoCode(error))) throw missing();
    throw storageError(error, "read", path);
  }
}
