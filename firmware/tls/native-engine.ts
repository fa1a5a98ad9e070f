/** The TLS engine in C (`firmware/native/tls-engine.h`) as objects. */
import type { TlsEngine, TlsEngines, TlsSession } from "./tls-engine.js";

// How Moddable's compiler, and the XS host in CI, bind C functions: `void xs_...(xsMachine *the)`, and a class whose instances a C
// destructor frees.
declare function native<Callable>(name: string): Callable;
declare function Native(destructorName: string): new () => object;

const create = native<(this: object) => void>("xs_tls_engine_create");
const addAnchor = native<(this: object, der: Uint8Array) => boolean>("xs_tls_engine_add_anchor");
const addCertificate = native<(this: object, der: Uint8Array) => boolean>("xs_tls_engine_add_certificate");
const verifyChain = native<(this: object) => boolean>("xs_tls_engine_verify_chain");
const useKey = native<(this: object, slot: string) => boolean>("xs_tls_engine_use_key");
const usePsk = native<(this: object, slot: string, identity: string) => boolean>("xs_tls_engine_use_psk");
const start =
  native<
    (
      this: object,
      name: string,
      timeMs: number,
      session?: object,
      fragment?: number,
      minimum?: number,
      maximum?: number,
      fallback?: boolean,
      alpn?: string,
    ) => boolean
  >("xs_tls_engine_start");
const feed = native<(this: object, bytes: Uint8Array, offset: number) => number>("xs_tls_engine_feed");
const handshake = native<(this: object) => number>("xs_tls_engine_handshake");
const pull = native<(this: object) => ArrayBuffer | undefined>("xs_tls_engine_pull");
const read = native<(this: object) => ArrayBuffer | undefined>("xs_tls_engine_read");
const write = native<(this: object, bytes: Uint8Array, offset: number) => number>("xs_tls_engine_write");
const closeNotify = native<(this: object) => void>("xs_tls_engine_close_notify");
const state = native<(this: object) => number>("xs_tls_engine_state");
const failure = native<(this: object) => number>("xs_tls_engine_failure");
const alert = native<(this: object) => number>("xs_tls_engine_alert");
const serverProved = native<(this: object) => boolean>("xs_tls_engine_server_proved");
const verifyFlags = native<(this: object) => number>("xs_tls_engine_verify_flags");
const detail = native<(this: object) => number>("xs_tls_engine_detail");
const version = native<(this: object) => number>("xs_tls_engine_version");
const cipherSuite = native<(this: object) => number>("xs_tls_engine_cipher_suite");
const resumed = native<(this: object) => boolean>("xs_tls_engine_resumed");
const close = native<(this: object) => void>("xs_tls_engine_close");

class NativeTlsEngine extends Native("xs_tls_engine_destructor") implements TlsEngine {
  /** C keeps a pointer to it: it must live as long as this. */
  #session: TlsSession | undefined;

  constructor() {
    super();
    create.call(this);
  }

  addAnchor(der: Uint8Array): boolean {
    return addAnchor.call(this, der);
  }
  addCertificate(der: Uint8Array): boolean {
    return addCertificate.call(this, der);
  }
  verifyChain(): boolean {
    return verifyChain.call(this);
  }
  useKey(slot: string): boolean {
    return useKey.call(this, slot);
  }
  usePsk(slot: string, identity: string): boolean {
    return usePsk.call(this, slot, identity);
  }
  start(
    serverName: string,
    trustedTimeMs: number,
    session?: TlsSession,
    maximumFragment = 0,
    minimumVersion = 0,
    maximumVersion = 0,
    isFallback = false,
    alpn = "",
  ): boolean {
    this.#session = session;
    return start.call(this, serverName, trustedTimeMs, this.#session, maximumFragment, minimumVersion, maximumVersion, isFallback, alpn);
  }
  feed(bytes: Uint8Array, offset: number): number {
    return feed.call(this, bytes, offset);
  }
  handshake(): number {
    return handshake.call(this);
  }
  pull(): ArrayBuffer | undefined {
    return pull.call(this);
  }
  read(): ArrayBuffer | undefined {
    return read.call(this);
  }
  write(bytes: Uint8Array, offset: number): number {
    return write.call(this, bytes, offset);
  }
  closeNotify(mayReturn?: boolean): void {
    closeNotify.call(this);
    if (mayReturn) this.#session?.putAway?.();
  }
  state(): number {
    return state.call(this);
  }
  failure(): number {
    return failure.call(this);
  }
  alert(): number {
    return alert.call(this);
  }
  serverProved(): boolean {
    return serverProved.call(this);
  }
  verifyFlags(): number {
    return verifyFlags.call(this);
  }
  detail(): number {
    return detail.call(this);
  }
  version(): number {
    return version.call(this);
  }
  cipherSuite(): number {
    return cipherSuite.call(this);
  }
  resumed(): boolean {
    return resumed.call(this);
  }
  close(): void {
    close.call(this);
    this.#session = undefined;
  }
}

const createSession = native<(this: object) => void>("xs_tls_session_create");
const clearSession = native<(this: object) => void>("xs_tls_session_clear");

class NativeTlsSession extends Native("xs_tls_session_destructor") implements TlsSession {
  constructor() {
    super();
    createSession.call(this);
  }

  clear(): void {
    clearSession.call(this);
  }
}

export const nativeTls: TlsEngines = {
  createEngine: () => new NativeTlsEngine(),
  createSession: () => new NativeTlsSession(),
};
