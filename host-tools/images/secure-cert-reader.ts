/** Reads an `esp_secure_cert` partition and says where it is damaged. */
import { createHash, X509Certificate } from "node:crypto";
import { locateWrongByte } from "./locate-damage.js";
import { espCrc32, hexOffset } from "./nvs-format.js";
import type { ImageProblem } from "./nvs-reader.js";
import { TLV_CRC_BYTES, TLV_END_MARKER, TLV_HEADER_BYTES, TLV_MAGIC, TLV_TYPES, tlvSize, typeName } from "./secure-cert-format.js";
import type { TlvEntry } from "./secure-cert-format.js";
import { readPrivateKey } from "./secure-cert-keys.js";

export interface PlacedTlv extends TlvEntry {
  readonly offset: number;
}

export interface SecureCertContents {
  readonly entries: readonly PlacedTlv[];
  readonly problems: readonly ImageProblem[];
}

export function isSecureCert(image: Uint8Array): boolean {
  return image.length >= 4 && Buffer.from(image).readUInt32LE(0) === TLV_MAGIC;
}

/** Never throws: what is wrong is among the problems. */
export function readSecureCert(image: Uint8Array): SecureCertContents {
  const bytes = Buffer.from(image);
  const entries: PlacedTlv[] = [];
  const problems: ImageProblem[] = [];
  const report = (offset: number, problem: string): void => void problems.push({ offset, problem });
  let at = 0;
  while (at + TLV_HEADER_BYTES + TLV_CRC_BYTES <= bytes.length && bytes.readUInt32LE(at) === TLV_MAGIC) {
    const length = bytes.readUInt16LE(at + 10);
    const size = tlvSize(length);
    if (at + size > bytes.length) {
      report(at + 10, `the entry at ${hexOffset(at)} claims ${length} bytes and goes past the end of the image`);
      return { entries, problems };
    }
    const entry = {
      type: bytes[at + 8] ?? 0,
      subtype: bytes[at + 9] ?? 0,
      flags: bytes[at + 4] ?? 0,
      data: Buffer.from(bytes.subarray(at + TLV_HEADER_BYTES, at + TLV_HEADER_BYTES + length)),
      offset: at,
    };
    const end = at + size - TLV_CRC_BYTES;
    const difference = (bytes.readUInt32LE(end) ^ espCrc32(bytes.subarray(at, end))) >>> 0;
    if (difference !== 0) report(...placeOf(at, end - at, difference, entry));
    else checkEntry(bytes, entry, entries, report);
    entries.push(entry);
    at += size;
  }
  if (entries.length === 0) report(0, "the first entry does not begin with the magic number 11 ba 5e ba");
  else checkRest(bytes, at, report);
  checkPair(entries, report);
  return { entries, problems: problems.sort((a, b) => a.offset - b.offset) };
}

function placeOf(at: number, sizeBytes: number, difference: number, { type, subtype }: PlacedTlv): [number, string] {
  const wrong = locateWrongByte(difference, sizeBytes);
  const name = `the entry ${typeName(type)} (subtype ${subtype}) at ${hexOffset(at)} does not match its CRC`;
  return wrong === undefined
    ? [at, `${name}: several of its bytes, or the CRC, are wrong`]
    : [at + wrong.index, `${name}: this byte is wrong`];
}

type Report = (offset: number, problem: string) => void;

function checkEntry(bytes: Buffer, entry: PlacedTlv, before: readonly PlacedTlv[], report: Report): void {
  const { type, subtype, data, offset } = entry;
  if (before.some((other) => other.type === type && other.subtype === subtype))
    report(offset + 8, `a second entry ${typeName(type)} (subtype ${subtype})`);
  const sum = createHash("sha256").update(bytes.subarray(0, offset)).digest();
  if (type === TLV_TYPES.integrity && !sum.equals(data))
    report(offset + TLV_HEADER_BYTES, "the SHA-256 of the entries before is another: one of them was changed, added or removed");
}

/** After the last entry flash is erased, or an end marker stands there. */
function checkRest(bytes: Buffer, from: number, report: Report): void {
  const start = bytes.length >= from + 4 && bytes.readUInt32LE(from) === TLV_END_MARKER ? from + 4 : from;
  const dirty = bytes.subarray(start).findIndex((byte) => byte !== 0xff);
  if (dirty >= 0)
    report(
      start + dirty,
      `after the last entry, which ends at ${hexOffset(from)}, this byte is not erased: a device reads nothing from there on`,
    );
}

/** A certificate that belongs to another key is the most expensive of all mistakes. */
function checkPair(entries: readonly PlacedTlv[], report: Report): void {
  for (const key of entries.filter(({ type, flags, data }) => type === TLV_TYPES["private-key"] && flags === 0 && data.length > 0)) {
    const certificate = entries.find(({ type, subtype }) => type === TLV_TYPES["device-certificate"] && subtype === key.subtype);
    try {
      if (certificate && !new X509Certificate(certificate.data).checkPrivateKey(readPrivateKey(withoutNul(key.data))))
        report(key.offset, "the private key does not belong to the device certificate");
    } catch {
      report(key.offset, "the private key or the device certificate cannot be read");
    }
  }
}

/** PEM is stored with a NUL at its end. */
export function withoutNul(data: Uint8Array): Uint8Array {
  return data.at(-1) === 0 && Buffer.from(data).includes("-----BEGIN") ? data.subarray(0, -1) : data;
}
