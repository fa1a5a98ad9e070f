/**
 * Whether a service that reconnects for ever has any chance at all. A person at a command line wants to be told of a wrong URL: so until
 * the first connection stands, a timeout ends the run, and what no retry can mend ends it at once.
 */
import { failure } from "../../sdk/failure.js";
import type { Failure } from "../../sdk/failure.js";
import type { HawserError } from "../../sdk/errors.js";
import { failureError } from "./failure-advice.js";

export class FirstConnection {
  /** Rejects with the reason to give up; resolves with the first connection. */
  readonly settled: Promise<void>;
  #resolve: () => void = () => undefined;
  #reject: (error: HawserError) => void = () => undefined;
  #last: Failure | undefined;
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

  /** An attempt failed. */
  failed(reason: Failure, isHopeless: boolean): void {
    this.#last = reason;
    if (isHopeless && this.timeoutMs > 0) this.#giveUp(failureError(reason));
  }

  /** The first connection stands, or the run ends for another reason: no verdict any more. */
  succeeded(): void {
    this.#finish();
    this.#resolve();
  }

  #timedOut(): void {
    const last = this.#last ?? failure("CONNECT_TIMEOUT", "the broker did not answer");
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
