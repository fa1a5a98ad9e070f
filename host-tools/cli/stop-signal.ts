/** SIGINT and SIGTERM as one request to stop in an orderly way; the second one of them ends the process at once. */
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
    if (this.#requested) throw new HawserError("INTERRUPTED", "stopped by a signal before the work was done; nothing was changed", "Run the command again.");
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
  ofThisProcess = stop;
  return stop;
}

/** What `stopOnProcessSignals` made; until then signals end the process by themselves. One for all, as the signals and the terminal they come from are. */
export function processStop(): StopSignal | undefined {
  return ofThisProcess;
}
