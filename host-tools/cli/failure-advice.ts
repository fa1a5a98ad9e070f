/** What a person can do about each failure of a connection; the SDK's events say what happened, this says what next. */
import type { Failure, FailureCode } from "../../sdk/failure.js";
import { HawserError } from "../../sdk/errors.js";

const ADVICE: Partial<Record<FailureCode, string>> = {
  DNS_FAILED: "Check the host name in the URL and the name server.",
  CONNECTION_REFUSED: "Check that the broker is running and listens on this port.",
  HOST_UNREACHABLE: "Check the address in the URL and the route to it.",
  CONNECT_TIMEOUT: "Check the host and port, and whether a firewall drops packets.",
  TLS_FAILED: "Check that the URL names the broker's mTLS port, not its PSK or plain port, and see the broker's log.",
  SERVER_CA_UNKNOWN: "Check that this is the right broker: its certificate must come from the CA that issued this identity.",
  SERVER_NAME_MISMATCH: "Use a host name that is in the broker's certificate (`hawser ca init --broker-host`).",
  SERVER_CERTIFICATE_EXPIRED: "Renew the broker's certificate, and check this machine's clock.",
  SERVER_CERTIFICATE_NOT_YET_VALID: "Check the clocks of both machines.",
  SERVER_CERTIFICATE_INVALID: "Check the broker's certificate.",
  CERTIFICATE_EXPIRED: "Pass --psk-url so that the device can recover, or provision it again with --replace.",
  CERTIFICATE_REVOKED: "Pass --psk-url so that the device can recover, or provision it again with --replace.",
  CERTIFICATE_CA_UNKNOWN: "Check that this broker belongs to the CA that issued this identity.",
  CERTIFICATE_REQUIRED: "Provision the device again with --replace.",
  CERTIFICATE_REJECTED: "See the broker's log, or provision the device again with --replace.",
  KEY_MISSING: "Pass --psk-url so that the device can recover, or provision it again with --replace.",
  KEY_MISMATCH: "Pass --psk-url so that the device can recover, or provision it again with --replace.",
  PSK_REJECTED: "The device was shut out, or its pre-shared key was replaced: run `hawser list`.",
  NOT_AUTHORIZED: "See the broker's log and access rules; a revoked identity is also refused this way.",
};

/** A failure as an error a command can end with. */
export function failureError(failure: Failure, message: string = failure.message): HawserError {
  return new HawserError(failure.code, message, ADVICE[failure.code] ?? "See the broker's log.");
}
