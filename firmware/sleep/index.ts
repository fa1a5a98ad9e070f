/**
 * For devices that sleep: TLS sessions that outlive the sleep. A module of its own, which costs only the projects that import it.
 * @module hawser/sleep
 */
import type { Credential, Endpoint } from "../../sdk/platform.js";
import { KeptSession, sessionBinding, type KeptSessionParts } from "../../sdk/sleep/kept-tls-session.js";
import type { TlsEngines, TlsSession } from "../tls/tls-engine.js";

export type { KeptSessionParts } from "../../sdk/sleep/kept-tls-session.js";
export type { TlsEngines } from "../tls/tls-engine.js";

// How Moddable's compiler, and the XS host in CI, bind C functions.
declare function native<Callable>(name: string): Callable;

const isEmpty = native<(this: TlsSession) => boolean>("xs_tls_session_is_empty");
const seal = native<(this: TlsSession, slot: string, binding: Uint8Array) => ArrayBuffer | undefined>("xs_tls_session_seal");
const unseal = native<(this: TlsSession, slot: string, binding: Uint8Array, sealed: Uint8Array) => boolean>("xs_tls_session_unseal");

/**
 * The engines of `tls`, which resume in the next run of the program where the last one left: `openBoard({ keepSessions })`.
 * @param parts another `storage` than the board's, memory that outlives the sleep for instance, spares the flash
 */
export function keepSessions(tls: TlsEngines, parts: KeptSessionParts): TlsEngines {
  const kept = new KeptSession(parts);
  return { createEngine: () => tls.createEngine(), createSession: () => lasting(tls.createSession(), kept) };
}

/** The session's secrets stay in C: it comes here and goes from here sealed. */
function lasting(session: TlsSession, kept: KeptSession): TlsSession {
  let binding: Uint8Array = new Uint8Array(0);
  session.bind = (endpoint: Endpoint, credential: Extract<Credential, { trustAnchors: unknown }>): void => {
    binding = sessionBinding(endpoint, credential);
    if (isEmpty.call(session)) kept.take((sealed, slot) => unseal.call(session, slot, binding, sealed));
  };
  session.putAway = (): void => {
    if (isEmpty.call(session)) return;
    kept.keep((slot) => {
      const sealed = seal.call(session, slot, binding);
      return sealed && new Uint8Array(sealed);
    });
    // Moved, never copied: in this run it would be offered once more.
    session.clear();
  };
  return session;
}
