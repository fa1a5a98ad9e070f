/** A TLS ticket that outlives its process, sealed with Node's crypto. When and for whom: `sdk/sleep/kept-tls-session.ts`. */
import { errorCode } from "../../sdk/errors.js";
import { KeptSession, type KeptSessionParts } from "../../sdk/sleep/kept-tls-session.js";
import type { LinkKeys } from "./node-key-store.js";
import { seal, unseal } from "./vault/sealed.js";

/** What resumes a session, and until when it may. */
export interface TlsTicket {
  /** As Node's `session` event gives it. */
  readonly session: Buffer;
  /** Milliseconds since the Unix epoch. */
  readonly validUntilMs: number;
}

const HEAD_BYTES = 8;

export class KeptTicket {
  readonly #kept: KeptSession;
  readonly #keys: LinkKeys;

  constructor(parts: KeptSessionParts & { readonly keyStore: LinkKeys }) {
    this.#kept = new KeptSession(parts);
    this.#keys = parts.keyStore;
  }

  keep(binding: Uint8Array, { session, validUntilMs }: TlsTicket): void {
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeDoubleBE(validUntilMs);
    this.#kept.keep((slot) => seal(this.#keys.psk(slot), Buffer.concat([head, session]), purpose(binding)));
  }

  /** @returns undefined where there is none, or one of another device, endpoint, certificate or anchor; it is gone then all the same */
  take(binding: Uint8Array): TlsTicket | undefined {
    const bytes = this.#kept.take((sealed, slot) => opened(this.#keys.psk(slot), sealed, purpose(binding)));
    if (bytes === undefined || bytes.length <= HEAD_BYTES) return undefined;
    return { session: bytes.subarray(HEAD_BYTES), validUntilMs: bytes.readDoubleBE() };
  }
}

function purpose(binding: Uint8Array): string {
  return `TLS session for ${Buffer.from(binding).toString("base64")}`;
}

function opened(key: Uint8Array, sealed: Uint8Array, belongsTo: string): Buffer | undefined {
  try {
    return unseal(key, sealed, belongsTo);
  } catch (error) {
    if (errorCode(error) === "SEAL_BROKEN") return undefined;
    throw error;
  }
}
