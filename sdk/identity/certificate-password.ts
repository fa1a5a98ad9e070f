/**
 * A password that belongs to a certificate: made of the pre-shared key within the key store, so that it is never kept anywhere, and
 * another one with every renewal. The CA makes the same one when it issues the certificate, and keeps its hash (docs/protocol.md).
 */
import { base64UrlEncode, utf8Encode } from "../encoding/text.js";
import type { KeyStore } from "../platform.js";
import { PSK_SLOT } from "./store.js";

/** The certificate that a device is about to show. */
export interface ShownCertificate {
  readonly certificate: {
    /** Lower-case hex without leading zeros. */
    readonly serial: string;
  };
}

/** What the pre-shared key authenticates (HMAC-SHA256); the password is the result in base64url. */
export function passwordInput(serial: string): Uint8Array {
  return utf8Encode(`hawser password\n${serial}`);
}

/**
 * A `login` for brokers that ask for a password beside the certificate.
 *
 * @example
 * new Device({ broker, login: certificatePassword(platform.keyStore) }, platform);
 * @returns a function that throws `KEY_MISSING` for a device without a pre-shared key
 */
export function certificatePassword(keyStore: Pick<KeyStore, "mac">): (shown?: ShownCertificate) => { password?: string } {
  return (shown) => (shown ? { password: base64UrlEncode(keyStore.mac(PSK_SLOT, passwordInput(shown.certificate.serial))) } : {});
}
