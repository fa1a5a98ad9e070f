/** The events that `hawser monitor --json` prints, with the time at which they came. */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";

export type Line = Readonly<Record<string, unknown>>;

export interface Seen {
  readonly line: Line;
  readonly atMs: number;
}

export class MonitorEvents {
  readonly all: Seen[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(
    { stdout }: ChildProcess,
    private readonly giveUpMs: number,
  ) {
    if (stdout === null) throw new Error("no output");
    createInterface({ input: stdout }).on("line", (text) => {
      this.all.push({ line: JSON.parse(text) as Line, atMs: performance.now() });
      for (const look of this.#waiting) look();
    });
  }

  next(which: (line: Line) => boolean, sinceMs = 0): Promise<Seen> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not seen; the last events: ${JSON.stringify(this.all.slice(-5))}`)), this.giveUpMs);
      const look = (): void => {
        const found = this.all.find(({ line, atMs }) => atMs >= sinceMs && which(line));
        if (found === undefined) return;
        this.#waiting.delete(look);
        clearTimeout(timer);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }
}
