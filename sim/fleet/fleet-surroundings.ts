/** What all devices of a process have around them, and faults change as they run: whether names resolve, and what time it seems to be. */
import { failure } from "../../sdk/failure.js";
import type { Clock, Dialer, Link, LinkHandlers, Platform } from "../../sdk/platform.js";

export class FleetSurroundings {
  namesResolve = true;
  /** How far every device's wall clock is ahead, milliseconds. */
  clockAheadMs = 0;

  /** The same platform, within these surroundings. */
  around(platform: Platform): Platform {
    const { clock, dialer } = platform;
    const shifted: Clock = {
      monotonicMs: () => clock.monotonicMs(),
      wallMs: () => clock.wallMs() + this.clockAheadMs,
      wallTrusted: () => clock.wallTrusted(),
    };
    const looking: Dialer = {
      dial: (endpoint, credential, timeoutMs, handlers) =>
        this.namesResolve ? dialer.dial(endpoint, credential, timeoutMs, handlers) : unresolved(endpoint.host, handlers),
    };
    return { ...platform, clock: shifted, dialer: looking };
  }
}

/** An attempt that ends as one does whose name server knows no such name. */
function unresolved(host: string, handlers: LinkHandlers): Link {
  let isOver = false;
  const end = (reason: ReturnType<typeof failure>): void => {
    if (isOver) return;
    isOver = true;
    handlers.ended(reason);
  };
  setImmediate(() => end(failure("DNS_FAILED", `${host} cannot be resolved`)));
  return { write: () => true, close: () => setImmediate(() => end(failure("CLOSED_LOCALLY", "this client disconnected"))) };
}
