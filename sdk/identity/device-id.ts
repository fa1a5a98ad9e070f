/** The one rule for names that become certificate subjects, topic levels, PSK identities and broker user names. */
import { HawserError } from "../errors.js";

/** X.509's upper bound for a common name (RFC 5280, ub-common-name). */
const MAX_ID_LENGTH = 64;

const VALID_ID = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** Whether `id` may name a device or another client. */
export function isId(id: string): boolean {
  return id.length <= MAX_ID_LENGTH && VALID_ID.test(id);
}

/**
 * Returns `id` when it may name a device or another client.
 * @throws HawserError `INVALID_ID`
 */
export function checkId(id: string): string {
  if (isId(id)) return id;
  if (id.length > MAX_ID_LENGTH) {
    throw new HawserError("INVALID_ID", `the id is ${id.length} characters long, at most ${MAX_ID_LENGTH} are possible`, "Choose a shorter id.");
  }
  throw new HawserError("INVALID_ID", `the id ${JSON.stringify(id)} is not usable as a topic level and certificate name`, "Use letters, digits, '.', '_' and '-', beginning with a letter or digit.");
}
