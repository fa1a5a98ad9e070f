/**
 * A thread that looks after its process's main thread: when that one stands still, it is stopped for a moment and asked whose code it runs.
 */
import { Session } from "node:inspector";
import { parentPort, workerData } from "node:worker_threads";

export interface StallFrame {
  readonly functionName: string;
  readonly url: string;
  /** From 1. */
  readonly line: number;
  /** From 0. */
  readonly column: number;
}

export interface StallReport {
  readonly id: string | undefined;
  readonly frames: readonly StallFrame[];
  readonly tookMs: number;
}

const LOOK_EVERY_MS = 100;
/** Standing still for so long is a stall. */
const STALL_MS = 1_000;
/** It is asked again after this, so that a machine without time is not taken for a program that blocks. */
const CONFIRM_MS = 300;

interface Findings {
  id: string | undefined;
  frames: StallFrame[];
}

const { beats, running } = workerData as { beats: Int32Array; running: string };

let [lastBeat, sinceMs, askedAtMs] = [0, performance.now(), 0];
let found: Findings[] = [];

/** Connected only as long as the answer takes: a debugger that stays makes code slow, and holds a process up that ends. */
function ask(): void {
  const session = new Session();
  const urls = new Map<string, string>();
  session.connectToMainThread();
  session.on("Debugger.scriptParsed", ({ params }) => void urls.set(params.scriptId, params.url));
  session.on("Debugger.paused", ({ params: { callFrames } }) => {
    session.post(
      "Debugger.evaluateOnCallFrame",
      { callFrameId: callFrames[0]?.callFrameId ?? "", expression: `globalThis.${running}?.()`, returnByValue: true },
      (_error, answer) => {
        const id: unknown = answer?.result.value;
        const frames = callFrames.map(({ functionName, location }) => ({
          functionName,
          url: urls.get(location.scriptId) ?? "",
          line: location.lineNumber + 1,
          column: location.columnNumber ?? 0,
        }));
        found.push({ id: typeof id === "string" ? id : undefined, frames });
        session.post("Debugger.resume", () => session.disconnect());
      },
    );
  });
  session.post("Debugger.enable");
  session.post("Debugger.pause");
}

setInterval(() => {
  const beat = Atomics.load(beats, 0);
  const nowMs = performance.now();
  if (beat !== lastBeat) {
    const first = found[0];
    if (found.length > 1 && first !== undefined)
      parentPort?.postMessage({ ...first, tookMs: Math.round(nowMs - sinceMs) } satisfies StallReport);
    [lastBeat, sinceMs, askedAtMs, found] = [beat, nowMs, 0, []];
  } else if (nowMs - sinceMs > STALL_MS && found.length < 2 && nowMs - askedAtMs > CONFIRM_MS) {
    askedAtMs = nowMs;
    ask();
  }
}, LOOK_EVERY_MS);
