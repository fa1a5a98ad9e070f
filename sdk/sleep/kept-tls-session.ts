/**
 * A TLS session that outlives a sleep or a restart: one sealed record, good for one attempt. The engine of TLS seals and opens; when, under
 * which key and for whom is decided here, the same on every engine.
 *
 * The key is fresh for each record and destroyed before the session is offered: whoever brings back an older record, or carries one to
 * another device, has nothing that opens.
 */
import { joinBlocks } from "../encoding/blocks.js";
import { utf8Encode } from "../encoding/text.js";
import { errorMessage } from "../errors.js";
import type { Credential, Endpoint, Platform } from "../platform.js";

/** The slot of the key store that holds the key, and the name of the record. */
export const SESSION_SLOT = "tls-session";

/** No session is resumed later than this after the handshake in which the server showed its certificate (RFC 8446 section 4.6.1). */
export const LONGEST_SESSION_MS = 7 * 86_400_000;

const KEY_BYTES = 32;

export type KeptSessionParts = Pick<Platform, "keyStore" | "storage" | "random" | "log">;

export class KeptSession {
  constructor(private readonly parts: KeptSessionParts) {}

  /**
   * Keeps what `seal` makes, in place of what was kept. Never throws: a session that cannot be kept costs a full handshake.
   * @param seal encrypts with the key in `slot`; undefined when there is nothing to keep
   */
  keep(seal: (slot: string) => Uint8Array | undefined): void {
    const { keyStore, storage, random, log } = this.parts;
    try {
      const key = random.bytes(KEY_BYTES);
      keyStore.importPsk(SESSION_SLOT, key);
      key.fill(0);
      const sealed = seal(SESSION_SLOT);
      if (sealed !== undefined) storage.put(SESSION_SLOT, sealed);
    } catch (error) {
      log("warn", "a TLS session could not be kept", { error: errorMessage(error) });
    }
  }

  /**
   * Hands out what is kept, if it opens, and forgets it first: whatever happens from here on, it is offered at most once. Never throws.
   * @param open decrypts with the key in `slot`; undefined when that is not possible
   */
  take<Session>(open: (sealed: Uint8Array, slot: string) => Session | undefined): Session | undefined {
    const { keyStore, storage, log } = this.parts;
    try {
      const sealed = storage.get(SESSION_SLOT);
      if (sealed === undefined) return undefined;
      const session = keyStore.has(SESSION_SLOT) ? open(sealed, SESSION_SLOT) : undefined;
      keyStore.destroy(SESSION_SLOT);
      storage.delete(SESSION_SLOT);
      return session;
    } catch (error) {
      log("warn", "a kept TLS session could not be used", { error: errorMessage(error) });
      return undefined;
    }
  }
}

/**
 * All that a session belongs to, as bytes: the endpoint, the certificate chain and its key, the trust anchors. A record is sealed to them
 * and opens for nothing else, so that no session outlives a rotation or a change of anchors.
 */
export function sessionBinding(endpoint: Endpoint, credential: Extract<Credential, { trustAnchors: unknown }>): Uint8Array {
  const { host, port, serverName = host, alpn = "" } = endpoint;
  const own = credential.kind === "mtls" ? [utf8Encode(credential.slot), ...credential.chain] : [];
  const place = utf8Encode(JSON.stringify([credential.kind, host, port, serverName, alpn, own.length]));
  return joinBlocks([place, ...own, ...credential.trustAnchors]);
}
