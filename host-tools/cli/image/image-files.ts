/** The files of `hawser image`: new ones with mode 0600, all of them or none. */
import { randomBytes } from "node:crypto";
import { existsSync, linkSync, lstatSync, readdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import {
  errnoCode,
  isTemporaryName,
  storageError,
  syncDirectory,
  temporaryPath,
  unlinkIfThere,
  writeNewFile,
} from "../../../sim/node/files/atomic-file.js";
import { newNvsKeys, nvsKeysFromHmac, nvsKeysPartition, readNvsKeysPartition } from "../../images/nvs-keys.js";
import { sizeOf } from "../../images/partition-table.js";
import { readSecretFile } from "../secret-files.js";

/** @throws HawserError `OUT_EXISTS` when one of them is there, be it a link that leads nowhere */
export function checkNew(...paths: (string | undefined)[]): void {
  for (const path of paths) if (path !== undefined && lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw exists(path);
}

function exists(path: string): HawserError {
  return new HawserError("OUT_EXISTS", `${path} already exists`, "Choose another path, or remove it first.");
}

/** No image of the family and no table is near this large. */
const MOST_INPUT_BYTES = 64 * 1024 * 1024;

/**
 * A file that the command line or a table names.
 * @throws HawserError `NOT_FOUND`, `BAD_TABLE` (far too large), and the system's errors
 */
export function readInput(path: string): Buffer {
  const status = statSync(path);
  if (status.isDirectory()) throw new HawserError("NOT_FOUND", `${path} is a directory`, "Name a file.");
  if (status.size > MOST_INPUT_BYTES)
    throw new HawserError("BAD_TABLE", `${path} has ${status.size} bytes, far more than any image or table`, "Check the path.");
  return readFileSync(path);
}

/** Files that are made together: a failure removes those before it. Each appears whole or not at all. */
export class NewFiles {
  /** What is written beside its place, by its place. */
  readonly #staged = new Map<string, string>();
  readonly #made: string[] = [];

  /** Writes a file in one step. Throws as {@link stage} and {@link place}. */
  write(path: string, bytes: Uint8Array): void {
    this.stage(path, bytes);
    this.place();
  }

  /**
   * Writes a file beside its place.
   * @throws HawserError `OUT_EXISTS`, `STORAGE_FULL`, `STORAGE_FAILED`
   */
  stage(path: string, bytes: Uint8Array): void {
    const beside = temporaryPath(resolve(path));
    try {
      checkNew(path);
      this.#staged.set(path, beside);
      writeNewFile(beside, bytes, 0o600);
    } catch (error) {
      this.discard();
      throw storageError(error, "write", path);
    }
  }

  /** Gives all staged files their names, in the order in which they were staged. Throws as {@link stage}. */
  place(): void {
    for (const [path, beside] of this.#staged) {
      try {
        putInPlace(beside, path);
      } catch (error) {
        this.discard();
        throw error;
      }
      this.#staged.delete(path);
      this.#made.push(path);
    }
  }

  discard(): void {
    for (const path of [...this.#made.splice(0), ...this.#staged.values()]) unlinkIfThere(path);
    this.#staged.clear();
  }
}

/**
 * Never over what is there.
 * @throws HawserError `OUT_EXISTS`, `STORAGE_FAILED`
 */
export function putInPlace(beside: string, path: string): void {
  try {
    linkSync(beside, path);
    unlinkIfThere(beside);
  } catch (error) {
    if (errnoCode(error) === "EEXIST") throw exists(path);
    // A memory stick's file system has no links.
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(errnoCode(error))) throw storageError(error, "write", path);
    checkNew(path);
    renameSync(beside, path);
  }
  // What the registry is about to rely on has to be found again after a power cut.
  syncDirectory(dirname(resolve(path)));
}

/** What killed commands left beside `path`. */
export function leftovers(path: string): string[] {
  const directory = dirname(resolve(path));
  const name = basename(path);
  const names = existsSync(directory) ? readdirSync(directory) : [];
  return names
    .filter((one) => isTemporaryName(one) && one.startsWith(`${name}.`) && one.length === basename(temporaryPath(name)).length)
    .map((one) => join(directory, one));
}

export function removeLeftovers(path: string): void {
  for (const leftover of leftovers(path)) unlinkIfThere(leftover);
}

export interface KeyOptions {
  newKeys?: string;
  keys?: string;
  newHmacKey?: string;
  hmacKey?: string;
}

export interface ImageKeys {
  /** 64 bytes; undefined for a plain image. */
  readonly keys?: Buffer;
  /** A file that goes with them. */
  readonly file?: { readonly path: string; readonly bytes: Buffer };
}

/** @throws HawserError `USAGE` for more than one way, `BAD_IMAGE_KEY`, and the system's errors */
export function imageKeys({ newKeys, keys, newHmacKey, hmacKey }: KeyOptions): ImageKeys {
  if ([newKeys, keys, newHmacKey, hmacKey].filter((path) => path !== undefined).length > 1) {
    throw new HawserError("USAGE", "--new-keys, --keys, --new-hmac-key and --hmac-key exclude one another", "Choose one.");
  }
  if (keys !== undefined) return { keys: readKeysFile(keys) };
  if (hmacKey !== undefined) return { keys: nvsKeysFromHmac(readSecretFile(hmacKey)) };
  if (newKeys !== undefined) {
    const drawn = newNvsKeys();
    return { keys: drawn, file: { path: newKeys, bytes: nvsKeysPartition(drawn) } };
  }
  if (newHmacKey === undefined) return {};
  const drawn = randomBytes(32);
  return { keys: nvsKeysFromHmac(drawn), file: { path: newHmacKey, bytes: drawn } };
}

/** A partition, or the 64 bytes alone, as Espressif's generator takes them. */
export function readKeysFile(path: string): Buffer {
  const bytes = readSecretFile(path);
  return bytes.length === 64 ? bytes : readNvsKeysPartition(bytes);
}

/** @throws HawserError `USAGE` */
export function parseSize(text: string, option: string): number {
  const sizeBytes = sizeOf(text);
  if (sizeBytes === undefined) throw new HawserError("USAGE", `invalid ${option} ${JSON.stringify(text)}`, "Use 0x10000, 65536 or 64K.");
  return sizeBytes;
}

/** @throws HawserError `USAGE` */
export function parseEfuseKey(text: string): number {
  if (!/^[0-5]$/.test(text)) throw new HawserError("USAGE", `invalid --efuse-key ${JSON.stringify(text)}`, "Use 0 to 5.");
  return Number(text);
}
