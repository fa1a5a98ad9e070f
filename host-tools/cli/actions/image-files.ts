/** The files of `hawser image`: new ones with mode 0600, all of them or none. */
import { existsSync, readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { storageError, unlinkIfThere, writeNewFile } from "../../../sim/node/files/atomic-file.js";
import { newNvsKeys, nvsKeysFromHmac, nvsKeysPartition, readNvsKeysPartition } from "../../images/nvs-keys.js";
import { sizeOf } from "../../images/partition-table.js";
import { randomBytes } from "node:crypto";

/** @throws HawserError `OUT_EXISTS` when one of them is there */
export function checkNew(...paths: (string | undefined)[]): void {
  for (const path of paths) {
    if (path !== undefined && existsSync(path)) throw new HawserError("OUT_EXISTS", `${path} already exists`, "Choose another path, or remove it first.");
  }
}

/** Made anew together: a failure takes back those before it. */
export class NewFiles {
  readonly #written: string[] = [];

  /** @throws HawserError `OUT_EXISTS`, `STORAGE_FULL`, `STORAGE_FAILED` */
  write(path: string, bytes: Uint8Array): void {
    checkNew(path);
    this.#written.push(path);
    try {
      writeNewFile(path, bytes, 0o600);
    } catch (error) {
      this.discard();
      throw storageError(error, "write", path);
    }
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
  if (hmacKey !== undefined) return { keys: nvsKeysFromHmac(readFileSync(hmacKey)) };
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
  const bytes = readFileSync(path);
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
