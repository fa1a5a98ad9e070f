/** Tells whoever runs a CA what its changes did to broker configurations. */
import type { OutputResult } from "./broker-sync.js";

/** For programs that did not ask to be told: never silent. */
export function warnOfOutput({ problem }: OutputResult): void {
  if (problem !== undefined) process.emitWarning(`${problem.message}. ${problem.nextStep}`, { type: "HawserWarning", code: problem.code });
}

/** What the last change did to the broker configurations. */
export class OutputResults {
  last: readonly OutputResult[] = [];
  readonly #troubled = new Set<string>();

  constructor(private readonly onOutput: (result: OutputResult) => void) {}

  set(results: readonly OutputResult[]): void {
    this.last = results;
    for (const result of results) {
      // The end of a problem is news too.
      if (result.changed.length > 0 || result.problem !== undefined || this.#troubled.delete(result.directory)) this.onOutput(result);
      if (result.problem !== undefined) this.#troubled.add(result.directory);
    }
  }
}
