/** How long the broker took to answer honest devices, by what was going on. */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Attack } from "./plans.js";

export class Latencies {
  phase: Attack | "quiet" | "start" = "start";
  readonly #ms = new Map<string, number[]>();
  #flowing: () => void = () => undefined;
  readonly #isFlowing = new Promise<void>((resolve) => (this.#flowing = resolve));

  constructor({ stdout }: ChildProcess) {
    if (stdout === null) throw new Error("no output");
    createInterface({ input: stdout }).on("line", (text) => {
      this.#ms.set(this.phase, [...this.of(this.phase), ...(JSON.parse(text) as number[])]);
      this.#flowing();
    });
  }

  of(phase: string): readonly number[] {
    return this.#ms.get(phase) ?? [];
  }

  flowing(): Promise<void> {
    return this.#isFlowing;
  }
}
