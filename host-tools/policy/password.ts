/** Passwords as mosquitto keeps them: `$7$iterations$salt$hash`, PBKDF2 with SHA-512 (mosquitto 2.0, lib/password_mosq.c). */
import { pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";

/** mosquitto_passwd's own number; a made password has 192 bits, so that guessing is hopeless at any. */
const ITERATIONS = 101;
const HASH_BYTES = 64;
const SALT_BYTES = 12;
const MAX_ITERATIONS = 1_000_000;

/** A new random password: 32 characters, 192 bits. */
export function newPassword(): string {
  return randomBytes(24).toString("base64url");
}

export function hashPassword(password: string, salt: Uint8Array = randomBytes(SALT_BYTES), iterations = ITERATIONS): string {
  const hash = pbkdf2Sync(password, salt, iterations, HASH_BYTES, "sha512");
  return `$7$${iterations}$${Buffer.from(salt).toString("base64")}$${hash.toString("base64")}`;
}

/** False for a hash in another form too. */
export function verifyPassword(password: string, stored: string): boolean {
  const [, kind, iterationsText, salt, expectedText] = stored.split("$");
  const iterations = Number(iterationsText);
  if (kind !== "7" || salt === undefined || expectedText === undefined || !(iterations >= 1 && iterations <= MAX_ITERATIONS)) return false;
  const expected = Buffer.from(expectedText, "base64");
  if (expected.length !== HASH_BYTES) return false;
  return timingSafeEqual(pbkdf2Sync(password, Buffer.from(salt, "base64"), iterations, HASH_BYTES, "sha512"), expected);
}
