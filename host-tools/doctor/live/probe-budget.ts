/** What a live examination may cost the broker: said before it begins, and kept. */
import { HawserError } from "../../../sdk/errors.js";

export class ProbeBudget {
  #connections = 0;
  #bytes = 0;

  constructor(
    readonly maxConnections: number,
    readonly maxBytes: number,
  ) {}

  /** @throws HawserError `BUDGET_SPENT` */
  connection(): void {
    this.#connections += 1;
    if (this.#connections > this.maxConnections)
      throw new HawserError(
        "BUDGET_SPENT",
        `the examination needs more than the ${this.maxConnections} connections it promised`,
        "Report this as a bug in the doctor.",
      );
  }

  /** @throws HawserError `BUDGET_SPENT` */
  sent(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.maxBytes)
      throw new HawserError(
        "BUDGET_SPENT",
        `the examination would send more than the ${this.maxBytes} bytes it promised`,
        "Report this as a bug in the doctor.",
      );
  }

  get used(): { readonly connections: number; readonly bytes: number } {
    return { connections: this.#connections, bytes: this.#bytes };
  }
}
