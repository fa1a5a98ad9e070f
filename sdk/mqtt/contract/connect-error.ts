/** The typed errors of the MQTT client that carry more than a code. */
import type { Failure } from "../../failure.js";
import { HawserError } from "../../errors.js";
import type { Properties } from "../codec/packet-types.js";
import { reasonErrorCode, reasonName, shownText } from "./reason-codes.js";

/** One connection attempt failed; the code is the failure's. */
export class ConnectError extends HawserError {
  override readonly name: string = "ConnectError";

  constructor(readonly failure: Failure) {
    super(failure.code, failure.message, "Try again later; the failure's class tells what may help.");
  }
}

const NO_PROPERTIES: Properties = Object.freeze({});

/** The broker refused one PUBLISH, SUBSCRIBE or UNSUBSCRIBE; the connection goes on. The code is the reason code's name in upper case. */
export class RefusedError extends HawserError {
  override readonly name: string = "RefusedError";
  /** The broker's own words, as they came; 5.0 only. */
  readonly reasonString: string | undefined;

  constructor(
    what: string,
    /** MQTT 5.0, table 2-6; 0x80 from a broker of 3.1.1. */
    readonly reasonCode: number,
    /** What came with the refusal; 5.0 only. */
    readonly properties: Properties = NO_PROPERTIES,
  ) {
    const { reasonString } = properties;
    const why = reasonString === undefined ? reasonName(reasonCode) : `${reasonName(reasonCode)} (${shownText(reasonString)})`;
    super(reasonErrorCode(reasonCode), `the broker refused ${what}: ${why}`, "Check the client's permissions and the broker's limits.");
    this.reasonString = reasonString;
  }
}

/** The broker ends the connection each time it is sent `what`, also when nothing else is under way. */
export function hangsUpError(what: string): HawserError {
  return new HawserError(
    "BROKER_HANGS_UP",
    `the broker closes the connection each time it receives ${what}`,
    "Check the client's permissions, and the broker's size and topic limits.",
  );
}
