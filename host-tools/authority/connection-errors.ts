/** What ends the authority's connection, in the words of the SDK, whatever MQTT.js or Node called it. */
import { failure } from "../../sdk/failure.js";
import type { Failure } from "../../sdk/failure.js";
import { HawserError } from "../../sdk/errors.js";
import { connackFailure } from "../../sdk/mqtt/contract/reason-codes.js";
import { linkFailure } from "../../sim/node/tls-failure.js";

/** @param address "host:port", for messages */
export function connectionFailure(error: unknown, address: string, opened: boolean): Failure {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code === "number")
    return failure(connackFailure(code, 4, true).code, `the broker at ${address} refused the connection (CONNACK ${code})`, {
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
