/** Which broker a device tries next: of several in order, with a return to the first, or where a server sends it. */
import type { Failure } from "../failure.js";
import type { Cancel, Endpoint, Platform } from "../platform.js";
import { redirectTarget } from "./redirect.js";

/** How long a spare broker serves before the first is tried again: between half of it and all of it, drawn by each device. */
const RETURN_MS = 3_600_000;

export class BrokerTurns {
  #at = 0;
  #redirect: Endpoint | undefined;
  #cancelReturn: Cancel | undefined;

  /**
   * @param brokers the preferred one first
   * @param redirects `host:port` of brokers that a server may send this device to
   * @param comeBack ends the connection with a spare broker, for one with the first
   */
  constructor(
    private readonly brokers: readonly Endpoint[],
    private readonly redirects: readonly string[],
    private readonly platform: Pick<Platform, "scheduler" | "random">,
    private readonly comeBack: () => void,
  ) {}

  get current(): Endpoint | undefined {
    return this.#redirect ?? this.brokers[this.#at];
  }

  /** A spare broker is left after a while, whatever became of the first: one reconnect, and one more where the first is still away. */
  serving(): void {
    if (this.#at === 0 || this.#redirect) return;
    const { scheduler, random } = this.platform;
    this.#cancelReturn = scheduler.after(RETURN_MS * (0.5 + random.fraction() / 2), () => {
      this.#at = 0;
      this.comeBack();
    });
  }

  /** The connection is over. */
  left(): void {
    this.#cancelReturn?.();
  }

  /**
   * An attempt or a connection has failed.
   * @param wasStable it had served for a while: whoever loses a good connection begins with the first broker again
   * @returns where the server sends this device, when that broker is on the list; it is left when it fails
   */
  failed(reason: Failure, wasStable: boolean): Endpoint | undefined {
    const target = redirectTarget(reason, this.redirects);
    if (wasStable) this.#at = 0;
    // What a broker says of a credential, any other would say as well; the ladder deals with it.
    else if (!target && !this.#redirect && reason.class !== "credential" && reason.class !== "local")
      this.#at = (this.#at + 1) % this.brokers.length;
    this.#redirect = target;
    return target;
  }
}
