/** What a revocation came to at the brokers. */
import { HawserError } from "../../sdk/errors.js";
import type { OutputResult } from "./broker-sync.js";
import type { Revoked } from "./revocation.js";

export interface RevokeOutcome extends Revoked {
  /** What happened at each configured broker. One with a problem may still serve the name. */
  readonly brokers: readonly OutputResult[];
}

/** The name is revoked, but at a configured broker something could not be proved: it may still be served there. */
export class RevocationUnproved extends HawserError {
  constructor(readonly outcome: RevokeOutcome) {
    const { directory, problem } = outcome.brokers.find(isUnproved) ?? {};
    super(
      "OUTPUT_FAILED",
      `${outcome.id} is revoked, but that it is shut out is not proved at the broker in ${directory ?? ""}: ${problem?.message ?? ""}`,
      problem?.nextStep,
    );
  }
}

export function isUnproved({ problem }: OutputResult): boolean {
  return problem !== undefined && problem.code !== "OUTPUT_GONE";
}
