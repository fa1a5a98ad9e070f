/**
 * The enrolment messages as the authority reads and writes them (docs/protocol.md, "Enrolment messages"). Bytes come from devices that
 * may be broken or hostile: whatever they are, the answer is a value, never an exception.
 */
import type { AnchorOffer } from "../../sdk/identity/anchor-offer.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import type { ToldSalt } from "../../sdk/identity/psk-salt.js";
import { signerOf } from "./proof.js";

/** Requests larger than this are not read at all. */
export const MAX_REQUEST_BYTES = 8 * 1024;

/** A P-256 request with one name is below 400 bytes; more than this is no request of a device. */
const MAX_CSR_BYTES = 2048;

/** More than a device has room for. */
const MAX_ANCHORS = 16;
/** Request ids and salts: 128 random bits. */
const HEX_128 = /^[0-9a-f]{32}$/;
/** RFC 5280 section 4.1.2.2: at most 20 octets. */
const SERIAL = /^[1-9a-f][0-9a-f]{0,39}$/;

export type RefusalCode =
  | "BAD_REQUEST"
  | "BAD_SIGNATURE"
  | "WRONG_SUBJECT"
  | "UNKNOWN_DEVICE"
  | "DEVICE_REVOKED"
  | "RATE_LIMITED"
  | "TRY_LATER"
  /** Whoever holds the present certificate is asked whether it is in use. */
  | "ASKING_HOLDER"
  /** It is: the holder has said so. */
  | "IN_USE";

interface Signed {
  /** SHA-256 of the key that signed the message; absent where it proves nothing. */
  readonly signedBy?: string;
}

export interface EnrolRequest extends Signed {
  readonly type: "enrol";
  readonly requestId: string;
  /** PKCS#10, DER */
  readonly csr: Uint8Array;
  /** Serials of the trust anchors that the device has; earlier devices do not say. */
  readonly anchors?: readonly string[];
}

export interface ActiveReport extends Signed {
  readonly type: "active";
  /** Serial of the certificate the device has committed: lower-case hex without leading zeros. */
  readonly serial: string;
  /** What its pre-shared key is salted with from now on; earlier devices do not say. */
  readonly salt?: ToldSalt;
}

/** The holder of the present certificate objects to another's request. */
export interface Objection extends Signed {
  readonly type: "in-use";
  /** Of the other's request. */
  readonly requestId: string;
}

/** What cannot be read; with `requestId` there is somebody to tell. */
export interface Unreadable {
  readonly type: "unreadable";
  readonly reason: string;
  readonly requestId?: string;
}

/** Reads one message of a device. Unknown members are ignored, so that later devices may say more. */
export function readMessage(payload: Uint8Array): EnrolRequest | ActiveReport | Objection | Unreadable {
  if (payload.length > MAX_REQUEST_BYTES)
    return unreadable(`${payload.length} bytes are more than the ${MAX_REQUEST_BYTES} a request may have`);
  const text = decodeText(payload);
  const fields = text === undefined ? undefined : parseObject(text);
  if (text === undefined || fields === undefined) return unreadable("not a JSON object in UTF-8");
  const requestId = fields["requestId"];
  const known = typeof requestId === "string" && HEX_128.test(requestId) ? requestId : undefined;
  if (fields["v"] !== 1) return unreadable("not version 1 of the enrolment messages", known);
  const signer = signerOf(text, fields["key"]);
  const signed = signer === undefined ? {} : { signedBy: signer };
  if (fields["type"] === "active") return readReport(fields, signed);
  if (fields["type"] === "in-use" && known !== undefined) return { type: "in-use", requestId: known, ...signed };
  if (fields["type"] !== "enrol") return unreadable('the type is not "enrol", "active" or "in-use"', known);
  if (known === undefined) return unreadable("the requestId is not 32 lower-case hex digits");
  const csr = decodeBase64(fields["csr"]);
  if (csr === undefined || csr.length === 0 || csr.length > MAX_CSR_BYTES)
    return unreadable("the csr is not standard base64 of a certificate request", known);
  const anchors = fields["anchors"];
  return { type: "enrol", requestId: known, csr, ...(isSerials(anchors) ? { anchors } : {}), ...signed };
}

function isSerials(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= MAX_ANCHORS && value.every((serial) => typeof serial === "string" && SERIAL.test(serial));
}

function readReport(fields: Readonly<Record<string, unknown>>, signed: Signed): ActiveReport | Unreadable {
  const serial = fields["serial"];
  if (typeof serial !== "string" || !SERIAL.test(serial)) return unreadable("the serial is not lower-case hex without leading zeros");
  const { salt, saltProof } = fields;
  const isTold = typeof salt === "string" && HEX_128.test(salt) && typeof saltProof === "string";
  return { type: "active", serial, ...(isTold && { salt: { text: salt, proof: saltProof } }), ...signed };
}

interface IssuedChain {
  readonly chain: readonly Uint8Array[];
  readonly offer?: AnchorOffer;
  readonly saltProof?: string;
  readonly topics?: DeviceTopics | undefined;
}

export function certificateAnswer(requestId: string, { chain, offer, saltProof, topics }: IssuedChain): Uint8Array {
  return encode({
    v: 1,
    requestId,
    chain: chain.map(base64),
    ...(offer && { anchors: offer.anchors.map(base64), links: offer.links.map(base64) }),
    ...(saltProof !== undefined && { saltProof }),
    ...(topics && { topics }),
  });
}

function base64(der: Uint8Array): string {
  return Buffer.from(der).toString("base64");
}

export function refusalAnswer(requestId: string, code: RefusalCode, message: string, retryAfterSeconds?: number): Uint8Array {
  return encode({ v: 1, requestId, error: { code, message, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) } });
}

function unreadable(reason: string, requestId?: string): Unreadable {
  return { type: "unreadable", reason, ...(requestId === undefined ? {} : { requestId }) };
}

function decodeText(payload: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(payload);
  } catch {
    return undefined;
  }
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Strict: what does not encode back to the same text is refused (Buffer alone skips what it does not know). */
function decodeBase64(text: unknown): Uint8Array | undefined {
  if (typeof text !== "string") return undefined;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
