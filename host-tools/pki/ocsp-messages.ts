/** Questions and answers of OCSP (RFC 6960): the forms, and nothing about who answers. */
import { createHash, sign, type KeyObject } from "node:crypto";
import { derElement, type DerElement } from "../../sdk/identity/certificate.js";
import { derHex, derKeyBits, derSubject } from "../../sim/node/der-reader.js";
import { derGeneralizedTimeOf, derOf } from "../../sim/node/der-writer.js";
import { plainSerial } from "../../sim/node/revocation-list.js";
import { publicKeyOf } from "./crl-distribution-points.js";

/** Which certificate is asked about (section 4.1.1). */
export interface CertificateId {
  /** As the question has it; the answer repeats it byte for byte. */
  readonly der: Uint8Array;
  readonly hash: "sha1" | "sha256";
  /** Hashes of the issuer's name and of its public key, hex. */
  readonly issuerName: string;
  readonly issuerKey: string;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
}

export interface OcspRequest {
  readonly ids: readonly CertificateId[];
  /** The extension with the client's nonce (RFC 9654), DER; undefined where it sent none. */
  readonly nonce?: Uint8Array;
}

export type CertificateStatus =
  | { readonly kind: "good" }
  | { readonly kind: "unknown" }
  | { readonly kind: "revoked"; readonly revokedAtMs: number; readonly reasonCode: number };

export interface OcspAnswer {
  readonly statuses: readonly { readonly id: CertificateId; readonly status: CertificateStatus }[];
  readonly nonce?: Uint8Array;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/** Who signs answers: a certificate for that purpose, of the CA that is asked about. */
export interface OcspSigner {
  /** DER */
  readonly certificate: Uint8Array;
  readonly key: KeyObject;
}

const [INTEGER, BIT_STRING, OCTET_STRING, OBJECT_ID, ENUMERATED, SEQUENCE] = [0x02, 0x03, 0x04, 0x06, 0x0a, 0x30, 0x18];
const [TAG_0, TAG_1, TAG_2] = [0xa0, 0xa1, 0xa2];
/** Object identifiers, their content in hex: SHA-1, SHA-256, id-pkix-ocsp-nonce. */
const HASHES: Readonly<Record<string, CertificateId["hash"]>> = { "2b0e03021a": "sha1", "608648016503040201": "sha256" };
const NONCE = "2b0601050507300102";
/** id-pkix-ocsp-basic and ecdsa-with-SHA256, whole. */
const BASIC_RESPONSE = Buffer.from("06092b0601050507300101", "hex");
const ECDSA_WITH_SHA256 = Buffer.from("300a06082a8648ce3d040302", "hex");
/** A question is small: its bound keeps answers small too. */
const MAX_IDS = 16;
const MAX_NONCE_BYTES = 128;

/** @throws HawserError `BAD_CERTIFICATE` when it is not a question that is understood */
export function readOcspRequest(der: Uint8Array): OcspRequest {
  const request = derElement(der, 0, der.length, SEQUENCE);
  const tbs = derElement(der, request.start, request.end, SEQUENCE);
  let at = tbs.start;
  // Version and the name of who asks: neither counts.
  while (der[at] === TAG_0 || der[at] === TAG_1) at = derElement(der, at, tbs.end).end;
  const list = derElement(der, at, tbs.end, SEQUENCE);
  const ids: CertificateId[] = [];
  for (let next = list.start; next < list.end && ids.length < MAX_IDS;) {
    const single = derElement(der, next, list.end, SEQUENCE);
    const id = readId(der, derElement(der, single.start, single.end, SEQUENCE), single.start);
    if (id !== undefined) ids.push(id);
    next = single.end;
  }
  const extensions = der[list.end] === TAG_2 && list.end < tbs.end ? derElement(der, list.end, tbs.end, TAG_2) : undefined;
  const nonce = extensions && nonceIn(der, derElement(der, extensions.start, extensions.end, SEQUENCE));
  return { ids, ...(nonce && { nonce }) };
}

/** Undefined where the hash is another one. */
function readId(der: Uint8Array, id: DerElement, start: number): CertificateId | undefined {
  const algorithm = derElement(der, id.start, id.end, SEQUENCE);
  const name = derElement(der, algorithm.end, id.end, OCTET_STRING);
  const key = derElement(der, name.end, id.end, OCTET_STRING);
  const serial = derElement(der, key.end, id.end, INTEGER);
  const hash = HASHES[derHex(der, derElement(der, algorithm.start, algorithm.end, OBJECT_ID))];
  if (hash === undefined) return undefined;
  return {
    der: der.subarray(start, id.end),
    hash,
    issuerName: derHex(der, name),
    issuerKey: derHex(der, key),
    serial: plainSerial(derHex(der, serial)),
  };
}

function nonceIn(der: Uint8Array, extensions: DerElement): Uint8Array | undefined {
  for (let at = extensions.start; at < extensions.end;) {
    const extension = derElement(der, at, extensions.end, SEQUENCE);
    const isNonce = derHex(der, derElement(der, extension.start, extension.end, OBJECT_ID)) === NONCE;
    if (isNonce && extension.end - extension.start <= MAX_NONCE_BYTES) return der.subarray(at, extension.end);
    at = extension.end;
  }
  return undefined;
}

/** Whether a question is about certificates of this issuer (DER). */
export function isAbout({ hash, issuerName, issuerKey }: CertificateId, issuer: Uint8Array): boolean {
  const hashOf = (bytes: Uint8Array): string => createHash(hash).update(bytes).digest("hex");
  return hashOf(derSubject(issuer)) === issuerName && hashOf(derKeyBits(publicKeyOf(issuer))) === issuerKey;
}

/** A signed answer (section 4.2.1), its signer's certificate with it. */
export function makeOcspResponse(answer: OcspAnswer, signer: OcspSigner): Uint8Array {
  const responder = derOf(
    TAG_2,
    derOf(
      OCTET_STRING,
      createHash("sha1")
        .update(derKeyBits(publicKeyOf(signer.certificate)))
        .digest(),
    ),
  );
  const singles = answer.statuses.map(({ id, status }) =>
    derOf(
      SEQUENCE,
      id.der,
      statusOf(status),
      derGeneralizedTimeOf(answer.thisUpdateMs),
      derOf(TAG_0, derGeneralizedTimeOf(answer.nextUpdateMs)),
    ),
  );
  const extensions = answer.nonce === undefined ? [] : [derOf(TAG_1, derOf(SEQUENCE, answer.nonce))];
  const data = derOf(SEQUENCE, responder, derGeneralizedTimeOf(answer.thisUpdateMs), derOf(SEQUENCE, ...singles), ...extensions);
  const signature = sign("sha256", data, signer.key);
  const certificates = derOf(TAG_0, derOf(SEQUENCE, signer.certificate));
  const basic = derOf(SEQUENCE, data, ECDSA_WITH_SHA256, derOf(BIT_STRING, Buffer.of(0), signature), certificates);
  return derOf(SEQUENCE, derOf(ENUMERATED, Buffer.of(0)), derOf(TAG_0, derOf(SEQUENCE, BASIC_RESPONSE, derOf(OCTET_STRING, basic))));
}

/** Reasons for refusing an answer (section 4.2.1). Such responses are not signed. */
export const OCSP_ERRORS = { malformedRequest: 1, internalError: 2, tryLater: 3, unauthorized: 6 } as const;

export function ocspError(error: keyof typeof OCSP_ERRORS): Uint8Array {
  return derOf(SEQUENCE, derOf(ENUMERATED, Buffer.of(OCSP_ERRORS[error])));
}

function statusOf(status: CertificateStatus): Buffer {
  if (status.kind === "good") return derOf(0x80);
  if (status.kind === "unknown") return derOf(0x82);
  const { revokedAtMs, reasonCode } = status;
  const reason = reasonCode === 0 ? [] : [derOf(TAG_0, derOf(ENUMERATED, Buffer.of(reasonCode)))];
  return derOf(TAG_1, derGeneralizedTimeOf(revokedAtMs), ...reason);
}
