/**
 * Whether a simulated device has any chance at all. A device retries for ever; a person at a command line wants to be told of a wrong URL or
 * a wrong vault. So until the first connection stands, what no retry can mend ends the run, and a timeout ends the rest.
 */
import type { Failure } from "../../../sdk/connection/failure.js";
import { failure } from "../../../sdk/connection/failure.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import type { HawserError } from "../../../sdk/errors.js";
import { failureError } from "../failure-advice.js";

type Disconnected = Extract<DeviceEvent, { type: "disconnected" }>;

export class FirstConnection {
  /** Rejects with the reason to give up; resolves with the first connection. */
  readonly settled: Promise<void>;
  #resolve: () => void = () => undefined;
  #reject: (error: HawserError) => void = () => undefined;
  #last: Disconnected | undefined;
  /** The SDK answered the last failure with another credential: there is still something to try. */
  #somethingElseToTry = false;
  #timer: NodeJS.Timeout | undefined;
  #done = false;

  /** @param timeoutMs 0: never give up, whatever happens */
  constructor(
    private readonly url: string,
    private readonly timeoutMs: number,
  ) {
    this.settled = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (timeoutMs > 0) this.#timer = setTimeout(() => this.#timedOut(), timeoutMs);
  }

  observe(event: DeviceEvent): void {
    if (this.#done) return;
    if (event.type === "connected") this.cancel();
    else if (this.timeoutMs > 0) this.#judge(event);
  }

  /** Ends the watch without a verdict against the device. */
  cancel(): void {
    this.#finish();
    this.#resolve();
  }

  #judge(event: DeviceEvent): void {
    if (event.type === "disconnected") {
      this.#last = event;
      this.#somethingElseToTry = false;
    } else if (event.type === "rung-changed" || event.type === "identity-dropped") {
      this.#somethingElseToTry = true;
    } else if (event.type === "retrying" && this.#last !== undefined && this.#isHopeless(this.#last)) {
      this.#giveUp(failureError(this.#last));
    }
  }

  #isHopeless(last: Disconnected): boolean {
    if (last.class === "server-trust") return true;
    return last.class === "credential" && (last.credential === "psk" || !this.#somethingElseToTry);
  }

  #timedOut(): void {
    const last: Failure = this.#last ?? failure("CONNECT_TIMEOUT", "the broker did not answer");
    this.#giveUp(failureError(last, `no connection to ${this.url} within ${this.timeoutMs / 1000} s: ${last.message}`));
  }

  #giveUp(error: HawserError): void {
    if (this.#done) return;
    this.#finish();
    this.#reject(error);
  }

  #finish(): void {
    this.#done = true;
    clearTimeout(this.#timer);
  }
}
