/**
 * PKCS#10 certificate requests (RFC 2986) with nothing but a common name, in hand-made DER: the key store's `csr` is synchronous, and
 * what such a request needs of DER is four kinds of element.
 */
import { createPublicKey, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { derOf } from "./der-writer.js";

const SEQUENCE = 0x30;
const SET = 0x31;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const BIT_STRING = 0x03;
const INTEGER = 0x02;
/** attributes [0] of the request: there are none, but the element itself is not optional. */
const ATTRIBUTES = 0xa0;

/** 2.5.4.3 */
const COMMON_NAME = [0x55, 0x04, 0x03];
/** 1.2.840.10045.4.3.2, RFC 5758 section 3.2 */
const ECDSA_WITH_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/** A request (DER) for the P-256 private key with subject `CN=commonName`, signed with ECDSA-SHA256. */
export function certificateRequest(privateKey: KeyObject, commonName: string): Uint8Array {
  const attribute = derOf(
    SEQUENCE,
    derOf(OBJECT_IDENTIFIER, Buffer.from(COMMON_NAME)),
    derOf(UTF8_STRING, Buffer.from(commonName, "utf8")),
  );
  const subject = derOf(SEQUENCE, derOf(SET, attribute));
  const publicKey = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const info = derOf(SEQUENCE, derOf(INTEGER, Buffer.of(0)), subject, publicKey, derOf(ATTRIBUTES));
  const algorithm = derOf(SEQUENCE, derOf(OBJECT_IDENTIFIER, Buffer.from(ECDSA_WITH_SHA256)));
  const signature = sign("sha256", info, privateKey);
  return new Uint8Array(derOf(SEQUENCE, info, algorithm, derOf(BIT_STRING, Buffer.of(0), signature)));
}
