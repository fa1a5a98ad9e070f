/** A bound on everything the demo waits for: a step that does not happen ends it with an error instead of a silence. */
import { HawserError } from "../../../sdk/errors.js";

const LIMIT_MS = 20_000;

/** @throws HawserError `DEMO_STEP_FAILED` when `outcome` takes longer than the limit */
export async function within<T>(outcome: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(stepFailed(`${what} did not happen within ${LIMIT_MS / 1_000} s`)), LIMIT_MS);
  });
  return Promise.race([outcome, limit]).finally(() => clearTimeout(timer));
}

export function stepFailed(what: string): HawserError {
  return new HawserError("DEMO_STEP_FAILED", what, "Run it again with HAWSER_DEBUG=1. If it fails twice, report the output.");
}

/** @throws HawserError `DEMO_STEP_FAILED` */
export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw stepFailed(`it is not true that ${what}`);
}
