/**
 * Certificates and requests of this world: the DER of X.509 and PKCS#10 with true subjects, serials, dates and public keys, and signatures
 * that only look like some. Who trusts whom is looked up in the {@link VirtualAuthority}'s books, as a broker would verify.
 */
import { hexEncode, utf8Decode } from "../../../sdk/encoding/text.js";
import { derivedBytes } from "../random.js";
import { bitString, commonName, element, elements, generalizedTime, integer, objectId, sequence, Tag } from "./der.js";

export interface CertificateFields {
  commonName: string;
  issuer: string;
  /** Big-endian, positive. */
  serial: Uint8Array;
  notBeforeMs: number;
  notAfterMs: number;
  /** DER SubjectPublicKeyInfo. */
  publicKey: Uint8Array;
}

/** 1.2.840.10045.4.3.2, ecdsa-with-SHA256 */
const signatureAlgorithm = (): Uint8Array => sequence(objectId(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2));

/** The SubjectPublicKeyInfo of a virtual key: shaped as P-256, different for each secret. */
export function publicKeyOf(secret: string): Uint8Array {
  const point = Uint8Array.of(4, ...derivedBytes(`public ${secret}`, 64));
  const algorithm = sequence(objectId(0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1), objectId(0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7));
  return sequence(algorithm, bitString(point));
}

/** A certificate as X.509 version 3 without extensions (RFC 5280 section 4.1). */
export function buildCertificate(fields: CertificateFields): Uint8Array {
  const version = element(Tag.context0, integer(Uint8Array.of(2)));
  const validity = sequence(generalizedTime(fields.notBeforeMs), generalizedTime(fields.notAfterMs));
  const tbs = sequence(
    version,
    integer(fields.serial),
    signatureAlgorithm(),
    commonName(fields.issuer),
    validity,
    commonName(fields.commonName),
    fields.publicKey,
  );
  return sequence(tbs, signatureAlgorithm(), bitString(derivedBytes(`issued by ${fields.issuer}`, 64)));
}

/** A PKCS#10 request (RFC 2986) for the key behind `secret`. */
export function buildRequest(subject: string, secret: string): Uint8Array {
  const info = sequence(integer(Uint8Array.of(0)), commonName(subject), publicKeyOf(secret), element(Tag.context0));
  return sequence(info, signatureAlgorithm(), bitString(derivedBytes(`requested with ${secret}`, 64)));
}

/** What stands for a signature: anybody could make it, but nobody in this world does without the key. */
export function signatureOf(publicKey: Uint8Array, data: Uint8Array): Uint8Array {
  return derivedBytes(`signature ${hexEncode(publicKey)} ${hexEncode(data)}`, 64);
}

/** What stands for an HMAC. */
export function macOf(key: Uint8Array, data: Uint8Array): Uint8Array {
  return derivedBytes(`mac ${hexEncode(key)} ${hexEncode(data)}`, 32);
}

/** Subject and public key of a request; undefined when it is none. */
export function readRequest(der: Uint8Array): { commonName: string; publicKey: Uint8Array } | undefined {
  const request = elements(der);
  const parts = request?.length === 1 && request[0] ? elements(request[0].content) : undefined;
  const info = parts?.[0] ? elements(parts[0].content) : undefined;
  const subject = info?.[1];
  const publicKey = info?.[2];
  if (parts?.length !== 3 || !subject || !publicKey) return undefined;
  const pair = elements(elements(subject.content)?.[0]?.content ?? new Uint8Array())?.[0];
  const value = pair && elements(pair.content)?.[1];
  return value && { commonName: utf8Decode(value.content), publicKey: publicKey.whole };
}
