/**
 * The private keys of an `esp_secure_cert` partition: stored as they are, encrypted for the RSA digital signature peripheral, or derived on
 * the chip from a key in its eFuses.
 * What needs the chip (burning eFuses) is left to Espressif's tools.
 */
import { createCipheriv, createHash, createHmac, createPrivateKey, createPublicKey, pbkdf2Sync, randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { checkHmacKey } from "./nvs-keys.js";
import { TLV_TYPES } from "./secure-cert-format.js";
import type { TlvEntry } from "./secure-cert-format.js";
import { checkEfuseKey } from "./secure-cert-writer.js";

/**
 * A private key from PEM or DER: PKCS#8, SEC 1 or PKCS#1, not encrypted.
 * @throws HawserError `BAD_IMAGE_KEY`
 */
export function readPrivateKey(source: Uint8Array): KeyObject {
  const bytes = Buffer.from(source);
  const attempts: (() => KeyObject)[] = isPem(bytes)
    ? [() => createPrivateKey(bytes)]
    : (["pkcs8", "sec1", "pkcs1"] as const).map((type) => () => createPrivateKey({ key: bytes, format: "der", type }));
  for (const attempt of attempts) {
    try {
      const key = attempt();
      if (key.asymmetricKeyType === "ec" || key.asymmetricKeyType === "rsa") return key;
    } catch {
      // The next form may fit.
    }
  }
  throw new HawserError(
    "BAD_IMAGE_KEY",
    "the private key is not an EC or RSA key in PEM or DER, or it is encrypted",
    "Decrypt it with openssl pkey first.",
  );
}

/**
 * The entry of a key that is stored as it is: its traditional form (SEC 1, PKCS#1), PEM with a NUL at its end or DER, as the source was.
 */
export function plainKeyEntry(source: Uint8Array, subtype = 0): TlvEntry {
  const key = readPrivateKey(source);
  const type = key.asymmetricKeyType === "rsa" ? "pkcs1" : "sec1";
  const data = isPem(source) ? Buffer.from(`${key.export({ format: "pem", type })}\0`, "latin1") : key.export({ format: "der", type });
  return { type: TLV_TYPES["private-key"], subtype, flags: 0, data };
}

function isPem(source: Uint8Array): boolean {
  return Buffer.from(source).includes("-----BEGIN");
}

/** Longest RSA key of the digital signature peripheral, bits. Shorter keys are padded to it. */
const DS_MOST_BITS: Readonly<Record<string, number>> = {
  esp32s2: 4096,
  esp32s3: 4096,
  esp32p4: 4096,
  esp32c5: 4096,
  esp32s31: 4096,
  esp32c3: 3072,
  esp32c6: 3072,
  esp32h2: 3072,
};
export const DS_CHIPS: readonly string[] = Object.keys(DS_MOST_BITS);

export interface DsRequest {
  readonly privateKey: KeyObject;
  /** 32 bytes, to be burned into an eFuse block for the purpose HMAC_DOWN_DIGITAL_SIGNATURE. */
  readonly hmacKey: Uint8Array;
  readonly efuseKey: number;
  readonly chip: string;
  readonly subtype?: number;
  /** 16 bytes; random when left out. */
  readonly iv?: Uint8Array;
}

/**
 * The two entries of an RSA key that only the chip's digital signature peripheral can use: the encrypted key, and where its HMAC key is.
 * Source: ESP32-S2 Technical Reference Manual, "Digital Signature", "Private key parameters".
 *
 * @throws HawserError `BAD_IMAGE_KEY` (no RSA key, or of a length the chip does not take), `BAD_IMAGE` (chip, eFuse block)
 */
export function dsEntries({ privateKey, hmacKey, efuseKey, chip, subtype = 0, iv = randomBytes(16) }: DsRequest): TlvEntry[] {
  checkHmacKey(hmacKey);
  checkEfuseKey(efuseKey);
  const most = DS_MOST_BITS[chip];
  if (most === undefined)
    throw new HawserError("BAD_IMAGE", `${chip} has no digital signature peripheral for RSA`, `Use one of ${DS_CHIPS.join(", ")}.`);
  const bits = privateKey.asymmetricKeyType === "rsa" ? (privateKey.asymmetricKeyDetails?.modulusLength ?? 0) : 0;
  if (![1024, 2048, 3072, 4096].includes(bits) || bits > most)
    throw new HawserError("BAD_IMAGE_KEY", `${chip} signs with RSA keys of 1024 to ${most} bits, and this is another`, "Give such a key.");

  const { d = "", n = "" } = privateKey.export({ format: "jwk" });
  const [exponent, modulus] = [fromBase64Url(d), fromBase64Url(n)];
  const factor = (1n << BigInt(2 * bits)) % modulus;
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(Number((1n << 32n) - inverse(modulus & 0xffffffffn)));
  tail.writeUInt32LE(bits / 32 - 1, 4);
  const numbers = Buffer.concat([exponent, modulus, factor].map((number) => littleEndian(number, most / 8)));
  const digest = createHash("sha256").update(numbers).update(tail).update(iv).digest();
  const plain = Buffer.concat([numbers, digest, tail, Buffer.alloc(8, 8)]);
  const key = createHmac("sha256", hmacKey).update(Buffer.alloc(32, 0xff)).digest();
  const cipher = createCipheriv("aes-256-cbc", key, iv).setAutoPadding(false);
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
  for (const secret of [numbers, plain, key]) secret.fill(0);

  const length = Buffer.alloc(4);
  length.writeInt32LE(bits / 32 - 1);
  const context = Buffer.alloc(8);
  context[4] = efuseKey;
  context.writeUInt16LE(bits, 6);
  return [
    { type: TLV_TYPES["ds-data"], subtype, flags: 0, data: Buffer.concat([length, iv, encrypted]) },
    { type: TLV_TYPES["ds-context"], subtype, flags: 0, data: context },
  ];
}

const PBKDF2_ITERATIONS = 2048;
export const SALT_BYTES = 32;
/** Of P-256: a private key is below it. */
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/**
 * The P-256 key that a chip derives from the HMAC key in its eFuses (purpose HMAC_UP) and the salt in the partition.
 *
 * @throws HawserError `BAD_IMAGE_KEY` when this pair gives no key (one in 2^32): draw another salt
 */
export function deriveHmacEcdsaKey(hmacKey: Uint8Array, salt: Uint8Array): KeyObject {
  checkHmacKey(hmacKey);
  const scalar = pbkdf2Sync(hmacKey, salt, PBKDF2_ITERATIONS, 32, "sha256");
  const number = BigInt(`0x${scalar.toString("hex")}`);
  if (number === 0n || number >= P256_ORDER)
    throw new HawserError("BAD_IMAGE_KEY", "salt and HMAC key give no key on P-256", "Draw another salt.");
  const key = createPrivateKey({ key: Buffer.concat([SEC1_P256_PREFIX, scalar, SEC1_P256_SUFFIX]), format: "der", type: "sec1" });
  scalar.fill(0);
  // Its public point is computed here: OpenSSL leaves it out of a key that came without.
  createPublicKey(key);
  return key;
}

/** ECPrivateKey (RFC 5915): version 1, the scalar; [0] prime256v1. */
const SEC1_P256_PREFIX = Buffer.from("30310201010420", "hex");
const SEC1_P256_SUFFIX = Buffer.from("a00a06082a8648ce3d030107", "hex");

export function saltEntry(salt: Uint8Array, subtype = 0): TlvEntry {
  return { type: TLV_TYPES["ecdsa-salt"], subtype, flags: 0, data: salt };
}

function fromBase64Url(text: string): bigint {
  return BigInt(`0x${Buffer.from(text, "base64url").toString("hex") || "0"}`);
}

function littleEndian(number: bigint, sizeBytes: number): Buffer {
  return Buffer.from(number.toString(16).padStart(2 * sizeBytes, "0"), "hex").reverse();
}

/** Of an odd number, modulo 2^32: each step doubles the bits that are right. */
function inverse(odd: bigint): bigint {
  let value = odd;
  for (let step = 0; step < 5; step++) value = (value * (2n - odd * value)) & 0xffffffffn;
  return value & 0xffffffffn;
}
