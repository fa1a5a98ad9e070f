/** The typed errors of the MQTT client that carry more than a code. */
import type { Failure } from "../failure.js";
import { HawserError } from "../errors.js";
import { reasonErrorCode, reasonName } from "./link/reason-codes.js";

/** One connection attempt failed; the code is the failure's. */
export class ConnectError extends HawserError {
  override readonly name: string = "ConnectError";

  constructor(readonly failure: Failure) {
    super(failure.code, failure.message, "Try again later; the failure's class tells what may help.");
  }
}

/** The broker refused one PUBLISH, SUBSCRIBE or UNSUBSCRIBE; the connection goes on. The code is the reason code's name in upper case. */
export class RefusedError extends HawserError {
  override readonly name: string = "RefusedError";

  constructor(
    what: string,
    /** MQTT 5.0, table 2-6; 0x80 from a broker of 3.1.1. */
    readonly reasonCode: number,
  ) {
    super(reasonErrorCode(reasonCode), `the broker refused ${what}: ${reasonName(reasonCode)}`, "Check the client's permissions and the broker's limits.");
  }
}
