/** One orderly stop for SIGINT, SIGTERM and the end of npx; a second signal ends the process at once. */
import { HawserError } from "../../sdk/errors.js";
import { EXIT } from "./exit-codes.js";

export class StopSignal {
  #requested = false;
  #resolve: () => void = () => undefined;
  /** Settles when a stop is asked for. */
  readonly asked = new Promise<void>((resolve) => {
    this.#resolve = resolve;
  });

  get requested(): boolean {
    return this.#requested;
  }

  request(): void {
    this.#requested = true;
    this.#resolve();
  }

  /**
   * Between the steps of something that can be undone.
   * @throws HawserError `INTERRUPTED`
   */
  check(): void {
    if (this.#requested)
      throw new HawserError("INTERRUPTED", "stopped by a signal before it finished; nothing was changed", "Run the command again.");
  }
}

let ofThisProcess: StopSignal | undefined;

/** A stop signal fed by the process's signals. */
export function stopOnProcessSignals(): StopSignal {
  const stop = new StopSignal();
  const ask = (): void => {
    if (stop.requested) process.exit(EXIT.interrupted);
    stop.request();
  };
  process.on("SIGINT", ask);
  process.on("SIGTERM", ask);
  stopWithNpm(stop);
  ofThisProcess = stop;
  return stop;
}

/** Often enough that a port is free before somebody types the next command. */
const PARENT_POLL_MS = 250;

/**
 * npx and `npm run` pass no signal on when they are killed: the program they started would live on, unseen, and hold its port. Only there
 * does losing the parent process mean stop: `nohup hawser ... &` from a shell that ends is meant to stay.
 */
function stopWithNpm(stop: StopSignal): void {
  if (process.env["npm_command"] === undefined) return;
  const parent = process.ppid;
  const poll = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(poll);
    stop.request();
  }, PARENT_POLL_MS);
  poll.unref();
}

/** The stop signal of this process, once `stopOnProcessSignals` made it; before that, a signal ends the process directly. */
export function processStop(): StopSignal | undefined {
  return ofThisProcess;
}
