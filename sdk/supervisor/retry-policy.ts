/** What a failure asks for before the next attempt, over and above the backoff's own jittered delay. */
import type { Failure, FailureCode } from "../failure.js";

/**
 * Milliseconds that a reason by itself asks to wait. A reason that is not listed asks for nothing: the backoff alone decides.
 * - A takeover means another holder of this identity: two devices that answer at once would fight for ever.
 * - A ban or a wrong password does not change within minutes; asking again quickly only feeds the broker's lockout.
 */
const MINIMUM_MS: Partial<Record<FailureCode, number>> = {
  SERVER_BUSY: 5_000,
  SERVER_UNAVAILABLE: 2_000,
  QUOTA_EXCEEDED: 60_000,
  CONNECTION_RATE_EXCEEDED: 30_000,
  MESSAGE_RATE_TOO_HIGH: 10_000,
  SESSION_TAKEN_OVER: 10_000,
  ADMINISTRATIVE_ACTION: 1_000,
  BANNED: 600_000,
  BAD_USERNAME_OR_PASSWORD: 60_000,
  BAD_AUTHENTICATION_METHOD: 600_000,
  CLIENT_ID_REJECTED: 600_000,
  SERVER_NAME_MISMATCH: 10_000,
  SERVER_CA_UNKNOWN: 10_000,
  PROTOCOL_ERROR: 5_000,
  MALFORMED_PACKET: 5_000,
};

export function minimumDelayMs(failure: Failure): number {
  return MINIMUM_MS[failure.code] ?? 0;
}
