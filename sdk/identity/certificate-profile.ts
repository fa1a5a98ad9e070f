/**
 * What the TLS engines take of a certificate, the same on every engine: the strictest of them, Mbed TLS on a chip, decides.
 * `firmware/native/tls-verify.c` and `sim/node/server-judgement.ts` hold servers to it; identities are held to it when they are installed.
 */
import { HawserError } from "../errors.js";
import { hexEncode } from "../encoding/text.js";
import { certificateParts, derElement, type DerElement } from "./certificate.js";

export interface CertificateExtension {
  critical: boolean;
  /** The DER within, a view. */
  value: Uint8Array;
}

export interface CertificateProfile {
  /** Why no certificate of a chain may be like this one; undefined when it may. */
  problem: string | undefined;
  /** Whether it is signed with RSA or ECDSA and SHA-256, SHA-384 or SHA-512; a trust anchor need not be, as nobody checks its signature. */
  isSignedStrongly: boolean;
  /** By their object identifier, the bytes of its DER in hex. */
  extensions: ReadonlyMap<string, CertificateExtension>;
}

export const BASIC_CONSTRAINTS = "551d13";
export const KEY_USAGE = "551d0f";
export const EXTENDED_KEY_USAGE = "551d25";
export const SUBJECT_ALT_NAME = "551d11";
const NAME_CONSTRAINTS = "551d1e";
/** Those that every engine understands, and key identifiers, which nobody may mark critical. */
const UNDERSTOOD = [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SUBJECT_ALT_NAME, "551d0e", "551d23"];

const OBJECT_ID = 0x06;
const BOOLEAN = 0x01;
const BIT_STRING = 0x03;
const SEQUENCE = 0x30;
const EXPLICIT_EXTENSIONS = 0xa3;
/** P-256 (1.2.840.10045.3.1.7) and P-384 (1.3.132.0.34) as RFC 5480 names them in SubjectPublicKeyInfo. */
const CURVES = ["2a8648ce3d030107", "2b81040022"];
const EC_KEY = "2a8648ce3d0201";
const RSA_KEY = "2a864886f70d010101";
const RSA_BITS_MIN = 2_048;
const RSA_BITS_MAX = 4_096;
/**
 * Those, and ecdsa-with-SHA1, sha1WithRSAEncryption, sha224WithRSAEncryption and ecdsa-with-SHA224: nothing is verified by them, but roots
 * have them.
 */
const READABLE_SIGNATURE = /^(2a8648ce3d040(1|30[1-4])|2a864886f70d0101(05|0[a-e]))$/;
/** ecdsa-with-SHA256..512; RSASSA-PSS; sha256..512WithRSAEncryption. */
const STRONG_SIGNATURE = /^(2a8648ce3d04030[234]|2a864886f70d01010[abcd])$/;

/**
 * Reads what decides whether a DER certificate can be used.
 * @throws HawserError `BAD_CERTIFICATE`
 */
export function certificateProfile(der: Uint8Array): CertificateProfile {
  const { signatureAlgorithm, publicKey, rest } = certificateParts(der);
  const text = (value: DerElement): string => hexEncode(der.subarray(value.start, value.end));
  const signature = text(derElement(der, signatureAlgorithm.start, signatureAlgorithm.end, OBJECT_ID));
  const extensions = new Map<string, CertificateExtension>();
  for (let at = rest.start; at < rest.end;) {
    const found = derElement(der, at, rest.end);
    at = found.end;
    if (found.tag !== EXPLICIT_EXTENSIONS) continue;
    const list = derElement(der, found.start, found.end, SEQUENCE);
    for (let next = list.start; next < list.end;) {
      const one = derElement(der, next, list.end, SEQUENCE);
      next = one.end;
      const id = derElement(der, one.start, one.end, OBJECT_ID);
      let value = derElement(der, id.end, one.end);
      const critical = value.tag === BOOLEAN && der[value.start] !== 0;
      if (value.tag === BOOLEAN) value = derElement(der, value.end, one.end);
      extensions.set(text(id), { critical, value: der.subarray(value.start, value.end) });
    }
  }
  const signatureProblem = READABLE_SIGNATURE.test(signature) ? undefined : "is signed in a way that devices cannot read";
  return {
    problem: keyProblem(der, publicKey) ?? extensionProblem(extensions) ?? signatureProblem,
    isSignedStrongly: STRONG_SIGNATURE.test(signature),
    extensions,
  };
}

/**
 * Checks that every engine can read and use a certificate of an identity.
 * @param what names it in the error
 * @throws HawserError `UNSUPPORTED_CERTIFICATE`, `BAD_CERTIFICATE` (damaged)
 */
export function checkUsable(der: Uint8Array, what: string): void {
  // "-----BEGIN"
  const problem = der[0] === 0x2d ? "is PEM text, not DER" : certificateProfile(der).problem;
  if (problem === undefined) return;
  throw new HawserError(
    "UNSUPPORTED_CERTIFICATE",
    `${what} ${problem}`,
    "Give DER with keys of P-256, P-384 or RSA of 2048 to 4096 bits, without name constraints.",
  );
}

function keyProblem(der: Uint8Array, key: DerElement): string | undefined {
  const algorithm = derElement(der, key.start, key.end, SEQUENCE);
  const id = derElement(der, algorithm.start, algorithm.end, OBJECT_ID);
  const name = hexEncode(der.subarray(id.start, id.end));
  if (name === EC_KEY) {
    const curve = derElement(der, id.end, algorithm.end);
    return CURVES.includes(hexEncode(der.subarray(curve.start, curve.end))) ? undefined : "has a key on a curve other than P-256 and P-384";
  }
  if (name !== RSA_KEY) return "has a key that is neither RSA nor on P-256 or P-384";
  const bits = derElement(der, algorithm.end, key.end, BIT_STRING);
  const pair = derElement(der, bits.start + 1, bits.end, SEQUENCE);
  const modulus = derElement(der, pair.start, pair.end);
  const start = modulus.start + (der[modulus.start] === 0 ? 1 : 0);
  const size = (modulus.end - start) * 8 - Math.clz32(der[start] ?? 0) + 24;
  return size >= RSA_BITS_MIN && size <= RSA_BITS_MAX ? undefined : `has an RSA key of ${size} bits, not of 2048 to 4096`;
}

function extensionProblem(extensions: ReadonlyMap<string, CertificateExtension>): string | undefined {
  for (const [id, { critical }] of extensions) {
    if (id === NAME_CONSTRAINTS) return "has name constraints, which devices cannot check";
    if (critical && !UNDERSTOOD.includes(id)) return "has a critical extension that devices do not understand";
  }
  return undefined;
}
