/** What a person can do about each failure of a connection; the SDK's events say what happened, this says what next. */
import type { Failure, FailureCode } from "../../sdk/failure.js";
import { HawserError } from "../../sdk/errors.js";

const ADVICE: Partial<Record<FailureCode, string>> = {
  DNS_FAILED: "Check the host name in the URL and the name server.",
  CONNECTION_REFUSED: "Check that the broker runs and listens on this port.",
  HOST_UNREACHABLE: "Check the address in the URL and the way to it.",
  CONNECT_TIMEOUT: "Check host and port, and whether a firewall drops the packets.",
  TLS_FAILED: "Check that the URL names the broker's mTLS port, not its PSK port (nor one without TLS), and look into the broker's log.",
  SERVER_CA_UNKNOWN: "Check that this is the right broker; its certificate must come from the CA this identity was made by.",
  SERVER_NAME_MISMATCH: "Use a host name that is in the broker's certificate (`hawser ca init --broker-host`).",
  SERVER_CERTIFICATE_EXPIRED: "Renew the broker's certificate, and check this machine's clock.",
  SERVER_CERTIFICATE_NOT_YET_VALID: "Check the clocks of both machines.",
  SERVER_CERTIFICATE_INVALID: "Check the broker's certificate.",
  CERTIFICATE_EXPIRED: "Give --psk-url so that the device can recover, or provision it again with --replace.",
  CERTIFICATE_REVOKED: "Give --psk-url so that the device can recover, or provision it again with --replace.",
  CERTIFICATE_CA_UNKNOWN: "Check that this broker belongs to the CA that made this identity.",
  CERTIFICATE_REQUIRED: "Provision the device again with --replace.",
  CERTIFICATE_REJECTED: "Look into the broker's log, or provision the device again with --replace.",
  KEY_MISSING: "Give --psk-url so that the device can recover, or provision it again with --replace.",
  KEY_MISMATCH: "Give --psk-url so that the device can recover, or provision it again with --replace.",
  PSK_REJECTED: "The device was shut out, or its pre-shared key replaced: see `hawser list`.",
  NOT_AUTHORIZED: "Look into the broker's log and access rules; a revoked identity is refused like this, too.",
};

/** A failure as an error a command can end with. */
export function failureError(failure: Failure, message: string = failure.message): HawserError {
  return new HawserError(failure.code, message, ADVICE[failure.code] ?? "Look into the broker's log.");
}
