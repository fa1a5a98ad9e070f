/** Judges what a client showed of itself: at sign-in, and again whenever the broker's material changes. */
import { createHash } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { isId, nameOfPskIdentity } from "../../sdk/identity/device-id.js";
import type { BrokerMaterial, CredentialReason, Scope } from "./broker-events.js";
import type { RevocationLists } from "./crl-verdict.js";
import type { ListedCertificate } from "./known-cas.js";

/** What a client showed in its TLS handshake. */
export type Shown =
  | (ListedCertificate & { kind: "certificate"; name: string; notAfterMs: number; opensslVerdict: string | undefined })
  | { kind: "psk"; name: string; keyDigest: string };

/** The client certificate of a finished handshake; undefined when there was none. */
export function shownCertificate(socket: TLSSocket, revocation: RevocationLists): Shown | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  // Node gives an array when the subject has several common names: nobody's name then.
  const commonName: unknown = socket.getPeerCertificate().subject.CN;
  return {
    kind: "certificate",
    name: typeof commonName === "string" ? commonName : "",
    ...revocation.listed(certificate),
    notAfterMs: Date.parse(certificate.validTo),
    opensslVerdict: socket.authorized ? undefined : String(socket.authorizationError),
  };
}

export function shownPsk(identity: string, key: Uint8Array): Shown {
  return { kind: "psk", name: nameOfPskIdentity(identity), keyDigest: digest(key) };
}

export function scopeOf(shown: Shown): Scope {
  return shown.kind === "psk" ? "recovery" : "full";
}

/** Why the client may not be here, or undefined when it may. */
export function credentialFault(
  shown: Shown,
  material: BrokerMaterial,
  revocation: RevocationLists,
  nowMs: number,
): CredentialReason | undefined {
  const fault = shown.kind === "psk" ? pskFault(shown, material) : certificateFault(shown, revocation, nowMs);
  if (fault !== undefined) return fault;
  if (!isId(shown.name)) return "NAME_INVALID";
  return material.maySignIn(shown.name, scopeOf(shown)) ? undefined : "NOT_ALLOWED";
}

function pskFault(shown: Extract<Shown, { kind: "psk" }>, material: BrokerMaterial): CredentialReason | undefined {
  const key = material.pskFor(shown.name);
  return key !== undefined && digest(key) === shown.keyDigest ? undefined : "PSK_WITHDRAWN";
}

function certificateFault(
  shown: Extract<Shown, { kind: "certificate" }>,
  revocation: RevocationLists,
  nowMs: number,
): CredentialReason | undefined {
  const fromOpenssl = shown.opensslVerdict === undefined ? undefined : opensslReason(shown.opensslVerdict);
  if (fromOpenssl === "CRL_MISSING") return revocation.knowsIssuer(shown.issuer) ? "CRL_MISSING" : "CERTIFICATE_CA_UNKNOWN";
  if (fromOpenssl !== undefined) return fromOpenssl;
  // A resumed session skips OpenSSL's checks, and a live one had them long ago.
  if (nowMs > shown.notAfterMs) return "CERTIFICATE_EXPIRED";
  const verdict = revocation.judge(shown, nowMs);
  return verdict === "good" ? undefined : verdict;
}

function opensslReason(verdict: string): CredentialReason {
  return OPENSSL_REASONS[verdict] ?? "CERTIFICATE_REJECTED";
}

/** Names as Node gives them in `authorizationError`. */
const OPENSSL_REASONS: Readonly<Record<string, CredentialReason>> = {
  CERT_HAS_EXPIRED: "CERTIFICATE_EXPIRED",
  CERT_NOT_YET_VALID: "CERTIFICATE_NOT_YET_VALID",
  CERT_REVOKED: "CERTIFICATE_REVOKED",
  CRL_HAS_EXPIRED: "CRL_EXPIRED",
  UNABLE_TO_GET_CRL: "CRL_MISSING",
  UNABLE_TO_GET_ISSUER_CERT: "CERTIFICATE_CA_UNKNOWN",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "CERTIFICATE_CA_UNKNOWN",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "CERTIFICATE_CA_UNKNOWN",
  SELF_SIGNED_CERT_IN_CHAIN: "CERTIFICATE_CA_UNKNOWN",
  DEPTH_ZERO_SELF_SIGNED_CERT: "CERTIFICATE_CA_UNKNOWN",
};

function digest(key: Uint8Array): string {
  return createHash("sha256").update(key).digest("hex");
}
