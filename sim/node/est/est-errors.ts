/** What an EST server does that leads to no certificate, as errors with the next step. */
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import type { ErrorCode } from "../../../sdk/error-codes.js";

/** An answer that is none of EST's. @param cause what the reader objected to */
export function badAnswer(what: string, cause?: unknown): HawserError {
  const why = cause === undefined ? "" : `: ${errorMessage(cause)}`;
  return new HawserError(
    "EST_ANSWER_INVALID",
    `the EST server's answer ${what}${why}`,
    "Check the URL, and that an EST server answers there.",
  );
}

/** A refusal that may end by itself. */
export class EstRefusal extends HawserError {
  /** @param retryAfterSeconds what the server asks to wait before the next try, if it says so */
  constructor(
    code: Extract<ErrorCode, "EST_PENDING" | "EST_REFUSED">,
    message: string,
    nextStep: string,
    readonly retryAfterSeconds: number | undefined,
  ) {
    super(code, message, nextStep);
  }
}
