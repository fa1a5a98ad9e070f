/** Runs a target in a thread of its own, where a hang or a full heap ends nothing else, and tells which input did it. */
import { Worker } from "node:worker_threads";
import { makeInput, readCorpus } from "./inputs.js";
import { BATCH_INPUTS, type FindingKind, type Report, type RunOrder } from "./run.js";
import type { Target } from "./fuzz-target.js";

/** What a worker is given. */
export interface WorkerOrder {
  readonly target: string;
  readonly order: RunOrder;
  /** Shared: holds the number of the input at hand. */
  readonly at: Float64Array;
}

/** An input that takes so much of the processor's time is a hang, milliseconds. */
export const PATIENCE_MS = 20_000;
/** One that waits for something that never comes takes none of it: so many times as long on the clock, then. */
const WAITING_FACTOR = 10;
const LOOK_EVERY_MS = 500;
/** What a thread may have alive, megabytes: no target needs a tenth of it. */
const HEAP_MB = 512;

/** @param program the script that calls `runTarget` in a worker */
export function runWatched(program: string, target: Target, order: RunOrder, patienceMs = PATIENCE_MS): Promise<Report> {
  const at = new Float64Array(new SharedArrayBuffer(8));
  at[0] = -1;
  const workerData: WorkerOrder = { target: target.name, order, at };
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const worker = new Worker(program, { workerData, resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } });
    const fail = (kind: FindingKind, what: string): void => {
      clearInterval(looking);
      void worker.terminate();
      const number = at[0] ?? 0;
      const input = makeInput(target, readCorpus(target.name), order.seed, number);
      const inputs = number - order.first;
      const finding = { target: target.name, kind, number, input, what, signature: kind };
      resolve({
        target: target.name,
        inputs,
        elapsedMs: performance.now() - began,
        outcomes: new Map(),
        growthBytes: 0,
        findings: [finding],
      });
    };
    let last = -1;
    let [busySinceMs, sinceMs] = [0, 0];
    const looking = setInterval(() => {
      const number = at[0] ?? -1;
      const [busyMs, nowMs] = [processorMs(), performance.now()];
      if (number !== last || number < 0) [last, busySinceMs, sinceMs] = [number, busyMs, nowMs];
      else if (busyMs - busySinceMs > patienceMs || nowMs - sinceMs > WAITING_FACTOR * patienceMs)
        fail("hang", `not done after ${Math.round(nowMs - sinceMs)} ms`);
    }, LOOK_EVERY_MS);
    worker.on("message", (report: Report) => {
      clearInterval(looking);
      resolve(report);
    });
    worker.on("error", (error: Error & { code?: string }) => {
      if (error.code === "ERR_WORKER_OUT_OF_MEMORY") return fail("memory", `more than ${HEAP_MB} MB of heap`);
      // Thrown by a callback, where nobody could catch it; once inputs have begun it is the doing of one of them.
      if ((at[0] ?? -1) >= 0)
        return fail("exception", `by a callback of this input or of one of the ${BATCH_INPUTS} before: ${error.stack ?? error.message}`);
      clearInterval(looking);
      reject(error);
    });
  });
}

/** Of this process, whose other threads wait. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
