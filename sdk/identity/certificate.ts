/**
 * What a device must read of an X.509 certificate: its subject, serial and lifetime. Nothing is verified here; that is TLS's work.
 * Reads DER (X.690) with every length checked against what is there.
 */
import { HawserError } from "../errors.js";
import { hexEncode, utf8Decode } from "../encoding/text.js";

export interface CertificateInfo {
  /** Lower-case hex without leading zeros, as OpenSSL and the registry write it (lower-cased). */
  serial: string;
  /** The subject's common name; "" when there is none. */
  commonName: string;
  /** Milliseconds since the Unix epoch. */
  notBeforeMs: number;
  notAfterMs: number;
  /** DER SubjectPublicKeyInfo, a view into the certificate. */
  publicKey: Uint8Array;
}

/** One element of DER: where its content begins and ends. */
export interface DerElement {
  tag: number;
  start: number;
  end: number;
}

interface CertificateParts {
  serial: DerElement;
  signatureAlgorithm: DerElement;
  issuer: DerElement;
  validity: DerElement;
  subject: DerElement;
  publicKey: DerElement;
  /** Where the whole of `publicKey` begins. */
  publicKeyStart: number;
  /** What follows the public key: extensions, if any. */
  rest: Omit<DerElement, "tag">;
}

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const OBJECT_ID = 0x06;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const EXPLICIT_VERSION = 0xa0;
/** 2.5.4.3 */
const COMMON_NAME = "550403";
/** No certificate of a device is near this; it bounds the work on bad input. */
const MAX_CERTIFICATE_BYTES = 16_384;

/**
 * Reads a DER certificate.
 * @throws HawserError `BAD_CERTIFICATE`
 */
export function readCertificate(der: Uint8Array): CertificateInfo {
  const { serial, validity, subject, publicKeyStart, publicKey: key } = certificateParts(der);
  const publicKey = der.subarray(publicKeyStart, key.end);
  const notBefore = derElement(der, validity.start, validity.end);
  const notAfter = derElement(der, notBefore.end, validity.end);
  const [notBeforeMs, notAfterMs] = [derTime(der, notBefore), derTime(der, notAfter)];
  // Its beginning is taken for a time that has passed: a damaged one would put a device into the far future.
  if (notBeforeMs > notAfterMs) throw bad("ends before it begins");
  return {
    serial: hexEncode(der.subarray(serial.start, serial.end)).replace(/^0+(?=.)/, ""),
    commonName: commonName(der, subject),
    notBeforeMs,
    notAfterMs,
    publicKey,
  };
}

/**
 * Finds the parts of a DER certificate (RFC 5280 section 4.1).
 * @throws HawserError `BAD_CERTIFICATE`
 */
export function certificateParts(der: Uint8Array): CertificateParts {
  if (der.length > MAX_CERTIFICATE_BYTES) throw bad("is too large");
  const certificate = derElement(der, 0, der.length, SEQUENCE);
  if (certificate.end !== der.length) throw bad("has bytes after its end");
  const tbs = derElement(der, certificate.start, certificate.end, SEQUENCE);
  let at = tbs.start;
  const take = (tag?: number): DerElement => {
    const found = derElement(der, at, tbs.end, tag);
    at = found.end;
    return found;
  };
  if (der[at] === EXPLICIT_VERSION) take();
  const serial = take(INTEGER);
  const signatureAlgorithm = take(SEQUENCE);
  const issuer = take(SEQUENCE);
  const validity = take(SEQUENCE);
  const subject = take(SEQUENCE);
  const publicKeyStart = at;
  const publicKey = take(SEQUENCE);
  return { serial, signatureAlgorithm, issuer, validity, subject, publicKey, publicKeyStart, rest: { start: at, end: tbs.end } };
}

/**
 * The element at `at`, which must end by `limit`.
 * @throws HawserError `BAD_CERTIFICATE`
 */
export function derElement(der: Uint8Array, at: number, limit: number, tag?: number): DerElement {
  const found = der[at];
  let length = der[at + 1];
  if (found === undefined || length === undefined || at + 2 > limit) throw bad("ends too soon");
  if (tag !== undefined && found !== tag) throw bad(`has an unexpected element at byte ${at}`);
  let start = at + 2;
  if (length >= 0x80) {
    const count = length & 0x7f;
    if (count < 1 || count > 4 || start + count > limit) throw bad("has an impossible length");
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (der[start + i] ?? 0);
    start += count;
  }
  if (start + length > limit) throw bad("ends too soon");
  return { tag: found, start, end: start + length };
}

function commonName(der: Uint8Array, name: DerElement): string {
  for (let at = name.start; at < name.end;) {
    const set = derElement(der, at, name.end, SET);
    at = set.end;
    const pair = derElement(der, set.start, set.end, SEQUENCE);
    const type = derElement(der, pair.start, pair.end, OBJECT_ID);
    const value = derElement(der, type.end, pair.end);
    if (hexEncode(der.subarray(type.start, type.end)) === COMMON_NAME) return utf8Decode(der.subarray(value.start, value.end));
  }
  return "";
}

/**
 * RFC 5280 section 4.1.2.5: UTCTime YYMMDDHHMMSSZ (50..99 is 19xx), GeneralizedTime YYYYMMDDHHMMSSZ; milliseconds since the Unix epoch.
 * @throws HawserError `BAD_CERTIFICATE`
 */
export function derTime(der: Uint8Array, value: DerElement): number {
  const text = String.fromCharCode(...der.subarray(value.start, Math.min(value.end, value.start + 20)));
  const match = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  const yearText = match?.[1] ?? "";
  if (!match || (value.tag === UTC_TIME ? 2 : value.tag === GENERALIZED_TIME ? 4 : 0) !== yearText.length)
    throw bad("has an unreadable date");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const fullYear = yearText.length === 4 ? year : year >= 50 ? 1900 + year : 2000 + year;
  return Date.UTC(fullYear, month - 1, day, hour, minute, second);
}

function bad(what: string): HawserError {
  return new HawserError("BAD_CERTIFICATE", `the certificate ${what}`, "Issue a new certificate.");
}
