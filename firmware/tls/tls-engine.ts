/** The TLS engine as TypeScript sees it (`firmware/native/tls-engine.h`): no IO, no callbacks; and what its failures mean to the SDK. */
import { alertFailure, failure, type Failure, type FailureCode, type Shown } from "../../sdk/failure.js";
import type { Credential, Endpoint } from "../../sdk/platform.js";

/** What a server gave to resume by; its content stays in C. */
export interface TlsSession {
  clear(): void;
  /** Told before each start what a connection is for: a session that outlives sleeps is looked for now (`firmware/sleep`). */
  bind?(endpoint: Endpoint, credential: Extract<Credential, { trustAnchors: unknown }>): void;
  /** The owner leaves a peer that accepted it: the session may outlive this run of the program. */
  putAway?(): void;
}

/** Methods that return false have failed the engine: ask `failure()`. */
export interface TlsEngine {
  /** A trust anchor, DER. */
  addAnchor(der: Uint8Array): boolean;
  /** A certificate of our chain, DER, leaf first. */
  addCertificate(der: Uint8Array): boolean;
  /** Whether the certificates lead to an anchor by signatures, names and rights, whatever their dates. Before `start`. */
  verifyChain(): boolean;
  useKey(slot: string): boolean;
  usePsk(slot: string, identity: string): boolean;
  /** @param maximumFragment largest record asked of the server: 512, 1024, 2048, 4096 bytes, or 0 not to ask */
  start(
    serverName: string,
    trustedTimeMs: number,
    session?: TlsSession,
    maximumFragment?: number,
    minimumVersion?: number,
    maximumVersion?: number,
    /** Refuses a server that knows TLS 1.3: see `is_fallback` in tls-engine.h. */
    isFallback?: boolean,
    /** The ALPN name to offer, at most 31 characters. */
    alpn?: string,
  ): boolean;
  /** @returns how many bytes from `offset` on were taken */
  feed(bytes: Uint8Array, offset: number): number;
  /** @returns the state it came to */
  handshake(): number;
  /** All bytes that wait for the peer. */
  pull(): ArrayBuffer | undefined;
  /** At most one record of plaintext. */
  read(): ArrayBuffer | undefined;
  /** @returns how many bytes from `offset` on were taken */
  write(bytes: Uint8Array, offset: number): number;
  /** @param mayReturn see `Link.close` */
  closeNotify(mayReturn?: boolean): void;
  state(): number;
  failure(): number;
  alert(): number;
  /** Whether the handshake is through with a server whose certificate, or pre-shared key, proves that it is one. */
  serverProved(): boolean;
  verifyFlags(): number;
  detail(): number;
  version(): number;
  cipherSuite(): number;
  resumed(): boolean;
  /** Frees the engine; harmless when repeated. */
  close(): void;
}

export interface TlsEngines {
  createEngine(): TlsEngine;
  createSession(): TlsSession;
}

export const TLS_HANDSHAKING = 1;
export const TLS_OPEN = 2;
export const TLS_CLOSED = 3;
export const TLS_FAILED = 4;

const FAILURE_ALERT = 1;
const FAILURE_VERIFY = 2;
const FAILURE_PROTOCOL = 3;
/** MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER */
const ILLEGAL_PARAMETER = -0x6600;
export const TLS_1_2 = 0x0303;

/**
 * Whether the server went down to TLS 1.2 and signed with RSA-PSS, which Mbed TLS has in 1.3 only: OpenSSL does so where its own order
 * counts. A hello for
 * 1.2 alone gets another signature.
 */
export function wantsFallback(engine: TlsEngine): boolean {
  return engine.failure() === FAILURE_PROTOCOL && engine.detail() === ILLEGAL_PARAMETER && engine.version() === TLS_1_2;
}

/** By `tls_failure_kind`, beyond alert and verify; what is no statement about our credential must not look like one. */
const CODE_OF_KIND: Readonly<Record<number, FailureCode>> = { 5: "KEY_MISSING", 6: "KEY_MISMATCH" };
const WORDS_OF_KIND: Readonly<Record<number, string>> = {
  3: "the server broke TLS or offers nothing this device accepts",
  4: "not enough memory for TLS",
  5: "the key of this credential is not in the key store",
  6: "the key is not the one in the certificate",
  7: "the TLS settings cannot be used",
  8: "crypto failed on this device",
};

/**
 * `TLS_VERIFY_` bits in the order in which they are reported when several are set: what cannot be judged, before who it is, before until
 * when, before under which name.
 */
const CODE_OF_FLAG: readonly (readonly [bit: number, code: FailureCode, words: string])[] = [
  [32, "SERVER_CERTIFICATE_INVALID", "its chain has a key, a hash or constraints that this device does not take"],
  [8, "SERVER_CA_UNKNOWN", "no chain from its certificate to a trusted CA"],
  [1, "SERVER_CERTIFICATE_EXPIRED", "its certificate has expired"],
  [2, "SERVER_CERTIFICATE_NOT_YET_VALID", "its certificate is not valid yet"],
  [16, "SERVER_CERTIFICATE_INVALID", "its certificate cannot be used"],
  [4, "SERVER_NAME_MISMATCH", "its certificate is for another name"],
];

/** The failure of an engine in state `TLS_FAILED`. */
export function engineFailure(engine: TlsEngine, shown: Shown, address: string): Failure {
  const kind = engine.failure();
  if (kind === FAILURE_ALERT) return alertFailure(engine.alert(), shown, engine.serverProved());
  if (kind === FAILURE_VERIFY) {
    const flags = engine.verifyFlags();
    const [, code, words] = CODE_OF_FLAG.find(([bit]) => (flags & bit) !== 0) ?? [
      0,
      "SERVER_CERTIFICATE_INVALID" as const,
      "its certificate was refused",
    ];
    return failure(code, `the server at ${address} did not prove who it is: ${words}`);
  }
  const detail = engine.detail();
  return failure(
    CODE_OF_KIND[kind] ?? "TLS_FAILED",
    `TLS with ${address}: ${WORDS_OF_KIND[kind] ?? "failed"}${detail === 0 ? "" : ` (${detail})`}`,
  );
}

const CIPHER_NAMES: Readonly<Record<number, string>> = {
  0x1301: "TLS_AES_128_GCM_SHA256",
  0x1302: "TLS_AES_256_GCM_SHA384",
  0x1303: "TLS_CHACHA20_POLY1305_SHA256",
  0xc02b: "ECDHE-ECDSA-AES128-GCM-SHA256",
  0xcca9: "ECDHE-ECDSA-CHACHA20-POLY1305",
  0xc02f: "ECDHE-RSA-AES128-GCM-SHA256",
  0xcca8: "ECDHE-RSA-CHACHA20-POLY1305",
  0xccac: "ECDHE-PSK-CHACHA20-POLY1305",
};

export function cipherName(suite: number): string {
  return CIPHER_NAMES[suite] ?? `0x${suite.toString(16)}`;
}

export function versionName(version: number): string {
  return version === 0x0304 ? "TLSv1.3" : "TLSv1.2";
}
