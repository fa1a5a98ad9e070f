/** The messages of enrolment over MQTT (docs/protocol.md): bytes out of values, values out of bytes, no IO. */
import { isObject, parseObject } from "../encoding/json.js";
import { base64Decode, base64Encode, hexEncode, utf8Encode } from "../encoding/text.js";
import { HawserError } from "../errors.js";
import type { KeyStore, Random } from "../platform.js";
import type { AnchorOffer } from "./anchor-offer.js";
import type { CertificateInfo } from "./certificate.js";
import { readTopics, type DeviceTopics } from "./device-topics.js";

/** No message of enrolment is larger, bytes; anything larger is refused unread. */
export const MAX_MESSAGE_BYTES = 8_192;

export interface EnrolmentError {
  code: string;
  message: string;
  /** What the authority asks for before the next try, seconds. */
  retryAfterSeconds?: number;
}

export type EnrolmentAnswer =
  | { requestId: string; chain: readonly Uint8Array[]; offer?: AnchorOffer; saltProof?: string; topics?: DeviceTopics | undefined }
  | { requestId: string; error: EnrolmentError };

export function newRequestId(random: Random): string {
  return hexEncode(random.bytes(16));
}

/** The answer's error code while the authority asks whoever holds the present certificate whether it is still in use. */
export const ASKING_HOLDER = "ASKING_HOLDER";

/** What a device says to the authority. */
export type EnrolmentMessage =
  /** `anchors`: serials of the trust anchors that the device has; the authority offers others where they are not those of now. */
  | { type: "enrol"; requestId: string; csr: string; anchors?: readonly string[] }
  /** Tells the authority which certificate is in use, so that it retires the older ones, and the salt of the pre-shared key. */
  | { type: "active"; serial: string; salt?: string; saltProof?: string | undefined }
  /** Another's request, named by its id, is not to cost this device its certificate. */
  | { type: "in-use"; requestId: string };

/** Who says it: the key of the present certificate signs. */
export interface CertificateHolder {
  keySlot: string;
  certificate: Pick<CertificateInfo, "publicKey">;
}

/**
 * A message of a device. Its last member is the proof that the sender holds the certificate's key: the signature (ECDSA-SHA256, r || s) of
 * the message without that member. Without a holder, or where its key cannot sign, there is none.
 */
export function enrolmentMessage(message: EnrolmentMessage, keyStore: Pick<KeyStore, "sign">, holder?: CertificateHolder): Uint8Array {
  const text = JSON.stringify({ v: 1, ...message, key: holder && base64Encode(holder.certificate.publicKey) });
  try {
    if (holder) return utf8Encode(`${text.slice(0, -1)},"proof":"${base64Encode(keyStore.sign(holder.keySlot, utf8Encode(text)))}"}`);
  } catch {
    // A key that is lost proves nothing. The authority then asks whether anybody else has it.
  }
  return utf8Encode(text);
}

/**
 * Reads an answer of the authority.
 * @throws HawserError `BAD_ANSWER`
 */
export function readAnswer(bytes: Uint8Array): EnrolmentAnswer {
  if (bytes.length > MAX_MESSAGE_BYTES) throw bad("is too large");
  const value = parseObject(bytes);
  if (value?.["v"] !== 1 || typeof value["requestId"] !== "string") throw bad("is not of version 1");
  const requestId = value["requestId"];
  const { chain, error } = value;
  if (isObject(error) && typeof error["code"] === "string") {
    const seconds = error["retryAfterSeconds"];
    const retry = typeof seconds === "number" && seconds >= 0 && seconds <= 86_400 ? { retryAfterSeconds: seconds } : {};
    return { requestId, error: { code: error["code"].slice(0, 40), message: String(error["message"] ?? "").slice(0, 200), ...retry } };
  }
  if (!isCertificates(chain) || chain.length < 1) throw bad("has neither a chain nor an error");
  const { anchors, links, saltProof, topics } = value;
  const offer =
    isCertificates(anchors) && isCertificates(links)
      ? { offer: { anchors: anchors.map(base64Decode), links: links.map(base64Decode) } }
      : {};
  return {
    requestId,
    chain: chain.map(base64Decode),
    ...offer,
    ...(typeof saltProof === "string" && { saltProof }),
    topics: readTopics(topics),
  };
}

const CERTIFICATES_MAX = 4;

function isCertificates(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= CERTIFICATES_MAX && value.every((item) => typeof item === "string");
}

function bad(what: string): HawserError {
  return new HawserError("BAD_ANSWER", `the authority's answer ${what}`, "Use the same version on authority and device.");
}
