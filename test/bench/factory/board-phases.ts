/** Where the time of the boards that passed went, by the lines that a station's ledger has of them. */
import type { LedgerLine, Step } from "../../../host-tools/station/factory/ledger-records.js";

type Mark = Step | `${Step} intended`;

/** From one line of the ledger to another. */
const PHASES: readonly (readonly [name: string, from: Mark, to: Mark])[] = [
  ["key and CSR, on the board", "reserved", "key"],
  ["certificate, from the CA", "issued intended", "issued"],
  ["written to the board", "written intended", "written"],
  ["read back", "written", "read-back"],
  ["mTLS and publish", "read-back", "connected"],
  ["asked of the registry", "connected", "registered"],
];

export interface Phase {
  readonly name: string;
  /** Milliseconds, one a board that went through it without interruption. */
  readonly tookMs: readonly number[];
}

export function boardPhases(ledger: readonly LedgerLine[]): Phase[] {
  const boards = new Map<string, Map<Mark, number>>();
  for (const line of ledger) {
    if (line.event !== "step" && line.event !== "reserved") continue;
    const marks = boards.get(line.id) ?? new Map<Mark, number>();
    boards.set(line.id, marks);
    const mark: Mark = line.event === "reserved" ? "reserved" : line.phase === "intended" ? `${line.step} intended` : line.step;
    marks.set(mark, Date.parse(line.at));
  }
  return PHASES.map(([name, from, to]) => ({
    name,
    tookMs: [...boards.values()].flatMap((marks) => {
      const [begunMs, endedMs] = [marks.get(from), marks.get(to)];
      return begunMs === undefined || endedMs === undefined || endedMs < begunMs ? [] : [endedMs - begunMs];
    }),
  }));
}

/** Sorted; NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
