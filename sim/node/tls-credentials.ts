/**
 * OpenSSL contexts and session tickets for the credentials of one dialer: parsing certificates and keys costs a tenth of a handshake, so
 * contexts are kept while the credential stays the same; tickets save most of the handshake.
 */
import { createHash, X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { SecureContext, SecureVersion } from "node:tls";
import { HawserError } from "../../sdk/errors.js";
import type { Credential, Endpoint } from "../../sdk/platform.js";
import { sessionBinding } from "../../sdk/sleep/kept-tls-session.js";
import type { KeptTicket, TlsTicket } from "./kept-tls-ticket.js";

type MtlsCredential = Extract<Credential, { kind: "mtls" }>;
/** Judges the server by its certificate. */
export type CertificateCredential = Extract<Credential, { trustAnchors: readonly Uint8Array[] }>;

export interface TlsVersions {
  minVersion: SecureVersion;
  maxVersion: SecureVersion;
}

/** A device has an active and a pending identity, and changes its trust anchors once in years. */
const KEPT_CONTEXTS = 4;
const KEPT_SESSIONS = 16;

/**
 * Suites that Mbed TLS, mosquitto and Node share, none without forward secrecy, none with finite-field DH, which costs a device 40 ms.
 * TLS 1.3 takes only SHA-256 suites with an external PSK (RFC 8446 section 4.2.11).
 */
const PSK_CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256";

/**
 * What the engine on a chip takes with certificates (`firmware/native/tls-configure.c`), so that a simulated device connects where a real
 * one does. Level 2 refuses RSA below 2048 bits and SHA-1, whatever the default of the OpenSSL at hand.
 */
const MTLS_CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-RSA-CHACHA20-POLY1305",
  "@SECLEVEL=2",
].join(":");

const MTLS_SIGNATURES = ["ECDSA", "RSA-PSS", "RSA"]
  .flatMap((kind) => ["SHA256", "SHA384", ...(kind === "ECDSA" ? [] : ["SHA512"])].map((hash) => `${kind}+${hash}`))
  .join(":");

/** A name for everything that a context is made of but the key. */
export function credentialId(credential: CertificateCredential): string {
  const { slot, chain } = credential.kind === "mtls" ? credential : { slot: "", chain: [] };
  const hash = createHash("sha256").update(slot);
  for (const list of [chain, credential.trustAnchors]) {
    hash.update(`/${list.length}`);
    for (const der of list) hash.update(`/${der.length}/`).update(der);
  }
  return hash.digest("hex");
}

/** Contexts for certificates, made once each. */
export class CertificateContexts {
  readonly #kept = new Map<string, { key: KeyObject | undefined; context: SecureContext }>();
  readonly #versions: TlsVersions;

  constructor(versions: TlsVersions) {
    this.#versions = versions;
  }

  /**
   * @throws HawserError `CERTIFICATE_REQUIRED`, `CERTIFICATE_REJECTED` (our own chain is unreadable), `KEY_MISMATCH`, `SERVER_CA_UNKNOWN`
   * (an anchor is)
   */
  get(credential: CertificateCredential, key: KeyObject | undefined): SecureContext {
    const id = credentialId(credential);
    const found = this.#kept.get(id);
    if (found !== undefined && found.key === key) return found.context;
    const context = certificateContext(credential, key, this.#versions);
    this.#kept.delete(id);
    this.#kept.set(id, { key, context });
    dropOldest(this.#kept, KEPT_CONTEXTS);
    return context;
  }
}

export function pskContext(versions: TlsVersions): SecureContext {
  // No trust anchors: a server that answers with a certificate instead of the key is refused.
  return createSecureContext({ ...versions, ciphers: PSK_CIPHERS, ca: [] });
}

/** What a ticket is for: it serves the very credential and endpoint it came from, and no other. */
export class TicketPlace {
  readonly id: string;

  constructor(
    private readonly endpoint: Endpoint,
    private readonly credential: CertificateCredential,
  ) {
    this.id = [endpoint.host, endpoint.port, endpoint.serverName ?? "", endpoint.alpn ?? "", credentialId(credential)].join(" ");
  }

  get binding(): Uint8Array {
    return sessionBinding(this.endpoint, this.credential);
  }

  /** The time by which a ticket's age is judged. */
  get nowMs(): number {
    return Math.max(Date.now(), this.endpoint.validAtMs ?? 0);
  }
}

/** Tickets for resumption. */
export class TlsSessions {
  readonly #tickets = new Map<string, TlsTicket>();
  readonly #kept: KeptTicket | undefined;

  /** @param kept holds one of them while the process does not run */
  constructor(kept?: KeptTicket) {
    this.#kept = kept;
  }

  /** Hands out a ticket and forgets it: a failed attempt has then dropped it, and TLS 1.3 wants each used once (RFC 8446 C.4). */
  take(place: TicketPlace): TlsTicket | undefined {
    const found = this.#tickets.get(place.id) ?? this.#kept?.take(place.binding);
    this.#tickets.delete(place.id);
    return found !== undefined && place.nowMs <= found.validUntilMs ? found : undefined;
  }

  keep({ id }: TicketPlace, ticket: TlsTicket): void {
    this.#tickets.delete(id);
    this.#tickets.set(id, ticket);
    dropOldest(this.#tickets, KEPT_SESSIONS);
  }

  /** The client leaves, perhaps with its process: a ticket is moved, never copied, to where it outlives that. */
  putAway(place: TicketPlace): void {
    const ticket = this.#tickets.get(place.id);
    if (ticket === undefined || this.#kept === undefined) return;
    this.#tickets.delete(place.id);
    this.#kept.keep(place.binding, ticket);
  }
}

function certificateContext(credential: CertificateCredential, key: KeyObject | undefined, versions: TlsVersions): SecureContext {
  const own = credential.kind === "mtls" && key !== undefined ? ownCertificate(credential, key) : {};
  const anchors = credential.trustAnchors.map((der) => parse(der, anchorUnreadable));
  return createSecureContext({
    ...versions,
    ciphers: MTLS_CIPHERS,
    sigalgs: MTLS_SIGNATURES,
    ecdhCurve: "P-256:P-384",
    // An anchor is trusted for what it is: a root, or an issuing CA alone.
    allowPartialTrustChain: true,
    ...own,
    ca: anchors.map(String),
  });
}

function ownCertificate({ slot, chain: ders }: MtlsCredential, key: KeyObject): { cert: string; key: string | Buffer } {
  const chain = ders.map((der) => parse(der, () => ownChainUnreadable(slot)));
  const leaf = chain[0];
  if (leaf === undefined)
    throw new HawserError("CERTIFICATE_REQUIRED", `no certificate for key slot "${slot}"`, "Enrol or provision the device.");
  if (!leaf.checkPrivateKey(key)) {
    throw new HawserError(
      "KEY_MISMATCH",
      `the certificate is not for the key in slot "${slot}"`,
      "Enrol a new key, or provision the device again.",
    );
  }
  return { cert: chain.map(String).join(""), key: key.export({ type: "pkcs8", format: "pem" }) };
}

function parse(der: Uint8Array, unreadable: () => HawserError): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch {
    throw unreadable();
  }
}

function ownChainUnreadable(slot: string): HawserError {
  return new HawserError(
    "CERTIFICATE_REJECTED",
    `the certificate chain for key slot "${slot}" cannot be read`,
    "Enrol or provision the device again.",
  );
}

function anchorUnreadable(): HawserError {
  return new HawserError("SERVER_CA_UNKNOWN", "a trust anchor cannot be read", "Provision the device again with the right trust anchors.");
}

function dropOldest(map: Map<string, unknown>, most: number): void {
  for (const id of map.keys()) {
    if (map.size <= most) return;
    map.delete(id);
  }
}
