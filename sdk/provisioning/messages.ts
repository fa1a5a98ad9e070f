/**
 * The requests of a factory station and what a device answers (docs/protocol.md, "Provisioning over a serial line"): JSON, binary in
 * standard base64. Reading is strict: every field is checked before anything is done, unknown fields are passed over.
 */
import { isObject, parseObject, type JsonObject as Fields } from "../encoding/json.js";
import { base64Decode, utf8Encode } from "../encoding/text.js";
import { HawserError } from "../errors.js";
import { readCertificate } from "../identity/certificate.js";
import { checkId } from "../identity/device-id.js";
import { readTopics, type DeviceTopics } from "../identity/device-topics.js";

export const PROTOCOL_VERSION = 1;

export const NONCE_BYTES = 32;

const MAX_CERTIFICATES = 4;
const MAX_NAME_LENGTH = 64;

export interface InstallRequest {
  type: "install";
  requestId: string;
  id: string;
  role: string;
  /** DER, leaf first. */
  chain: readonly Uint8Array[];
  /** DER */
  trustAnchors: readonly Uint8Array[];
  psk?: { identity: string; key: Uint8Array };
  /** Where the device's are; left out by earlier stations. */
  topics?: DeviceTopics;
}

export type ProvisioningRequest =
  | { type: "hello"; requestId: string; nonce: Uint8Array }
  | { type: "generate"; requestId: string; id: string; replace: boolean }
  | InstallRequest
  | { type: "status" | "done"; requestId: string };

/** What a board says about itself, proved by nothing: it tells boards apart and finds the wrong firmware before anything is written. */
export interface BoardFacts {
  /** The chip's factory address: 12 hexadecimal digits, pairs separated by `:` or nothing. */
  mac?: string;
  /** The firmware's version or hash, as the factory order names it; at most 128 characters. */
  firmware?: string;
}

/** To `hello` and `status`. What the device is, with a proof that it holds the key of its certificate. */
export interface StatusAnswer extends BoardFacts {
  state: "empty" | "provisioned";
  id?: string;
  role?: string;
  /** Of the certificate in use, as the registry writes it. */
  serial?: string;
  /** DER SubjectPublicKeyInfo, base64. */
  publicKey?: string;
  /** See {@link proofInput}; base64. */
  proof?: string;
}

/** To `generate`. */
export interface GenerateAnswer {
  /** PKCS#10, base64 of its DER. */
  csr: string;
  /** See {@link proofInput}; base64. */
  proof: string;
}

/** Instead of any other answer. */
export interface RefusalAnswer {
  error: { code: string; message: string };
}

/**
 * What the device signs (ECDSA-SHA256, r || s) to prove its key to the station that said `hello` with this nonce. The prefix keeps it apart
 * from all else that the key signs: a CSR and a token begin otherwise, TLS with 64 spaces.
 */
export function proofInput(nonce: Uint8Array): Uint8Array {
  const prefix = utf8Encode("hawser provisioning\n");
  const input = new Uint8Array(prefix.length + nonce.length);
  input.set(prefix);
  input.set(nonce, prefix.length);
  return input;
}

/** The request's id, for the refusal of a request that cannot be read; "" where even that is missing. */
export function requestIdOf(bytes: Uint8Array): string {
  try {
    return requestId(parse(bytes));
  } catch {
    return "";
  }
}

/**
 * @throws HawserError `BAD_REQUEST`, `UNSUPPORTED_VERSION`, `INVALID_ID`, `BAD_CERTIFICATE`
 */
export function readRequest(bytes: Uint8Array): ProvisioningRequest {
  const fields = parse(bytes);
  if (fields["v"] !== PROTOCOL_VERSION) {
    throw new HawserError(
      "UNSUPPORTED_VERSION",
      `this device uses version ${PROTOCOL_VERSION} of the provisioning protocol`,
      "Use a station with the same version.",
    );
  }
  const common = { requestId: requestId(fields) };
  const type = fields["type"];
  switch (type) {
    case "hello":
      return { type, ...common, nonce: binary(fields, "nonce", NONCE_BYTES, NONCE_BYTES) };
    case "generate":
      return { type, ...common, id: checkId(name(fields, "id")), replace: flag(fields, "replace") };
    case "install":
      return { type, ...common, ...readInstall(fields) };
    case "status":
    case "done":
      return { type, ...common };
    default:
      throw bad("type");
  }
}

function readInstall(fields: Fields): Omit<InstallRequest, "type" | "requestId"> {
  const { psk, topics: told } = fields;
  const topics = readTopics(told);
  if (told !== undefined && topics === undefined) throw bad("topics");
  return {
    id: checkId(name(fields, "id")),
    role: name(fields, "role"),
    chain: certificates(fields, "chain"),
    trustAnchors: certificates(fields, "trustAnchors"),
    ...(psk === undefined ? {} : { psk: readPsk(psk) }),
    ...(topics && { topics }),
  };
}

function readPsk(value: unknown): { identity: string; key: Uint8Array } {
  if (!isObject(value)) throw bad("psk");
  return { identity: name(value, "identity"), key: binary(value, "key", 16, 64) };
}

function parse(bytes: Uint8Array): Fields {
  const fields = parseObject(bytes);
  if (fields === undefined) throw bad("form");
  return fields;
}

function requestId(fields: Fields): string {
  const value = fields["requestId"];
  if (typeof value !== "string" || !/^[0-9a-f]{32}$/.test(value)) throw bad("requestId");
  return value;
}

function name(fields: Fields, key: string): string {
  const value = fields[key];
  if (typeof value !== "string" || value.length < 1 || value.length > MAX_NAME_LENGTH) throw bad(key);
  return value;
}

function flag(fields: Fields, key: string): boolean {
  const value = fields[key];
  if (value !== undefined && typeof value !== "boolean") throw bad(key);
  return value === true;
}

function binary(fields: Fields, key: string, minBytes: number, maxBytes: number): Uint8Array {
  const bytes = decode(fields[key], key);
  if (bytes.length < minBytes || bytes.length > maxBytes) throw bad(key);
  return bytes;
}

function certificates(fields: Fields, key: string): Uint8Array[] {
  const value = fields[key];
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_CERTIFICATES) throw bad(key);
  return value.map((item: unknown) => {
    const der = decode(item, key);
    readCertificate(der);
    return der;
  });
}

function decode(value: unknown, key: string): Uint8Array {
  if (typeof value !== "string") throw bad(key);
  try {
    return base64Decode(value);
  } catch {
    throw bad(key);
  }
}

function bad(field: string): HawserError {
  return new HawserError("BAD_REQUEST", `the request's ${field} is missing or invalid`, "Use a station with the same version.");
}
