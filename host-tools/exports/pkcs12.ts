/**
 * PKCS#12 (RFC 7292) for gateways and tools that take a key and its chain as one file: the key encrypted by PBES2 (PBKDF2, AES-256-CBC),
 * all of it under a MAC with SHA-256. What
 * OpenSSL 1.1 and 3, Java and Windows Server 2019 read.
 */
import { createHash, createHmac, randomBytes, X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { derOf } from "../../sim/node/der-writer.js";

export interface Pkcs12Request {
  /** DER, the key's own first. */
  readonly certificates: readonly Uint8Array[];
  readonly privateKey: KeyObject;
  readonly passphrase: string;
  readonly friendlyName: string;
}

const OID = {
  data: "1.2.840.113549.1.7.1",
  keyBag: "1.2.840.113549.1.12.10.1.2",
  certBag: "1.2.840.113549.1.12.10.1.3",
  x509: "1.2.840.113549.1.9.22.1",
  localKeyId: "1.2.840.113549.1.9.21",
  friendlyName: "1.2.840.113549.1.9.20",
  sha256: "2.16.840.1.101.3.4.2.1",
} as const;
const MAC_ITERATIONS = 10_000;
const LEAST_PASSPHRASE = 8;

/** @throws HawserError `BAD_EXPORT`: a passphrase that is too short, a key that does not belong to the first certificate */
export function writePkcs12({ certificates, privateKey, passphrase, friendlyName }: Pkcs12Request): Buffer {
  if (passphrase.length < LEAST_PASSPHRASE)
    throw new HawserError(
      "BAD_EXPORT",
      `the passphrase of a PKCS#12 file has fewer than ${LEAST_PASSPHRASE} characters`,
      "Give a longer one.",
    );
  const [leaf] = certificates;
  if (leaf === undefined || !new X509Certificate(leaf).checkPrivateKey(privateKey))
    throw new HawserError("BAD_EXPORT", "the key does not belong to the certificate", "Export the credentials it belongs to.");
  const keyId = createHash("sha256").update(leaf).digest().subarray(0, 20);
  const attributes = set(
    sequence(oid(OID.friendlyName), set(derOf(0x1e, Buffer.from(friendlyName, "utf16le").swap16()))),
    sequence(oid(OID.localKeyId), set(octets(keyId))),
  );
  const encryptedKey = privateKey.export({ type: "pkcs8", format: "der", cipher: "aes-256-cbc", passphrase });
  const keyBag = sequence(oid(OID.keyBag), explicit(encryptedKey), attributes);
  const bags = certificates.map((der, index) =>
    sequence(oid(OID.certBag), explicit(sequence(oid(OID.x509), explicit(octets(der)))), ...(index === 0 ? [attributes] : [])),
  );
  const content = sequence(dataInfo(sequence(...bags)), dataInfo(sequence(keyBag)));
  const salt = randomBytes(16);
  const mac = createHmac("sha256", deriveMacKey(passphrase, salt)).update(content).digest();
  const digest = sequence(sequence(oid(OID.sha256), derOf(0x05, Buffer.alloc(0))), octets(mac));
  return sequence(integer(3), dataInfo(content), sequence(digest, octets(salt), integer(MAC_ITERATIONS)));
}

/** RFC 7292, appendix B.2, with SHA-256 (u = 32, v = 64) and purpose 3: one block is all of a key. */
function deriveMacKey(passphrase: string, salt: Buffer): Buffer {
  const fill = (bytes: Buffer): Buffer => Buffer.alloc(64 * Math.ceil(bytes.length / 64), bytes);
  const password = Buffer.from(`${passphrase}\0`, "utf16le").swap16();
  let value = Buffer.concat([Buffer.alloc(64, 3), fill(salt), fill(password)]);
  for (let round = 0; round < MAC_ITERATIONS; round++) value = createHash("sha256").update(value).digest();
  return value;
}

function dataInfo(content: Buffer): Buffer {
  return sequence(oid(OID.data), explicit(octets(content)));
}

const sequence = (...parts: Uint8Array[]): Buffer => derOf(0x30, ...parts);
/** DER sorts the elements of a SET. */
const set = (...parts: Buffer[]): Buffer => derOf(0x31, Buffer.concat([...parts].sort((a, b) => Buffer.compare(a, b))));
const octets = (bytes: Uint8Array): Buffer => derOf(0x04, bytes);
const explicit = (content: Uint8Array): Buffer => derOf(0xa0, content);

function integer(value: number): Buffer {
  const bytes = value < 0x80 ? [value] : value < 0x8000 ? [value >> 8, value & 0xff] : [0, value >> 8, value & 0xff];
  return derOf(0x02, Buffer.from(bytes));
}

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = rest.flatMap((part) => {
    const digits = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) digits.unshift(0x80 | (left & 0x7f));
    return digits;
  });
  return derOf(0x06, Buffer.from([40 * first + second, ...bytes]));
}
