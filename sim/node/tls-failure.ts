/** What Node and OpenSSL say when a link fails, told in the SDK's vocabulary. */
import { X509Certificate } from "node:crypto";
import { checkServerIdentity } from "node:tls";
import type { DetailedPeerCertificate } from "node:tls";
import { alertFailure, failure } from "../../sdk/failure.js";
import type { Failure, FailureCode, Shown } from "../../sdk/failure.js";
import { HawserError } from "../../sdk/errors.js";
import { isIssuedBy } from "./node-chain-verifier.js";
import { errnoCode } from "./files/atomic-file.js";

/** What the one who reads an error must know about the link it came from. */
export interface LinkContext {
  /** "host:port", for messages. */
  address: string;
  shown: Shown;
  /** True once the handshake was complete. */
  opened: boolean;
  /** True once the handshake was complete with a server whose certificate is one for servers: only then an alert of its own is told from anybody's. */
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
 * What is wrong with a server that refused us in the middle of a handshake, before Node verified it: OpenSSL has Node do that at the end, so that in TLS 1.2
 * any stranger at the address can refuse us first. For people only: such a refusal is believed from nobody.
 *
 * @param peer the certificate of the server, its chain linked by `issuerCertificate`; undefined when it has shown none
 */
export function serverFault(refusal: Failure, peer: DetailedPeerCertificate | undefined, serverName: string, trustAnchors: readonly Uint8Array[]): Failure {
  if (refusal.alert === undefined || peer === undefined) return refusal;
  const details = { alert: refusal.alert };
  if (checkServerIdentity(serverName, peer) !== undefined) {
    return failure("SERVER_NAME_MISMATCH", `${refusal.message}, and its certificate is not for ${serverName}`, details);
  }
  if (!chainsTo(peer, trustAnchors.map((der) => new X509Certificate(der)))) {
    return failure("SERVER_CA_UNKNOWN", `${refusal.message}, and its certificate is not from a trusted CA`, details);
  }
  return refusal;
}

/** Whether a chain of valid certificates leads from the peer to an anchor. */
function chainsTo(peer: DetailedPeerCertificate, anchors: readonly X509Certificate[]): boolean {
  let link = peer;
  for (let depth = 0; depth < 8; depth += 1) {
    const certificate = new X509Certificate(link.raw);
    const now = Date.now();
    if (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo)) return false;
    if (anchors.some((anchor) => isIssuedBy(certificate, anchor))) return true;
    const issuer: DetailedPeerCertificate | undefined = link.issuerCertificate;
    if (issuer === undefined || issuer === link || !isIssuedBy(certificate, new X509Certificate(issuer.raw))) return false;
    link = issuer;
  }
  return false;
}

/** OpenSSL ends the text of an alert it received, and only of those, with "SSL alert number 116". */
function alertNumber(error: unknown): number | undefined {
  const found = error instanceof Error ? /SSL alert number (\d+)/.exec(error.message) : null;
  return found === null ? undefined : Number(found[1]);
}

function knownFailure(error: unknown, { address, opened }: LinkContext): Failure | undefined {
  const code = errnoCode(error);
  const syscall = error instanceof Error && "syscall" in error ? error.syscall : undefined;
  if (syscall === "getaddrinfo" || syscall === "queryA" || syscall === "queryAaaa") return failure("DNS_FAILED", `no address for ${address} (${code})`);
  if (code === "ETIMEDOUT" && syscall !== "connect") return failure("CONNECTION_RESET", `${address} no longer answers (${code})`);
  const network = NETWORK_ERRORS[code];
  if (network === "CONNECTION_RESET") {
    return failure(network, opened ? `the connection to ${address} was reset (${code})` : `${address} ended the connection before it was up (${code})`);
  }
  if (network !== undefined) return failure(network, `cannot reach ${address} (${code})`);
  const trust = VERIFY_ERRORS[code];
  return trust === undefined ? undefined : failure(trust, `the server at ${address} did not prove who it is: ${oneLine(error)} (${code})`);
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().replace(/\s+/g, " ").slice(0, 300);
}

const LOCAL_CODES: readonly FailureCode[] = ["BAD_CREDENTIAL", "KEY_MISSING", "KEY_MISMATCH", "CERTIFICATE_REQUIRED", "CERTIFICATE_REJECTED", "PSK_REJECTED", "SERVER_CA_UNKNOWN"];

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
  CERT_SIGNATURE_FAILURE: "SERVER_CERTIFICATE_INVALID",
  CERT_REVOKED: "SERVER_CERTIFICATE_INVALID",
  CERT_REJECTED: "SERVER_CERTIFICATE_INVALID",
  CERT_CHAIN_TOO_LONG: "SERVER_CERTIFICATE_INVALID",
  INVALID_CA: "SERVER_CERTIFICATE_INVALID",
  INVALID_PURPOSE: "SERVER_CERTIFICATE_INVALID",
  PATH_LENGTH_EXCEEDED: "SERVER_CERTIFICATE_INVALID",
  UNSPECIFIED: "SERVER_CERTIFICATE_INVALID",
  UNABLE_TO_DECRYPT_CERT_SIGNATURE: "SERVER_CERTIFICATE_INVALID",
  UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: "SERVER_CERTIFICATE_INVALID",
  ERROR_IN_CERT_NOT_BEFORE_FIELD: "SERVER_CERTIFICATE_INVALID",
  ERROR_IN_CERT_NOT_AFTER_FIELD: "SERVER_CERTIFICATE_INVALID",
};
