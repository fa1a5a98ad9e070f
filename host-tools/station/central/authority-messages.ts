/** What a station and its central authority say to each other: JSON over HTTPS, each field checked at the end that gets it. */
import { X509Certificate } from "node:crypto";
import { HawserError } from "../../../sdk/errors.js";
import { readTopics } from "../../../sdk/identity/device-topics.js";
import { hashOfPublicKey } from "../../pki/certificate-request.js";
import type { BoardRequest } from "../factory/board-issuer.js";
import type { IssuedIdentity } from "../issue-once.js";

export const ISSUE_PATH = "/v1/issue";
export const REGISTERED_PATH = "/v1/registered";
/** A request or an answer; a chain of long RSA certificates fits. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

export interface IssueQuestion extends BoardRequest {
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
}

type Fields = Readonly<Record<string, unknown>>;

export function writeIssueQuestion({ id, role, attributes, mac, replace }: BoardRequest, csr: Uint8Array): object {
  return { id, role, attributes, mac, replace, csr: toBase64(csr) };
}

/** @throws HawserError `BAD_REQUEST` */
export function readIssueQuestion(text: string): IssueQuestion {
  const { id, role, attributes, mac, replace, csr } = fields(text, badRequest);
  const isMac = mac === undefined || (typeof mac === "string" && /^[0-9a-f]{12}$/.test(mac));
  const isMap =
    typeof attributes === "object" &&
    attributes !== null &&
    !Array.isArray(attributes) &&
    Object.values(attributes).every((value) => typeof value === "string");
  if (typeof id !== "string" || typeof role !== "string" || typeof replace !== "boolean" || !isMac || !isMap) throw badRequest();
  return {
    id,
    role,
    attributes: attributes as Record<string, string>,
    replace,
    csr: fromBase64(csr, badRequest),
    ...(mac !== undefined && { mac: mac as string }),
  };
}

export function writeIssued(
  { id, role, serial, notAfterMs, chain, trustAnchors, psk, topics, replaced }: IssuedIdentity,
  caEndsMs: number | undefined,
): object {
  return {
    id,
    role,
    serial,
    notAfterMs,
    chain: chain.map(toBase64),
    trustAnchors: trustAnchors.map(toBase64),
    ...(psk && { psk: psk.toString("base64") }),
    topics,
    replaced,
    caEndsMs,
  };
}

/**
 * @param publicKeyHash of the key that was to be certified
 * @throws HawserError `BAD_ANSWER`
 */
export function readIssued(text: string, request: BoardRequest, publicKeyHash: string): IssuedIdentity {
  const { id, role, serial, notAfterMs, chain, trustAnchors, psk, topics, replaced } = fields(text, badAnswer);
  const areTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every((one) => typeof one === "string");
  if (id !== request.id || typeof role !== "string" || typeof serial !== "string" || typeof notAfterMs !== "number") throw badAnswer();
  if (!areTexts(chain) || !areTexts(trustAnchors) || !areTexts(replaced)) throw badAnswer();
  const certificates = chain.map((der) => fromBase64(der, badAnswer));
  if (!isOf(certificates[0], publicKeyHash)) throw badAnswer();
  return {
    id,
    role,
    serial,
    notAfterMs,
    publicKeyHash,
    chain: certificates,
    trustAnchors: trustAnchors.map((der) => fromBase64(der, badAnswer)),
    topics: readTopics(topics),
    replaced,
    ...(psk !== undefined && { psk: Buffer.from(fromBase64(psk, badAnswer)) }),
  };
}

function isOf(certificate: Uint8Array | undefined, publicKeyHash: string): boolean {
  try {
    return (
      certificate !== undefined &&
      hashOfPublicKey(new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" })) === publicKeyHash
    );
  } catch {
    return false;
  }
}

/** @throws HawserError `BAD_REQUEST` */
export function readRegisteredQuestion(text: string): { readonly id: string; readonly serial: string } {
  const { id, serial } = fields(text, badRequest);
  if (typeof id !== "string" || typeof serial !== "string") throw badRequest();
  return { id, serial };
}

/** @throws what `bad` makes */
export function fields(text: string, bad: () => HawserError): Fields {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  } catch {
    // Said below.
  }
  throw bad();
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function fromBase64(value: unknown, bad: () => HawserError): Uint8Array {
  if (typeof value !== "string" || !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value)) throw bad();
  return new Uint8Array(Buffer.from(value, "base64"));
}

function badRequest(): HawserError {
  return new HawserError("BAD_REQUEST", "this is not a request of a station", "Use the same version of hawser at both ends.");
}

export function badAnswer(): HawserError {
  return new HawserError("BAD_ANSWER", "the authority's answer cannot be used", "Use the same version of hawser at both ends.");
}
