/** The program of a fleet's processes and threads: plays the part that its first order names. */
import { isMainThread, parentPort } from "node:worker_threads";
import { HawserError } from "../../sdk/errors.js";
import type { AnyAnswer, AnyOrder, Failed, WatcherOrder, WorkerOrder } from "./fleet-plan.js";
import { FleetWatcher } from "./fleet-watcher.js";
import { FleetWorker } from "./fleet-worker.js";

interface Part {
  obey(order: AnyOrder): Promise<void>;
}

function tell(answer: AnyAnswer): void {
  if (parentPort) parentPort.postMessage(answer);
  else process.send?.(answer);
}

function failure(error: unknown): Failed {
  if (error instanceof HawserError) return { kind: "failed", message: error.message, code: error.code, nextStep: error.nextStep };
  return { kind: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

let part: Part | undefined;

function take(order: AnyOrder): void {
  part ??= (order.kind === "watch" ? new FleetWatcher(tell) : new FleetWorker(tell)) as {
    obey(order: WorkerOrder | WatcherOrder): Promise<void>;
  };
  part.obey(order).catch((error: unknown) => tell(failure(error)));
}

if (isMainThread) {
  process.on("message", take);
  // The coordinator is gone, whatever ended it: no orphans.
  process.once("disconnect", () => process.exit());
  // It tells its workers itself when to stop; a Ctrl-C reaches the whole process group.
  process.on("SIGINT", () => undefined);
} else {
  parentPort?.on("message", take);
}
