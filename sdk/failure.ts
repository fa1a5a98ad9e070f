/**
 * What went wrong with a connection, in words that do not depend on the engine, and what each kind allows.
 *
 * Only the class `credential` speaks against a certificate, and how much is weighed in `supervisor/evidence.ts`: a network fault never
 * leads to PSK.
 */

/**
 * - `network`: the way to the broker. Retry with backoff, same credential.
 * - `server-trust`: the server could not prove who it is. Retry with backoff, never with another credential, report loudly.
 * - `credential`: the broker refused what this device showed, or the device has nothing to show.
 * - `broker`: the broker is there and answered, but not now (busy, quota, taken over, moved).
 * - `protocol`: one side broke MQTT.
 * - `local`: this side ended it on purpose.
 */
export type FailureClass = "network" | "server-trust" | "credential" | "broker" | "protocol" | "local";

/** Every code, by its class. */
const CODES = {
  network: [
    "DNS_FAILED",
    "CONNECTION_REFUSED",
    "HOST_UNREACHABLE",
    "CONNECT_TIMEOUT",
    "CONNECTION_RESET",
    "CONNECTION_CLOSED",
    "KEEPALIVE_TIMEOUT",
    "TLS_FAILED",
  ],
  "server-trust": [
    "SERVER_CA_UNKNOWN",
    "SERVER_NAME_MISMATCH",
    "SERVER_CERTIFICATE_EXPIRED",
    "SERVER_CERTIFICATE_NOT_YET_VALID",
    "SERVER_CERTIFICATE_INVALID",
  ],
  credential: [
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_CA_UNKNOWN",
    "CERTIFICATE_REQUIRED",
    "CERTIFICATE_REJECTED",
    "KEY_MISSING",
    "KEY_MISMATCH",
    "PSK_REJECTED",
    "NOT_AUTHORIZED",
    "BAD_USERNAME_OR_PASSWORD",
    "BAD_AUTHENTICATION_METHOD",
    "CLIENT_ID_REJECTED",
    "BANNED",
  ],
  broker: [
    "SERVER_UNAVAILABLE",
    "SERVER_BUSY",
    "SERVER_SHUTTING_DOWN",
    "QUOTA_EXCEEDED",
    "CONNECTION_RATE_EXCEEDED",
    "MESSAGE_RATE_TOO_HIGH",
    "ADMINISTRATIVE_ACTION",
    "MAXIMUM_CONNECT_TIME",
    "SESSION_TAKEN_OVER",
    "USE_ANOTHER_SERVER",
    "SERVER_MOVED",
    "DISCONNECTED_BY_SERVER",
    "RECOVERY_STALLED",
  ],
  protocol: [
    "UNSUPPORTED_PROTOCOL_VERSION",
    "MALFORMED_PACKET",
    "PROTOCOL_ERROR",
    "PACKET_TOO_LARGE",
    "RECEIVE_MAXIMUM_EXCEEDED",
    "TOPIC_ALIAS_INVALID",
    "CAPABILITY_NOT_SUPPORTED",
  ],
  local: ["CLOSED_LOCALLY", "STORAGE_FAILED", "LOGIN_FAILED", "BAD_CREDENTIAL"],
} as const satisfies Record<FailureClass, readonly string[]>;

export type FailureCode = (typeof CODES)[FailureClass][number];

const CLASS_OF = Object.fromEntries(Object.entries(CODES).flatMap(([name, codes]) => codes.map((code) => [code, name]))) as Readonly<
  Record<FailureCode, FailureClass>
>;

/** The codes of one class, for tables made from them: the exit codes of `hawser`. */
export function failureCodes(ofClass: FailureClass): readonly FailureCode[] {
  return CODES[ofClass];
}

/** One failure, with what the peer or the engine said about it. Plain data: it travels in events and logs. */
export interface Failure {
  readonly code: FailureCode;
  readonly class: FailureClass;
  /** One line for people; never a secret. */
  readonly message: string;
  /** The TLS alert number received, when there was one. */
  readonly alert?: number;
  /** The MQTT reason code (5.0) or CONNACK return code (3.1.1), when there was one. */
  readonly reasonCode?: number;
  /** Where to go instead: MQTT 5 Server Reference, sent with USE_ANOTHER_SERVER and SERVER_MOVED. */
  readonly serverReference?: string;
}

/** Builds a failure; its class follows from its code. */
export function failure(code: FailureCode, message: string, details: Omit<Failure, "code" | "class" | "message"> = {}): Failure {
  return { code, class: CLASS_OF[code], message, ...details };
}

/** What a dialer says of a credential that is of no kind it knows: plain JavaScript, or a newer program, may ask for one. */
export function unknownCredential(credential: { readonly kind?: unknown } | undefined): Failure {
  return failure("BAD_CREDENTIAL", `unknown credential kind ${String(credential?.kind)}: use mtls, psk, server-auth or none`);
}

/** What this side had shown of itself when an alert arrived; an alert's meaning depends on it. */
export type Shown = "certificate" | "no-certificate" | "psk";

/**
 * The failure behind a TLS alert sent by the server (RFC 8446 section 6.2), as real brokers send them (mosquitto and Node over OpenSSL).
 * An alert that says nothing of our credential is a network fault, so that it can never lead to PSK.
 *
 * @param isProtected the alert came encrypted, over a finished handshake with a server whose certificate is one for servers. Before that
 *   anybody on the
 *   way can send one: it then says nothing about our certificate. In TLS 1.2 a server refuses a certificate before it could protect its
 * alert. A refused
 *   pre-shared key leads to no weaker credential, so its alerts need no protection.
 */
export function alertFailure(alert: number, shown: Shown, isProtected: boolean): Failure {
  const pskCode = PSK_ALERTS.includes(alert) ? "PSK_REJECTED" : undefined;
  const code =
    (shown === "psk" ? pskCode : certificateFault(alert)) ??
    (alert === 40 && shown === "no-certificate" ? "CERTIFICATE_REQUIRED" : "TLS_FAILED");
  const message = `the server ended TLS with alert ${alert} (${ALERT_NAMES[alert] ?? "unknown"})`;
  if (isProtected || shown !== "certificate") return failure(code, message, { alert });
  return failure("TLS_FAILED", code === "TLS_FAILED" ? message : `${message}, which anyone on the network path could have sent`, { alert });
}

/** Whether an alert with this number refuses a certificate. */
export function namesCertificate(alert: number): boolean {
  return alert in CERTIFICATE_ALERTS;
}

const CERTIFICATE_ALERTS = {
  41: "REQUIRED",
  42: "REJECTED",
  43: "REJECTED",
  44: "REVOKED",
  45: "EXPIRED",
  46: "REJECTED",
  48: "CA_UNKNOWN",
  49: "REJECTED",
  116: "REQUIRED",
} as const;

/** What an alert says of the certificate shown. */
function certificateFault(alert: number): FailureCode | undefined {
  const found = CERTIFICATE_ALERTS[alert as keyof typeof CERTIFICATE_ALERTS] as
    (typeof CERTIFICATE_ALERTS)[keyof typeof CERTIFICATE_ALERTS] | undefined;
  return found && `CERTIFICATE_${found}`;
}

// A wrong identity is 40 in TLS 1.3 and 115 in 1.2; a wrong key is 47 in 1.3 and 20 in 1.2 (51 from other stacks).
const PSK_ALERTS: readonly number[] = [20, 40, 47, 49, 51, 115];

const ALERT_NAMES: Readonly<Record<number, string>> = {
  0: "close_notify",
  10: "unexpected_message",
  20: "bad_record_mac",
  40: "handshake_failure",
  41: "no_certificate",
  42: "bad_certificate",
  43: "unsupported_certificate",
  44: "certificate_revoked",
  45: "certificate_expired",
  46: "certificate_unknown",
  47: "illegal_parameter",
  48: "unknown_ca",
  49: "access_denied",
  50: "decode_error",
  51: "decrypt_error",
  70: "protocol_version",
  71: "insufficient_security",
  80: "internal_error",
  86: "inappropriate_fallback",
  109: "missing_extension",
  112: "unrecognized_name",
  115: "unknown_psk_identity",
  116: "certificate_required",
  120: "no_application_protocol",
};
