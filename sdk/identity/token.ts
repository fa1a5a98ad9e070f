/**
 * A JSON Web Token (RFC 7519) signed by the device's own key slot with ES256 (RFC 7518 section 3.4): a second factor that expires by
 * itself.
 */
import { base64UrlEncode, utf8Encode } from "../encoding/text.js";
import type { KeyStore } from "../platform.js";

export interface TokenOptions {
  /** The `aud` claim: what the broker's verifier expects. */
  audience: string;
  /** Seconds, 60..86400; the device reconnects with a new token before it runs out. */
  lifetimeSeconds: number;
  /** The MQTT user name that goes with it; the device's id by default. */
  username?: string;
}

/** A token may be judged by a clock that is somewhat behind ours. */
const CLOCK_SKEW_SECONDS = 60;

/**
 * Makes a token for the device `id`, valid from a minute before `nowMs`.
 * @throws HawserError `KEY_MISSING`
 */
export function makeToken(keyStore: KeyStore, slot: string, id: string, options: TokenOptions, nowMs: number): string {
  const nowSeconds = Math.floor(nowMs / 1_000);
  const claims = {
    sub: id,
    iss: id,
    aud: options.audience,
    iat: nowSeconds - CLOCK_SKEW_SECONDS,
    exp: nowSeconds + options.lifetimeSeconds,
  };
  const signed = `${part({ alg: "ES256", typ: "JWT", kid: id })}.${part(claims)}`;
  return `${signed}.${base64UrlEncode(keyStore.sign(slot, utf8Encode(signed)))}`;
}

/** When to reconnect with a new token, milliseconds after it was made: at nine tenths of its life, less some jitter. */
export function tokenRefreshMs(options: TokenOptions, fraction: number): number {
  return options.lifetimeSeconds * 1_000 * (0.9 - 0.1 * fraction);
}

function part(value: object): string {
  return base64UrlEncode(utf8Encode(JSON.stringify(value)));
}
