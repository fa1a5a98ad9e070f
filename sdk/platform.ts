/**
 * The ports through which the SDK meets the world.
 *
 * Everything an engine or an operating system provides comes in here, injected per device and never through globals: that is what lets
 * the same SDK run on Node, on XS on an ESP32, and in a virtual world where no real time passes.
 *
 * All ports are synchronous but the dialer, whose answers come through {@link LinkHandlers}. A port may throw a `HawserError`.
 * No port calls back into the SDK before the call that registered the callback has returned.
 */
import type { Failure } from "./failure.js";

/** Cancels what was scheduled. Calling it again, or after the run, does nothing. */
export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since some fixed moment; never goes back, not even when the wall clock is set. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch as this machine believes, right or wrong. */
  wallMs(): number;
  /** True once the wall clock came from a source worth trusting (SNTP, an RTC with battery, an operating system). */
  wallTrusted(): boolean;
}

export interface Scheduler {
  /** Runs `run` once, `delayMs` (0 or more) milliseconds from now, never before this call returned. */
  after(delayMs: number, run: () => void): Cancel;
}

export interface Random {
  /** Cryptographically strong random bytes. */
  bytes(sizeBytes: number): Uint8Array;
  /** Uniform in [0, 1): jitter and the like, never secrets. */
  fraction(): number;
}

/** Where a connection goes, and by what the server is judged. */
export interface Endpoint {
  host: string;
  /** 1..65535 */
  port: number;
  /** The name the server certificate must carry (and the SNI), when it is not `host`. */
  serverName?: string;
  /**
   * The ALPN name to offer (RFC 7301), 1..31 characters: for brokers behind a port that several protocols share, such as `x-amzn-mqtt-ca`
   * on port 443 of AWS
   * IoT Core. A server that knows ALPN and not this name ends the handshake (alert 120); one without ALPN ignores it.
   */
  alpn?: string;
  /**
   * The trusted time, milliseconds since the Unix epoch, by which the server certificate's dates are judged. An engine that can only ask
   * the operating system's clock (Node) ignores it.
   */
  validAtMs?: number;
}

/**
 * What this side shows of itself.
 * - `mtls`: the certificate chain (DER, leaf first, no root) and the key-store slot that signs for it; the server is judged by
 *   `trustAnchors` (DER).
 * - `psk`: the pre-shared key in a key-store slot and the identity that names it.
 * - `server-auth`: nothing: TLS that only proves the server, judged by `trustAnchors` (DER). What signs in is in the MQTT CONNECT.
 * - `none`: a plaintext link: for gateways and tests through `hawser/mqtt`. `Device` never asks for it.
 */
export type Credential =
  | { kind: "mtls"; slot: string; chain: readonly Uint8Array[]; trustAnchors: readonly Uint8Array[] }
  | { kind: "psk"; slot: string; identity: string }
  | { kind: "server-auth"; trustAnchors: readonly Uint8Array[] }
  | { kind: "none" };

/** What a finished handshake settled; for events and logs. */
export interface LinkInfo {
  /** "TLSv1.3", "TLSv1.2", or "none" for plaintext. */
  tlsVersion: string;
  cipher: string;
  resumed: boolean;
  /**
   * False where the server's certificate does not say that it is one for servers (serverAuth, RFC 5280 section 4.2.1.12): what such a
   * server refuses is no verdict on our certificate, because another device of the same CA could stand in its place.
   */
  serverAuth?: false;
}

/**
 * How a link reports. `opened` comes at most once, then any number of `data` and `drain`, then exactly one `ended`, after which nothing
 * more comes; `ended` may come without `opened`. After the owner called `close()`, `ended` still comes, with code `CLOSED_LOCALLY`.
 */
export interface LinkHandlers {
  /** TCP and TLS are up. In TLS 1.3 the server's verdict on our certificate is still to come: a connection is proved by CONNACK only. */
  opened(info: LinkInfo): void;
  /** Bytes from the peer. They are the receiver's only until it returns. */
  data(bytes: Uint8Array): void;
  /** Room again after `write` had returned false. */
  drain(): void;
  /** The one end, with its reason in the SDK's vocabulary whatever the engine called it. */
  ended(failure: Failure): void;
}

/** One byte stream to a broker: TLS, or plain TCP in tests and gateways. */
export interface Link {
  /**
   * Queues bytes to send; the link may keep the array, so the caller must not change it afterwards.
   * @returns false when the link's buffer is full: the bytes are taken all the same, wait for `drain` before more.
   */
  write(bytes: Uint8Array): boolean;
  /**
   * Reads no more, so that the peer comes to a halt: what was read already may still come. A link that has no such thing leaves both out;
   * what is too much for its owner is then read and thrown away.
   */
  pause?(): void;
  /** Reads again. What comes of it is not reported before this call has returned. */
  resume?(): void;
  /**
   * Sends what is queued, closes in an orderly way, then reports `ended`. Idempotent.
   * @param mayReturn the peer accepted the owner and never took it back: what makes the next connection cheaper (a TLS session) may be kept
   */
  close(mayReturn?: boolean): void;
}

export interface Dialer {
  /**
   * Starts one connection attempt: DNS, TCP and TLS within `timeoutMs`. Never throws: what goes wrong, a missing key included, comes
   * through `handlers.ended`.
   */
  dial(endpoint: Endpoint, credential: Credential, timeoutMs: number, handlers: LinkHandlers): Link;
}

/**
 * Private keys and pre-shared keys live in named slots and never leave them: there is no export.
 * Slot names: 1..15 characters of `[a-z0-9-]`. Each change is atomic and durable when the call returns.
 */
export interface KeyStore {
  /** Makes a new P-256 key pair in the slot, replacing what was there. */
  generate(slot: string): void;
  /** A PKCS#10 request (DER) for the slot's key with subject `CN=commonName`, signed with ECDSA-SHA256. Throws `KEY_MISSING`. */
  csr(slot: string, commonName: string): Uint8Array;
  /** ECDSA-SHA256 over `data` as the 64 bytes r || s (RFC 7518 section 3.4), for JWT ES256. Throws `KEY_MISSING`. */
  sign(slot: string, data: Uint8Array): Uint8Array;
  /** The public key of the slot as DER SubjectPublicKeyInfo. Throws `KEY_MISSING`. */
  publicKey(slot: string): Uint8Array;
  /** HMAC-SHA256 over `data` with the pre-shared key in the slot, 32 bytes. Throws `KEY_MISSING`. */
  mac(slot: string, data: Uint8Array): Uint8Array;
  /** Stores a pre-shared key of 16..64 bytes. */
  importPsk(slot: string, key: Uint8Array): void;
  /** Removes the slot; nothing happens when it is empty. */
  destroy(slot: string): void;
  has(slot: string): boolean;
}

/**
 * Small durable records. Keys: 1..15 characters of `[a-z0-9._-]` (the limit of ESP32's NVS). Each `put` and `delete` is atomic on its own
 * and durable when it returns; a sequence of them may stop anywhere. Throws `STORAGE_FULL` or `STORAGE_FAILED`.
 */
export interface Storage {
  get(key: string): Uint8Array | undefined;
  put(key: string, value: Uint8Array): void;
  /** Nothing happens when the key is absent. */
  delete(key: string): void;
  /** The keys that start with `prefix`, sorted by code unit. */
  list(prefix: string): string[];
}

/** Whether this machine is on a network at all: joined to its access point, with an address. Says nothing about what lies beyond it. */
export interface Network {
  readonly isUp: boolean;
  /** Calls `changed` after each change of `isUp`, until cancelled. */
  onChange(changed: () => void): Cancel;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Diagnostics for people; nothing depends on it. Never given a secret. */
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, string | number | boolean>>) => void;

/** Judges certificates of this device before they are stored. */
export interface ChainVerifier {
  /**
   * Whether signatures, names and rights lead from the first certificate of `chain` (DER, leaf first) over the others to one of
   * `trustAnchors` (DER). Dates are not judged: that is done by trusted time. False also for what cannot be read.
   */
  leadsTo(chain: readonly Uint8Array[], trustAnchors: readonly Uint8Array[]): boolean;
}

/** All that a device needs of its surroundings. */
export interface Platform {
  clock: Clock;
  scheduler: Scheduler;
  random: Random;
  dialer: Dialer;
  keyStore: KeyStore;
  chains: ChainVerifier;
  storage: Storage;
  log: Log;
  /** Left out where the machine cannot tell: attempts then show whether there is a network. */
  network?: Network;
}
