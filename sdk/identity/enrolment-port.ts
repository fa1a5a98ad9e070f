/** How a device gets its certificates where Hawser's authority does not issue them. Types only: they cost a chip nothing. */
import type { ChainVerifier } from "../platform.js";
import type { EnrolmentError } from "./enrolment.js";

/** Another way to a new certificate than Hawser's authority over MQTT, for instance `estEnrolment` of `hawser/node`. */
export interface Enrolment {
  /**
   * Asks for a certificate. The device checks the chain that comes, stores it, proves it on a connection to its broker, and only then gives
   * up the certificate before. A promise that rejects, an error, or no answer within 30 seconds is the event `renewal-failed`, and the
   * device asks again with backoff, for the same key: whoever is asked twice may issue twice. A chain that comes late counts, as long as
   * the device still waits for one.
   * @param csr PKCS#10, DER, with the device's id as its common name
   * @param current the identity that serves; undefined before the first one
   */
  request(csr: Uint8Array, current: CurrentIdentity | undefined): Promise<EnrolmentReply>;
  /**
   * Judges the chains that come, in place of the platform's verifier: where nobody publishes the CA that issues. Whatever it lets pass
   * still has to be for the device's key and id, and to be accepted by the broker. Default: a chain has to lead to a trust anchor, or to a
   * CA of the present chain.
   */
  readonly chains?: ChainVerifier;
}

/** A certificate chain, DER, leaf first, and the key-store slot that signs for it. */
export interface CurrentIdentity {
  readonly keySlot: string;
  readonly chain: readonly Uint8Array[];
}

/** The chain, DER, leaf first, without the root; or the refusal. */
export type EnrolmentReply = { readonly chain: readonly Uint8Array[] } | { readonly error: EnrolmentError };
