/** What the process ends with, for every error code: the one table behind `--help` and the tests. */
import type { FailureCode } from "../../sdk/failure.js";

export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  credential: 3,
  network: 4,
  conflict: 5,
  data: 6,
  findings: 8,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** One line a code, as `--help` prints them. */
export const EXIT_MEANINGS: Readonly<Record<ExitCode, string>> = {
  0: "done",
  1: "failed for another reason; see the error line",
  2: "usage error: option, id, URL, port or duration",
  3: "credentials: passphrase, key, certificate or trust",
  4: "network, broker or serial line: unreachable, port in use, unverified",
  5: "conflict: name, directory or vault exists or is in use",
  6: "data: not found, not a CA or vault, damaged, or not writable",
  8: "the doctor found something at least as severe as --fail-on",
  130: "interrupted before it finished",
};

const USAGE = [
  "USAGE",
  "INVALID_ID",
  "RESERVED_NAME",
  "INVALID_ROLE",
  "INVALID_NAME",
  "INVALID_REASON",
  "INVALID_TOPIC",
  "INVALID_ATTRIBUTE",
  "BAD_URL",
  "BAD_DURATION",
  "BAD_PORT",
  "BAD_NUMBER",
  "BAD_HOST",
  "BAD_CONFIG",
  "NOT_A_DEVICE",
  "UNKNOWN_USER",
  "NOT_A_SERIAL_PORT",
  "BAD_VERSION",
  "BAD_CREDENTIALS_FILE",
  "UNKNOWN_RULE",
  "BAD_BAUD",
  "BAD_TOXIC",
  "BAD_PROXY",
  "BAD_KEY",
  "BAD_IMAGE",
];

const CREDENTIAL = [
  "WRONG_PASSPHRASE",
  "PASSPHRASE_REQUIRED",
  "PASSPHRASE_MISMATCH",
  "PASSPHRASE_FILE_UNREADABLE",
  "PASSPHRASE_FILE_EXPOSED",
  "WEAK_PASSPHRASE",
  "PASSPHRASE_CHANGED",
  "BAD_CERTIFICATE",
  "WRONG_SUBJECT",
  "ISSUER_EXPIRED",
  "BAD_PROOF",
  "SIGNATURE_WRONG",
  "BAD_IMAGE_KEY",
];

const CREDENTIAL_FAILURES: readonly FailureCode[] = [
  "SERVER_CA_UNKNOWN",
  "SERVER_NAME_MISMATCH",
  "SERVER_CERTIFICATE_EXPIRED",
  "SERVER_CERTIFICATE_NOT_YET_VALID",
  "SERVER_CERTIFICATE_INVALID",
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
];

const NETWORK = [
  "PORT_IN_USE",
  "LISTEN_FAILED",
  "MOSQUITTO_MISSING",
  "MOSQUITTO_FAILED",
  "NO_FREE_PORT",
  "OUTPUT_FAILED",
  "OUTPUT_REFUSED",
  "OUTPUT_NOT_RELOADED",
  "OUTPUT_UNPROVED",
  "SESSIONS_NOT_ENDED",
  "DEVICE_SILENT",
  "LINE_LOST",
  "SERIAL_IN_USE",
  "WATCHER_NOT_CONNECTED",
];

const NETWORK_FAILURES: readonly FailureCode[] = [
  "DNS_FAILED",
  "CONNECTION_REFUSED",
  "HOST_UNREACHABLE",
  "CONNECT_TIMEOUT",
  "CONNECTION_RESET",
  "CONNECTION_CLOSED",
  "KEEPALIVE_TIMEOUT",
  "TLS_FAILED",
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
  "UNSUPPORTED_PROTOCOL_VERSION",
  "MALFORMED_PACKET",
  "PROTOCOL_ERROR",
];

const CONFLICT = [
  "ID_EXISTS",
  "VAULT_EXISTS",
  "VAULT_IN_USE",
  "CA_EXISTS",
  "CA_BUSY",
  "OUT_EXISTS",
  "ALREADY_REVOKED",
  "ROLLOVER_UNFINISHED",
  "NO_ROLLOVER",
  "ISSUER_IN_USE",
  "ALREADY_PROVISIONED",
  "POLICY_CUTS_OFF",
];

const DATA = [
  "UNKNOWN_ID",
  "BAD_BROKER_CONFIG",
  "NOT_A_CA",
  "CA_CORRUPT",
  "CA_ROLLED_BACK",
  "CA_EXPOSED",
  "OUTPUT_EXPOSED",
  "CA_VERSION",
  "VAULT_NOT_FOUND",
  "VAULT_CORRUPT",
  "VAULT_TOO_NEW",
  "VAULT_TOO_OLD",
  "VAULT_EXPOSED",
  "NOT_PROVISIONED",
  "IDENTITY_CORRUPT",
  "STORAGE_FULL",
  "STORAGE_FAILED",
  "PERMISSION_DENIED",
  "NOT_FOUND",
  "POLICY_INVALID",
  "BAD_INVENTORY",
  "BAD_POLICY_TEST",
  "BAD_TABLE",
  "IMAGE_FULL",
  "IMAGE_DAMAGED",
];

const CODES = new Map<string, ExitCode>([
  ...USAGE.map((code) => [code, EXIT.usage] as const),
  ...[...CREDENTIAL, ...CREDENTIAL_FAILURES].map((code) => [code, EXIT.credential] as const),
  ...[...NETWORK, ...NETWORK_FAILURES].map((code) => [code, EXIT.network] as const),
  ...CONFLICT.map((code) => [code, EXIT.conflict] as const),
  ...DATA.map((code) => [code, EXIT.data] as const),
  ["INTERRUPTED", EXIT.interrupted],
]);

/** The exit code for an error's code; what the table does not know is a plain failure. */
export function exitCodeFor(code: string): ExitCode {
  return CODES.get(code) ?? EXIT.failed;
}
