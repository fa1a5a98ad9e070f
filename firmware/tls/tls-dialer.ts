/**
 * The dialer of engines without a TLS of their own: any {@link ByteStreamOpener} below, any {@link TlsEngines} beside, both given. The
 * chip and the XS host in CI share it.
 */
import { failure, unknownCredential, type Failure, type Shown } from "../../sdk/failure.js";
import { errorMessage } from "../../sdk/errors.js";
import type { Credential, Dialer, Endpoint, Link, LinkHandlers, Scheduler } from "../../sdk/platform.js";
import { AddressTurns } from "./address-turns.js";
import type { ByteStreamOpener } from "./byte-stream.js";
import type { StreamLinkSurroundings } from "./stream-link.js";
import { PlainLink } from "./plain-link.js";
import { engineFailure, TLS_1_2, type TlsEngine, type TlsEngines, type TlsSession } from "./tls-engine.js";
import { TlsLink } from "./tls-link.js";

export interface TlsDialerParts {
  opener: ByteStreamOpener;
  scheduler: Scheduler;
  /** Left out, only `none` credentials can be dialled. */
  tls?: TlsEngines;
  /** The time by which server certificates are judged where the endpoint says none, milliseconds since the Unix epoch. */
  trustedTimeMs: () => number;
}

export interface TlsDialerOptions {
  /** Largest record asked of servers, bytes: 512, 1024, 2048 or 4096; not above the engine's own buffers. Default 4096. */
  maximumFragmentBytes?: 512 | 1024 | 2048 | 4096;
  /** 0x0303 (1.2) or 0x0304 (1.3); default both. */
  minimumVersion?: number;
  maximumVersion?: number;
  /** Resume mTLS sessions (default true). PSK links are never resumed: brokers then lose the identity. */
  resumption?: boolean;
}

type MtlsCredential = Extract<Credential, { kind: "mtls" }>;
type PskCredential = Extract<Credential, { kind: "psk" }>;
type ServerAuthCredential = Extract<Credential, { kind: "server-auth" }>;
type TlsCredential = MtlsCredential | PskCredential | ServerAuthCredential;

/** A device has one broker, and for a moment an old and a new certificate. */
const KEPT_SESSIONS = 2;

export class TlsDialer implements Dialer {
  readonly #parts: TlsDialerParts;
  readonly #surroundings: StreamLinkSurroundings;
  readonly #options: TlsDialerOptions;
  /** The engine itself refuses to resume with another credential, anchor or name; this only finds the right one. */
  readonly #sessions: { key: string; session: TlsSession }[] = [];

  constructor(parts: TlsDialerParts, options: TlsDialerOptions = {}) {
    this.#parts = parts;
    this.#surroundings = { opener: parts.opener, scheduler: parts.scheduler, turns: new AddressTurns() };
    this.#options = options;
  }

  dial(endpoint: Endpoint, credential: Credential, timeoutMs: number, handlers: LinkHandlers): Link {
    if (credential.kind === "none") return new PlainLink(this.#surroundings, endpoint, timeoutMs, handlers);
    if (!isTls(credential)) return this.#fail(unknownCredential(credential), handlers);
    const started = this.#started(endpoint, credential, false);
    if ("code" in started) return this.#fail(started, handlers);
    const fallback = (): TlsEngine | undefined => {
      const again = this.#started(endpoint, credential, true);
      return "code" in again ? undefined : again;
    };
    const mayFallBack =
      credential.kind !== "psk" && this.#options.maximumVersion === undefined && (this.#options.minimumVersion ?? 0) <= TLS_1_2;
    const shown = shownBy(credential);
    return new TlsLink(this.#surroundings, { endpoint, timeoutMs, shown, engine: started, ...(mayFallBack && { fallback }) }, handlers);
  }

  /** An engine with its first flight ready, or why there is none. */
  #started(endpoint: Endpoint, credential: TlsCredential, isFallback: boolean): TlsEngine | Failure {
    const address = `${endpoint.host}:${endpoint.port}`;
    let engine: TlsEngine | undefined;
    try {
      engine = this.#parts.tls?.createEngine();
      if (engine === undefined) return failure("TLS_FAILED", "this host has no TLS engine");
      const problem = configure(engine, credential);
      if (problem === undefined && this.#start(engine, endpoint, credential, isFallback)) return engine;
      const reason = problem ?? engineFailure(engine, shownBy(credential), address);
      engine.close();
      return reason;
    } catch (error) {
      // The natives throw where there is no memory for an engine or a session.
      engine?.close();
      return failure("TLS_FAILED", `TLS with ${address}: ${errorMessage(error)}`);
    }
  }

  #start(engine: TlsEngine, endpoint: Endpoint, credential: TlsCredential, isFallback: boolean): boolean {
    const { maximumFragmentBytes = 4096, minimumVersion = 0, maximumVersion = isFallback ? TLS_1_2 : 0, resumption = true } = this.#options;
    const session = resumption && credential.kind !== "psk" ? this.#session(endpoint, credential) : undefined;
    if (credential.kind !== "psk") session?.bind?.(endpoint, credential);
    const serverName = endpoint.serverName ?? endpoint.host;
    const validAtMs = endpoint.validAtMs ?? this.#parts.trustedTimeMs();
    return engine.start(serverName, validAtMs, session, maximumFragmentBytes, minimumVersion, maximumVersion, isFallback, endpoint.alpn);
  }

  #session(endpoint: Endpoint, credential: MtlsCredential | ServerAuthCredential): TlsSession | undefined {
    const key = `${endpoint.host}:${endpoint.port} ${credential.kind === "mtls" ? credential.slot : ""}`;
    const kept = this.#sessions.find((entry) => entry.key === key)?.session;
    if (kept !== undefined) return kept;
    const session = this.#parts.tls?.createSession();
    if (session !== undefined) this.#sessions.push({ key, session });
    if (this.#sessions.length > KEPT_SESSIONS) this.#sessions.shift();
    return session;
  }

  /** Ends an attempt before it began, but not before `dial` has returned. */
  #fail(reason: Failure, handlers: LinkHandlers): Link {
    let closed = false;
    this.#parts.scheduler.after(0, () => handlers.ended(closed ? failure("CLOSED_LOCALLY", "this side closed the connection") : reason));
    return {
      write: () => false,
      close: () => {
        closed = true;
      },
    };
  }
}

function isTls(credential: Credential): credential is TlsCredential {
  return credential.kind === "mtls" || credential.kind === "psk" || credential.kind === "server-auth";
}

function shownBy({ kind }: TlsCredential): Shown {
  return kind === "mtls" ? "certificate" : kind === "psk" ? "psk" : "no-certificate";
}

/** What is wrong with the credential, or undefined; other failures stay in the engine. */
function configure(engine: TlsEngine, credential: TlsCredential): Failure | undefined {
  if (credential.kind === "psk") {
    engine.usePsk(credential.slot, credential.identity);
    return undefined;
  }
  const own = credential.kind === "mtls" ? credential : undefined;
  if (own?.chain.length === 0) return failure("CERTIFICATE_REQUIRED", `no certificate for key slot "${own.slot}"`);
  if (!credential.trustAnchors.every((der) => engine.addAnchor(der)))
    return unreadable(engine, failure("SERVER_CA_UNKNOWN", "a trust anchor cannot be read"));
  if (own === undefined) return undefined;
  if (!own.chain.every((der) => engine.addCertificate(der))) {
    return unreadable(engine, failure("CERTIFICATE_REJECTED", `the certificate chain for key slot "${own.slot}" cannot be read`));
  }
  engine.useKey(own.slot);
  return undefined;
}

const FAILURE_NO_MEMORY = 4;

/** Too little memory says nothing about a certificate. */
function unreadable(engine: TlsEngine, reason: Failure): Failure | undefined {
  return engine.failure() === FAILURE_NO_MEMORY ? undefined : reason;
}
