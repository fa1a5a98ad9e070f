/** What ends the authority's connection, in the words of the SDK, whatever MQTT.js or Node called it. */
import { failure } from "../../sdk/failure.js";
import type { Failure, FailureCode } from "../../sdk/failure.js";
import { HawserError } from "../../sdk/errors.js";
import { linkFailure } from "../../sim/node/tls-failure.js";

/** CONNACK return codes of MQTT 3.1.1, section 3.2.2.3, and reason codes of MQTT 5.0, table 3-1. */
const CONNACK_CODES: Readonly<Record<number, FailureCode>> = {
  1: "UNSUPPORTED_PROTOCOL_VERSION",
  2: "CLIENT_ID_REJECTED",
  3: "SERVER_UNAVAILABLE",
  4: "BAD_USERNAME_OR_PASSWORD",
  5: "NOT_AUTHORIZED",
  0x84: "UNSUPPORTED_PROTOCOL_VERSION",
  0x85: "CLIENT_ID_REJECTED",
  0x86: "BAD_USERNAME_OR_PASSWORD",
  0x87: "NOT_AUTHORIZED",
  0x88: "SERVER_UNAVAILABLE",
  0x89: "SERVER_BUSY",
  0x8a: "BANNED",
};

/** @param address "host:port", for messages */
export function connectionFailure(error: unknown, address: string, opened: boolean): Failure {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code === "number")
    return failure(CONNACK_CODES[code] ?? "PROTOCOL_ERROR", `the broker at ${address} refused the connection (CONNACK ${code})`, {
      reasonCode: code,
    });
  if (error instanceof Error && error.message === "connack timeout")
    return failure("CONNECT_TIMEOUT", `the broker at ${address} did not answer in time`);
  if (error instanceof Error && error.message === "Keepalive timeout")
    return failure("KEEPALIVE_TIMEOUT", `the broker at ${address} no longer answers`);
  return linkFailure(error, { address, shown: "certificate", opened, isServerProved: opened });
}

/** The service's own trouble (its CA cannot issue) as the end of an attempt. */
export function ownFailure(error: unknown): Failure {
  return failure(
    "CERTIFICATE_REQUIRED",
    `no certificate for the authority itself: ${error instanceof HawserError ? `${error.code}: ${error.message}` : String(error)}`,
  );
}
