/** What the two plain clients are asked to do, and how they tell of it. */
import * as host from "../../../sim/xs/host-natives.js";

export interface PlainTask {
  port: number;
  /** Messages of QoS 1, each sent when the one before is acknowledged. */
  count: number;
  payloadBytes: number;
}

/** `empty`: before the client is made; `subscribed`: connected, one subscription granted; `published`: all messages acknowledged. */
export type Stage = "empty" | "subscribed" | "published";

export type StageFigures = host.HeapFigures & { at: Stage; meter: number };

export function sayFigures(at: Stage): void {
  host.collectGarbage();
  host.print(JSON.stringify({ at, ...host.heapFigures(), meter: host.meter() }));
}
