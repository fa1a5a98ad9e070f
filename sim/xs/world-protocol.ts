/** What the world program on XS and whoever runs it say to each other: one JSON object a line, one world after the other. */
import type { WorldResult } from "../virtual/world/world.js";

/** One world to play. */
export interface WorldRequest {
  seed: string;
  devices: number;
  days: number;
  /** Names of kinds of faults. */
  faults: readonly string[];
  backOnlineBoundMs?: number;
}

/** Lines of the event log in order, then how it ended. */
export type WorldOutput = { line: string } | { result: WorldResult };
