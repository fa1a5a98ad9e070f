/**
 * Secrets at rest: a key from a passphrase by scrypt (RFC 7914), bytes sealed under it with AES-256-GCM (NIST SP 800-38D).
 *
 * Sealed bytes: version 1 (1 byte), nonce (12), ciphertext, tag (16). The nonce is random: one key may seal up to 2^32 times
 * before that is a worry. The additional data says what the bytes are for, so that one sealed file cannot stand in for another.
 */
import { createCipheriv, createDecipheriv, randomBytes, scrypt, scryptSync } from "node:crypto";
import type { ScryptOptions } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { HawserError } from "../../../sdk/errors.js";

/** What scrypt costs; RFC 7914 calls them N, r and p. */
export interface ScryptCost {
  /**
   * N: a power of two, at least 2. Memory is 128 * cost * blockSize bytes, time is proportional to the product of all three, which is at
   * most 2^20.
   */
  cost: number;
  /** r: 1..32 */
  blockSize: number;
  /** p: 1..16 */
  parallelization: number;
}

/**
 * The product of all three costs is at most this: 128 MiB and about half a second. A stored cost is read before anything is proved, so
 * whoever can write the file decides how long the passphrase takes.
 */
const MOST_WORK = 2 ** 20;

/** 32 MiB and about a tenth of a second on a desktop machine of 2026. */
export const DEFAULT_SCRYPT_COST: Readonly<ScryptCost> = { cost: 2 ** 15, blockSize: 8, parallelization: 1 };

/** Hardly any work: for tests only. */
export const TEST_SCRYPT_COST: Readonly<ScryptCost> = { cost: 2, blockSize: 1, parallelization: 1 };

/** How a key came from a passphrase: no secret, stored beside what the key seals. Plain JSON. */
export interface KeyDerivation extends ScryptCost {
  kdf: "scrypt";
  /** 16 random bytes, base64. */
  salt: string;
}

export function newKeyDerivation(cost: Readonly<ScryptCost> = DEFAULT_SCRYPT_COST): KeyDerivation {
  return {
    kdf: "scrypt",
    cost: cost.cost,
    blockSize: cost.blockSize,
    parallelization: cost.parallelization,
    salt: randomBytes(16).toString("base64"),
  };
}

/** Reads a stored derivation; undefined when it is none, or asks for more work than this code would ever have set. */
export function readKeyDerivation(value: unknown): KeyDerivation | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { kdf, cost, blockSize, parallelization, salt } = value as Partial<Record<keyof KeyDerivation, unknown>>;
  if (kdf !== "scrypt" || !isWithin(cost, 2, 2 ** 20) || !isWithin(blockSize, 1, 32) || !isWithin(parallelization, 1, 16)) return undefined;
  if (cost * blockSize * parallelization > MOST_WORK || !Number.isInteger(Math.log2(cost)) || typeof salt !== "string") return undefined;
  const saltBytes = Buffer.from(salt, "base64");
  if (saltBytes.length !== 16 || saltBytes.toString("base64") !== salt) return undefined;
  return { kdf, cost, blockSize, parallelization, salt };
}

/** The 32-byte key for {@link seal} and {@link unseal}. */
export function deriveKey(passphrase: string, derivation: KeyDerivation): Buffer {
  return scryptSync(...scryptCall(passphrase, derivation));
}

interface KeyAhead {
  readonly passphrase: string;
  readonly derivation: KeyDerivation;
  readonly key: Promise<Buffer>;
}

let keyAhead: KeyAhead | undefined;

/** Begins to make a key that is likely to be asked for: the next {@link deriveKeyBeside} of the same gets this one. */
export function deriveKeyAhead(passphrase: string, derivation: KeyDerivation): void {
  const key = deriveKeyBeside(passphrase, derivation);
  // Who asks for it is told; perhaps nobody does.
  key.catch(() => undefined);
  keyAhead = { passphrase, derivation, key };
}

/** The same on another thread, while this one does something else. */
export function deriveKeyBeside(passphrase: string, derivation: KeyDerivation): Promise<Buffer> {
  const ahead = keyAhead;
  if (ahead?.passphrase === passphrase && isDeepStrictEqual(ahead.derivation, derivation)) {
    keyAhead = undefined;
    return ahead.key;
  }
  return new Promise((resolve, reject) => {
    scrypt(...scryptCall(passphrase, derivation), (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}

function scryptCall(
  passphrase: string,
  { cost, blockSize, parallelization, salt }: KeyDerivation,
): [passphrase: string, salt: Buffer, keyBytes: number, options: ScryptOptions] {
  const maxmem = 128 * blockSize * (cost + parallelization) + 2 ** 20;
  // The same letters typed on different systems come composed or decomposed: NFC makes them one passphrase.
  return [passphrase.normalize("NFC"), Buffer.from(salt, "base64"), 32, { cost, blockSize, parallelization, maxmem }];
}

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** How many bytes longer sealed bytes are than what they hold. */
export const SEAL_OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES;

/** @param purpose what the bytes are and where they belong; {@link unseal} must be given the same */
export function seal(key: Uint8Array, plaintext: Uint8Array, purpose: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(purpose, "utf8"));
  const body = cipher.update(plaintext);
  cipher.final();
  return Buffer.concat([Buffer.of(VERSION), nonce, body, cipher.getAuthTag()]);
}

/** @throws HawserError `SEAL_BROKEN` when a byte, the key or the purpose is not the one that sealed */
export function unseal(key: Uint8Array, sealed: Uint8Array, purpose: string): Buffer {
  const broken = (): HawserError =>
    new HawserError("SEAL_BROKEN", `sealed data (${purpose}) cannot be opened`, "Check the passphrase; if it is right, restore the file.");
  if (sealed.length < SEAL_OVERHEAD_BYTES || sealed[0] !== VERSION) throw broken();
  const bodyEnd = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(1, 1 + NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(purpose, "utf8"));
  decipher.setAuthTag(sealed.subarray(bodyEnd));
  const body = decipher.update(sealed.subarray(1 + NONCE_BYTES, bodyEnd));
  try {
    decipher.final();
  } catch {
    throw broken();
  }
  return body;
}

function isWithin(value: unknown, lowest: number, highest: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= lowest && value <= highest;
}
