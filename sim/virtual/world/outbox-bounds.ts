/** How much may wait in a device's outbox, as its traits say, with the margins that the SDK needs. */
import { MAX_MESSAGE_BYTES } from "../../../sdk/identity/enrolment.js";
import type { Bounds } from "../invariants/bounds-watch.js";
import type { DeviceTraits } from "./traits.js";

export const OUTBOX_BYTES = 262_144;

/**
 * A renewal's request and its report of success go out whatever the application has left waiting: without them the certificate would run
 * out.
 */
const RENEWAL_MESSAGES = 2;

/** What the outbox of a device may hold at most at any moment. */
export function outboxBounds(traits: DeviceTraits): Bounds {
  return {
    outboxMessages: traits.outboxMessages + outboxMargin(traits) + RENEWAL_MESSAGES,
    outboxBytes: OUTBOX_BYTES + RENEWAL_MESSAGES * MAX_MESSAGE_BYTES,
  };
}

/** A cut between storing a message and removing those that make room for it leaves one too many, until the next message comes. */
function outboxMargin({ persistent, overflow }: DeviceTraits): number {
  return persistent && overflow !== "reject" ? 2 : 0;
}
