/**
 * Builds an `esp_secure_cert` partition, byte for byte as Espressif's tool does. The image ends with its last entry; what follows in flash
 * has to be erased.
 */
import { createHash, X509Certificate } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import { encodeTlv, SECURE_CERT_BYTES, TLV_FLAGS, TLV_TYPES, tlvSize, typeName } from "./secure-cert-format.js";
import type { TlvEntry } from "./secure-cert-format.js";

export interface SecureCertRequest {
  readonly entries: readonly TlvEntry[];
  /** Adds, as the last entry, the SHA-256 of all before it. */
  readonly integrity?: boolean;
  /** Of the partition. */
  readonly sizeBytes?: number;
}

/**
 * @throws HawserError `BAD_IMAGE` (a type or subtype out of range, or twice the same), `IMAGE_FULL`
 */
export function buildSecureCert({ entries, integrity = true, sizeBytes = SECURE_CERT_BYTES }: SecureCertRequest): Buffer {
  if (entries.length === 0)
    throw new HawserError("BAD_IMAGE", "an esp_secure_cert partition without entries", "Give at least a device certificate.");
  const seen = new Set<string>();
  const parts: Buffer[] = [];
  let used = 0;
  const add = (entry: TlvEntry): void => {
    check(entry, seen);
    used += tlvSize(entry.data.length);
    if (used > sizeBytes)
      throw new HawserError(
        "IMAGE_FULL",
        `the entries up to the ${typeName(entry.type)} take ${used} bytes, and the partition has ${sizeBytes}`,
        "Leave something out, or shorten a chain.",
      );
    parts.push(encodeTlv(entry));
  };
  for (const entry of entries) add(entry);
  if (integrity) add({ type: TLV_TYPES.integrity, subtype: 0, flags: 0, data: createHash("sha256").update(Buffer.concat(parts)).digest() });
  return Buffer.concat(parts);
}

function check({ type, subtype, flags, data }: TlvEntry, seen: Set<string>): void {
  const name = `${typeName(type)} (subtype ${subtype})`;
  const bad = (problem: string, next: string): HawserError => new HawserError("BAD_IMAGE", `the entry ${name}: ${problem}`, next);
  if (!isByte(type) || !isByte(flags)) throw bad("type and flags are single bytes", "Use 0 to 255.");
  if (!isByte(subtype) || subtype > 254) throw bad("there is no such subtype", "Use 0 to 254.");
  if (data.length > 0xffff) throw bad(`it has ${data.length} bytes`, "Use at most 65535.");
  if (seen.has(name)) throw bad("it is there twice", "Give each entry of a type another subtype.");
  seen.add(name);
}

function isByte(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 255;
}

/**
 * An entry for one certificate or a chain: PEM as it is stored (64 columns, one NUL at its end), or DER.
 *
 * @param source PEM with one certificate or more, or DER of one. Espressif's tool drops all but the first; a device that has to show its
 *   issuing CA needs them.
 * @throws HawserError `BAD_CERTIFICATE`
 */
export function certificateEntry(kind: "ca-certificate" | "device-certificate", source: Uint8Array, subtype = 0): TlvEntry {
  return { type: TLV_TYPES[kind], subtype, flags: 0, data: certificateBytes(source) };
}

function certificateBytes(source: Uint8Array): Buffer {
  const text = Buffer.from(source).toString("latin1");
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  try {
    if (blocks === null) return Buffer.from(new X509Certificate(source).raw);
    // As OpenSSL writes them, whatever the line breaks were.
    return Buffer.from(`${blocks.map((block) => new X509Certificate(block).toString()).join("")}\0`, "latin1");
  } catch {
    throw new HawserError("BAD_CERTIFICATE", "the certificate is neither PEM nor DER", "Give an X.509 certificate.");
  }
}

/** The entry of a key that the ECDSA peripheral holds, or that is derived on the chip: it names where the key is, and has none. */
export function keyMarkerEntry(kind: "ecdsa-peripheral" | "hmac-derived-ecdsa", subtype = 0): TlvEntry {
  return { type: TLV_TYPES["private-key"], subtype, flags: TLV_FLAGS[kind], data: new Uint8Array() };
}

/**
 * Where the policy has the device's topics: JSON, for the firmware to read (Espressif leaves this type to users). None for one whose topics
 * are below `devices/ID`, where it would be without being told.
 */
export function topicsEntries(id: string, topics: DeviceTopics | undefined): TlvEntry[] {
  if (topics === undefined || (topics.base === `devices/${id}` && topics.identity === `devices/${id}/identity`)) return [];
  return [{ type: TLV_TYPES["user-1"], subtype: 0, flags: 0, data: Buffer.from(JSON.stringify({ v: 1, ...topics })) }];
}

/** Which eFuse block has the key of the ECDSA peripheral: its number (0 to 5), as tools name it. */
export function securityConfigEntry(efuseKey: number, subtype = 0): TlvEntry {
  const data = Buffer.alloc(40);
  data[0] = checkEfuseKey(efuseKey) + 4;
  return { type: TLV_TYPES["security-config"], subtype, flags: 0, data };
}

/** @throws HawserError `BAD_IMAGE` */
export function checkEfuseKey(efuseKey: number): number {
  if (Number.isInteger(efuseKey) && efuseKey >= 0 && efuseKey <= 5) return efuseKey;
  throw new HawserError("BAD_IMAGE", `there is no eFuse key block ${efuseKey}`, "Use 0 to 5.");
}
