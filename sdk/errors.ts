import type { ErrorCode } from "./error-codes.js";

/**
 * The one error type that leaves the SDK, the tools and the simulator: a stable code for programs, a sentence for people, the next step
 * for whoever has to act.
 */
export class HawserError extends Error {
  // A field, not an assignment: XS freezes Error.prototype, and `this.name = ...` would throw there.
  override readonly name: string = "HawserError";

  /**
   * @param code stable, upper case, for programs: it never changes its meaning
   * @param message what happened and where, one line, no secrets
   * @param nextStep what the user can do about it, one line
   */
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly nextStep: string = "",
  ) {
    super(message);
  }
}

/** The code of any thrown value: a `HawserError`'s own, else `INTERNAL`. */
export function errorCode(error: unknown): ErrorCode {
  return error instanceof HawserError ? error.code : "INTERNAL";
}

/** The message of any thrown value. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
