/** What an ended connection tells about the items that were under way on it. */
import type { Failure, FailureCode } from "../../failure.js";

/**
 * Why a connection ended:
 * - `broker`: the broker ended it without saying why; any of the unanswered items may be the reason.
 * - `item`: it gave a reason code that one item's content explains.
 * - `unanswered`: this client ended it, because the oldest item was not answered in time.
 * - `none`: no item is to blame.
 */
export type Blame = "broker" | "item" | "unanswered" | "none";

/** Ways of a link to end that look the same whether the broker or the network did it. */
const UNEXPLAINED: ReadonlySet<FailureCode> = new Set<FailureCode>(["CONNECTION_RESET", "CONNECTION_CLOSED", "TLS_FAILED"]);

/** Malformed packet, protocol error, not authorized, and what says nothing at all (MQTT 5.0, table 2-6). */
const VAGUE: readonly number[] = [0x80, 0x81, 0x82, 0x83, 0x87];
/** Filter or topic invalid, packet too large, payload format invalid, retain, QoS, shared, identifiers, wildcards not supported. */
const OF_AN_ITEM: readonly number[] = [0x8f, 0x90, 0x95, 0x99, 0x9a, 0x9b, 0x9e, 0xa1, 0xa2];

export function linkBlame(reason: Failure): Blame {
  return UNEXPLAINED.has(reason.code) ? "broker" : "none";
}

/** What a DISCONNECT with this reason code blames. */
export function disconnectBlame(reasonCode: number): Blame {
  if (OF_AN_ITEM.includes(reasonCode)) return "item";
  return VAGUE.includes(reasonCode) ? "broker" : "none";
}
