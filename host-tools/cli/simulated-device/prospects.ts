/** What a device's events say about its prospects before its first connection: which failures leave it nothing to try. */
import type { Failure } from "../../../sdk/failure.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import type { FirstConnection } from "../first-connection.js";

type Disconnected = Extract<DeviceEvent, { type: "disconnected" }>;

/**
 * NOT_AUTHORIZED is also what a broker says that has not yet heard of a device made a moment ago: only the third one counts.
 */
const REFUSALS_BELIEVED = 3;

export class Prospects {
  #last: Disconnected | undefined;
  /** The SDK answered the last failure with another credential: there is still something to try. */
  #somethingElseToTry = false;
  #refusals = 0;

  /** @param recoverable the device may turn to its pre-shared key once it has been refused for long enough */
  constructor(
    private readonly first: FirstConnection,
    private readonly recoverable: boolean,
  ) {}

  observe(event: DeviceEvent): void {
    if (event.type === "connected") {
      this.first.succeeded();
    } else if (event.type === "disconnected") {
      this.#last = event;
      this.#somethingElseToTry = false;
    } else if (event.type === "credential-changed" || event.type === "identity-dropped") {
      this.#somethingElseToTry = true;
    } else if (event.type === "retrying" && this.#last !== undefined) {
      const { code, class: kind, message } = this.#last;
      const reason: Failure = { code, class: kind, message };
      this.first.failed(reason, this.#isHopeless(this.#last));
    }
  }

  #isHopeless(last: Disconnected): boolean {
    if (last.class === "server-trust") return true;
    if (last.class !== "credential" || (last.credential === "mtls" && (this.#somethingElseToTry || this.recoverable))) return false;
    if (last.code !== "NOT_AUTHORIZED") return true;
    this.#refusals += 1;
    return this.#refusals >= REFUSALS_BELIEVED;
  }
}
