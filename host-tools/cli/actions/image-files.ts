/** The files of `hawser image`: new ones with mode 0600, all of them or none. */
import { randomBytes } from "node:crypto";
import { lstatSync, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { errnoCode, storageError, syncDirectory, unlinkIfThere, writeNewFile } from "../../../sim/node/files/atomic-file.js";
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

/** Files that are made together: a failure removes those before it. */
export class NewFiles {
  readonly #written: string[] = [];

  /** @throws HawserError `OUT_EXISTS`, `STORAGE_FULL`, `STORAGE_FAILED` */
  write(path: string, bytes: Uint8Array): void {
    checkNew(path);
    try {
      writeNewFile(path, bytes, 0o600);
    } catch (error) {
      // What another process made there meanwhile is not ours to remove.
      if (errnoCode(error) !== "EEXIST") this.#written.push(path);
      this.discard();
      throw errnoCode(error) === "EEXIST" ? exists(path) : storageError(error, "write", path);
    }
    this.#written.push(path);
    // What the registry is about to rely on has to be found again after a power cut.
    syncDirectory(dirname(resolve(path)));
  }

  discard(): void {
    for (const path of this.#written.splice(0)) unlinkIfThere(path);
  }
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
