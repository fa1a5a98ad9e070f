/** The messages of enrolment over MQTT (docs/protocol.md): bytes out of values, values out of bytes, no IO. */
import { isObject, parseObject } from "../encoding/json.js";
import { base64Decode, base64Encode, hexEncode, utf8Encode } from "../encoding/text.js";
import { HawserError } from "../errors.js";
import type { Random } from "../platform.js";
import type { AnchorOffer } from "./anchor-offer.js";

/** No message of enrolment is larger, bytes; anything larger is refused unread. */
export const MAX_MESSAGE_BYTES = 8_192;

export const REQUEST_TOPIC = "identity/request";
export const RESPONSE_TOPIC = "identity/response";

export interface EnrolmentError {
  code: string;
  message: string;
  /** What the authority asks for before the next try, seconds. */
  retryAfterSeconds?: number;
}

export type EnrolmentAnswer =
  { requestId: string; chain: Uint8Array[]; offer?: AnchorOffer } | { requestId: string; error: EnrolmentError };

export function newRequestId(random: Random): string {
  return hexEncode(random.bytes(16));
}

/** @param anchors serials of the trust anchors that the device has: the authority offers others where they are not those of now */
export function enrolRequest(requestId: string, csr: Uint8Array, anchors?: readonly string[]): Uint8Array {
  return utf8Encode(JSON.stringify({ v: 1, type: "enrol", requestId, csr: base64Encode(csr), ...(anchors && { anchors }) }));
}

/** Tells the authority which certificate is in use, so that it retires the older ones. */
export function activeReport(serial: string): Uint8Array {
  return utf8Encode(JSON.stringify({ v: 1, type: "active", serial }));
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
  const { anchors, links } = value;
  const offer =
    isCertificates(anchors) && isCertificates(links)
      ? { offer: { anchors: anchors.map(base64Decode), links: links.map(base64Decode) } }
      : {};
  return { requestId, chain: chain.map(base64Decode), ...offer };
}

const CERTIFICATES_MAX = 4;

function isCertificates(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= CERTIFICATES_MAX && value.every((item) => typeof item === "string");
}

function bad(what: string): HawserError {
  return new HawserError("BAD_ANSWER", `the authority's answer ${what}`, "Check that the authority and the device use the same version.");
}
