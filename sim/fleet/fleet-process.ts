/** The program of a fleet's processes and threads: plays the part that its first order names. */
import { isMainThread, parentPort } from "node:worker_threads";
import type { AnyAnswer, AnyOrder, WatcherOrder, WorkerOrder } from "./fleet-plan.js";
import { FleetWatcher } from "./fleet-watcher.js";
import { FleetWorker } from "./fleet-worker.js";

interface Part {
  obey(order: AnyOrder): Promise<void>;
}

function tell(answer: AnyAnswer): void {
  if (parentPort) parentPort.postMessage(answer);
  else process.send?.(answer);
}

let part: Part | undefined;

function take(order: AnyOrder): void {
  part ??= (order.kind === "watch" ? new FleetWatcher(tell) : new FleetWorker(tell)) as {
    obey(order: WorkerOrder | WatcherOrder): Promise<void>;
  };
  part
    .obey(order)
    .catch((error: unknown) => tell({ kind: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) }));
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
