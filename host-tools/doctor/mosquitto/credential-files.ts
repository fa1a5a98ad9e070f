/** Password and PSK files, and whether what is in them can be guessed from the few passwords that everybody tries. */
import { createHash, pbkdf2Sync, timingSafeEqual } from "node:crypto";
import type { Place } from "../finding.js";

export interface PasswordEntry {
  readonly user: string;
  readonly place: Place;
  /** Why mosquitto does not accept it. */
  readonly problem?: string;
  /** The password, when it is one of the well-known ones. */
  readonly guessed?: string;
}

/** Bounds the work on files with many thousands of users: each guess costs a few milliseconds at most. */
const GUESSED_USERS = 200;

/** What a scanner tries first, beside the user's own name. */
export const WELL_KNOWN_PASSWORDS = [
  "admin",
  "password",
  "mosquitto",
  "mqtt",
  "public",
  "guest",
  "123456",
  "12345678",
  "changeme",
  "secret",
  "test",
  "root",
] as const;

export function parsePasswords(file: string, text: string): PasswordEntry[] {
  const entries: PasswordEntry[] = [];
  text.split("\n").forEach((raw, index) => {
    if (raw.startsWith("#") || !raw.includes(":")) return;
    const colon = raw.indexOf(":");
    const user = raw.slice(0, colon).trim();
    const hash = (raw.slice(colon + 1).split(":")[0] ?? "").trim();
    // The line holds a secret: only the name is shown.
    const place: Place = { file, line: index + 1, text: `${user}:...` };
    const problem = hashProblem(hash);
    const guessed = problem === undefined && entries.length < GUESSED_USERS ? guess(user, hash) : undefined;
    entries.push({ user, place, ...(problem === undefined ? {} : { problem }), ...(guessed === undefined ? {} : { guessed }) });
  });
  return entries;
}

function hashProblem(hash: string): string | undefined {
  if (hash === "") return "has no password";
  if (!hash.startsWith("$")) return "has a password that is not hashed";
  const [, kind, ...rest] = hash.split("$");
  const isWhole = (kind === "6" && rest.length === 2) || ((kind === "7" || kind === "argon2id") && rest.length >= 3);
  return isWhole ? undefined : "has a hash that mosquitto does not know";
}

function guess(user: string, hash: string): string | undefined {
  return [user, "", ...WELL_KNOWN_PASSWORDS].find((password) => matchesHash(hash, password));
}

function matchesHash(hash: string, password: string): boolean {
  const [, kind, ...rest] = hash.split("$");
  if (kind === "6") {
    const [salt = "", wanted = ""] = rest;
    return isSame(createHash("sha512").update(password).update(Buffer.from(salt, "base64")).digest(), wanted);
  }
  if (kind !== "7") return false;
  const [rounds = "", salt = "", wanted = ""] = rest;
  return matchesPbkdf2(password, salt, Number.parseInt(rounds, 10), wanted);
}

/** mosquitto's and its dynamic security plugin's hash: PBKDF2 with SHA-512, 64 bytes, all in base64. */
export function matchesPbkdf2(password: string, salt: string, rounds: number, wanted: string): boolean {
  if (!(rounds >= 1 && rounds <= 20_000)) return false;
  return isSame(pbkdf2Sync(password, Buffer.from(salt, "base64"), rounds, 64, "sha512"), wanted);
}

function isSame(computed: Buffer, wanted: string): boolean {
  const bytes = Buffer.from(wanted, "base64");
  return bytes.length === computed.length && timingSafeEqual(bytes, computed);
}

export interface PskEntry {
  readonly identity: string;
  readonly place: Place;
  /** Why the broker does not start with it. */
  readonly error?: string;
  /** Why it can be guessed. */
  readonly weakness?: string;
}

export function parsePsks(file: string, text: string): PskEntry[] {
  const holders = new Map<string, string>();
  const entries: PskEntry[] = [];
  text.split("\n").forEach((raw, index) => {
    if (raw.startsWith("#") || !raw.includes(":")) return;
    const colon = raw.indexOf(":");
    const identity = raw.slice(0, colon).trim();
    const key = (raw.slice(colon + 1).split(":")[0] ?? "").trim();
    const place: Place = { file, line: index + 1, text: `${identity}:...` };
    if (!/^[0-9a-fA-F]+$/.test(key)) {
      const what = key === "" ? "has no key" : "has a key with characters that are not hexadecimal";
      entries.push({ identity, place, error: `${identity} ${what}` });
      return;
    }
    const other = holders.get(key.toLowerCase());
    holders.set(key.toLowerCase(), identity);
    // Hawser's devices have one key under two identities: their name, and that of their recovery session.
    const isOneDevice = other !== undefined && other.replace(/~recovery$/, "") === identity.replace(/~recovery$/, "");
    const weakness = pskWeakness(key, isOneDevice ? undefined : other);
    entries.push({ identity, place, ...(weakness === undefined ? {} : { weakness }) });
  });
  return entries;
}

function pskWeakness(key: string, other: string | undefined): string | undefined {
  if (other !== undefined) return `is the key of ${other} too`;
  if (key.length < 16) return `has only ${key.length * 4} bits`;
  if (
    /^(.{1,4})\1+$/.test(key) ||
    "0123456789abcdef0123456789abcdef".startsWith(key.toLowerCase()) ||
    /^00112233445566778899aabbccddeeff/i.test(key)
  )
    return "is a sequence anybody tries";
  return undefined;
}
