/** What Node and OpenSSL say when a link fails, told in the SDK's vocabulary. */
import { alertFailure, failure } from "../../sdk/failure.js";
import type { Failure, FailureCode, Shown } from "../../sdk/failure.js";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode } from "./files/atomic-file.js";
import type { ServerVerdict } from "./server-judgement.js";

/** What the one who reads an error must know about the link it came from. */
export interface LinkContext {
  /** "host:port", for messages. */
  address: string;
  shown: Shown;
  /** True once the handshake was complete. */
  opened: boolean;
  /**
   * True once the handshake was complete with a server whose certificate is one for servers: only then an alert of its own is told from
   * anybody's.
   */
  isServerProved: boolean;
}

/** The failure behind an error event of a socket. */
export function linkFailure(error: unknown, context: LinkContext): Failure {
  const alert = alertNumber(error);
  if (alert !== undefined) return alertFailure(alert, context.shown, context.isServerProved);
  const causes = error instanceof AggregateError ? error.errors : [error];
  const known = causes.map((cause) => knownFailure(cause, context)).filter((found) => found !== undefined);
  // Of several addresses tried, the one that answered tells most.
  known.sort((one, other) => ANSWERS.indexOf(one.code) - ANSWERS.indexOf(other.code));
  return known[0] ?? failure("TLS_FAILED", `TLS with ${context.address} failed: ${oneLine(error)}`);
}

/** The failure behind what was thrown before a byte was sent: by the key store, by a certificate that cannot be read. */
export function localFailure(error: unknown, context: LinkContext): Failure {
  if (error instanceof HawserError) return failure(LOCAL_CODES.find((code) => code === error.code) ?? "TLS_FAILED", error.message);
  const code: FailureCode = errnoCode(error) === "ERR_SOCKET_BAD_PORT" ? "HOST_UNREACHABLE" : "TLS_FAILED";
  return failure(code, `cannot dial ${context.address}: ${oneLine(error)}`);
}

/**
 * What is wrong with a server that refused us in the middle of a handshake, before Node verified it: OpenSSL has Node do that at the end,
 * so that in TLS 1.2 any stranger at the address can refuse us first. For people only: such a refusal is believed from nobody.
 *
 * @param wrong what is wrong with the server, if anything
 */
export function serverFault(refusal: Failure, wrong: ServerVerdict | undefined): Failure {
  if (refusal.alert === undefined || wrong === undefined) return refusal;
  return failure(wrong.code, `${refusal.message}, and ${wrong.words}`, { alert: refusal.alert });
}

/** The failure behind a server's certificate that OpenSSL, or {@link judgeServer}, has refused. */
export function refusedServer(error: unknown, wrong: ServerVerdict | undefined, address: string): Failure {
  const { code, words } = wrong ?? {
    code: VERIFY_ERRORS[errnoCode(error)] ?? "SERVER_CERTIFICATE_INVALID",
    words: `${oneLine(error)} (${errnoCode(error)})`,
  };
  return failure(code, `the server at ${address} did not prove who it is: ${words}`);
}

/**
 * The number of an alert that the server sent. OpenSSL packs it into the code of its error: library 20 (SSL), reason 1000 and the number
 * (openssl/sslerr.h), the same in all its versions, whatever words and names go with it.
 */
function alertNumber(error: unknown): number | undefined {
  const found = error instanceof Error ? /\berror:([0-9A-F]{8}):/.exec(error.message) : null;
  const code = Number.parseInt(found?.[1] ?? "", 16);
  const reason = (code & 0x7fffff) - ALERT_REASON;
  return code >>> 23 === SSL_LIBRARY && reason >= 0 && reason <= 255 ? reason : undefined;
}

const SSL_LIBRARY = 20;
const ALERT_REASON = 1_000;

function knownFailure(error: unknown, { address, opened }: LinkContext): Failure | undefined {
  const code = errnoCode(error);
  const syscall = error instanceof Error && "syscall" in error ? error.syscall : undefined;
  if (syscall === "getaddrinfo" || syscall === "queryA" || syscall === "queryAaaa")
    return failure("DNS_FAILED", `no address for ${address} (${code})`);
  if (code === "ETIMEDOUT" && syscall !== "connect") return failure("CONNECTION_RESET", `${address} no longer answers (${code})`);
  const network = NETWORK_ERRORS[code];
  if (network === "CONNECTION_RESET") {
    return failure(
      network,
      opened ? `the connection to ${address} was reset (${code})` : `${address} closed the connection before it was established (${code})`,
    );
  }
  if (network !== undefined) return failure(network, `cannot reach ${address} (${code})`);
  const trust = VERIFY_ERRORS[code];
  return trust === undefined ? undefined : failure(trust, `the server at ${address} did not prove who it is: ${oneLine(error)} (${code})`);
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().replace(/\s+/g, " ").slice(0, 300);
}

const LOCAL_CODES: readonly FailureCode[] = [
  "BAD_CREDENTIAL",
  "KEY_MISSING",
  "KEY_MISMATCH",
  "CERTIFICATE_REQUIRED",
  "CERTIFICATE_REJECTED",
  "PSK_REJECTED",
  "SERVER_CA_UNKNOWN",
];

/** From the most telling to the least. */
const ANSWERS: readonly FailureCode[] = ["CONNECTION_REFUSED", "CONNECTION_RESET", "CONNECT_TIMEOUT", "HOST_UNREACHABLE", "DNS_FAILED"];

const NETWORK_ERRORS: Readonly<Record<string, FailureCode>> = {
  ENOTFOUND: "DNS_FAILED",
  EAI_AGAIN: "DNS_FAILED",
  ECONNREFUSED: "CONNECTION_REFUSED",
  EHOSTUNREACH: "HOST_UNREACHABLE",
  EHOSTDOWN: "HOST_UNREACHABLE",
  ENETUNREACH: "HOST_UNREACHABLE",
  ENETDOWN: "HOST_UNREACHABLE",
  EADDRNOTAVAIL: "HOST_UNREACHABLE",
  // A local firewall, and a process or a system that has no socket left.
  EACCES: "HOST_UNREACHABLE",
  EPERM: "HOST_UNREACHABLE",
  EMFILE: "HOST_UNREACHABLE",
  ENFILE: "HOST_UNREACHABLE",
  ENOBUFS: "HOST_UNREACHABLE",
  ETIMEDOUT: "CONNECT_TIMEOUT",
  ERR_SOCKET_CONNECTION_TIMEOUT: "CONNECT_TIMEOUT",
  ECONNRESET: "CONNECTION_RESET",
  ECONNABORTED: "CONNECTION_RESET",
  EPIPE: "CONNECTION_RESET",
};

/** X509_verify_cert's results as Node names them, and Node's own check of the name. */
const VERIFY_ERRORS: Readonly<Record<string, FailureCode>> = {
  UNABLE_TO_GET_ISSUER_CERT: "SERVER_CA_UNKNOWN",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "SERVER_CA_UNKNOWN",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "SERVER_CA_UNKNOWN",
  SELF_SIGNED_CERT_IN_CHAIN: "SERVER_CA_UNKNOWN",
  DEPTH_ZERO_SELF_SIGNED_CERT: "SERVER_CA_UNKNOWN",
  CERT_UNTRUSTED: "SERVER_CA_UNKNOWN",
  ERR_TLS_CERT_ALTNAME_INVALID: "SERVER_NAME_MISMATCH",
  ERR_TLS_CERT_ALTNAME_FORMAT: "SERVER_NAME_MISMATCH",
  HOSTNAME_MISMATCH: "SERVER_NAME_MISMATCH",
  CERT_HAS_EXPIRED: "SERVER_CERTIFICATE_EXPIRED",
  CERT_NOT_YET_VALID: "SERVER_CERTIFICATE_NOT_YET_VALID",
  CERT_SIGNATURE_FAILURE: "SERVER_CA_UNKNOWN",
  CERT_REVOKED: "SERVER_CERTIFICATE_INVALID",
  CERT_REJECTED: "SERVER_CERTIFICATE_INVALID",
  CERT_CHAIN_TOO_LONG: "SERVER_CERTIFICATE_INVALID",
  INVALID_CA: "SERVER_CA_UNKNOWN",
  INVALID_PURPOSE: "SERVER_CERTIFICATE_INVALID",
  PATH_LENGTH_EXCEEDED: "SERVER_CA_UNKNOWN",
  UNSPECIFIED: "SERVER_CERTIFICATE_INVALID",
  UNABLE_TO_DECRYPT_CERT_SIGNATURE: "SERVER_CERTIFICATE_INVALID",
  UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: "SERVER_CERTIFICATE_INVALID",
  ERROR_IN_CERT_NOT_BEFORE_FIELD: "SERVER_CERTIFICATE_INVALID",
  ERROR_IN_CERT_NOT_AFTER_FIELD: "SERVER_CERTIFICATE_INVALID",
};
