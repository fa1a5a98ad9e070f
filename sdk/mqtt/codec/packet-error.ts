/** How a broken packet is reported: with the failure it means and the reason code that MQTT 5.0 wants in the DISCONNECT. */
import type { FailureCode } from "../../failure.js";
import { HawserError } from "../../errors.js";

export class PacketError extends HawserError {
  override readonly name: string = "PacketError";

  constructor(
    readonly failureCode: FailureCode,
    /** Sent in DISCONNECT (MQTT 5.0, table 3-10). */
    readonly reasonCode: number,
    message: string,
  ) {
    super(failureCode, message, "Check the broker's version, and whether something else answers on this port.");
  }
}

/** A packet that does not follow its format (reason code 0x81). */
export function malformed(what: string): PacketError {
  return new PacketError("MALFORMED_PACKET", 0x81, `the broker sent a malformed packet: ${what}`);
}

/** A well-formed packet that may not come, or not now (reason code 0x82). */
export function protocolError(what: string): PacketError {
  return new PacketError("PROTOCOL_ERROR", 0x82, `the broker violated the protocol: ${what}`);
}
