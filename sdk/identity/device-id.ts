/** The one rule for names that become certificate subjects, topic levels, PSK identities and broker user names. */
import { HawserError } from "../errors.js";

/** X.509's upper bound for a common name (RFC 5280, ub-common-name). */
const MAX_ID_LENGTH = 64;

const VALID_ID = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** In no id: what follows it tells the sessions of one name apart. */
const RECOVERY_SUFFIX = "~recovery";

/**
 * The PSK identity of a device, and the MQTT client id of its session over PSK. It differs from the id, so that a broker that uses the
 * identity as client id keeps the session over mutual TLS, and what waits in it, apart.
 */
export function recoveryIdentity(id: string): string {
  return `${id}${RECOVERY_SUFFIX}`;
}

/** The name behind a PSK identity: devices provisioned by earlier versions show the plain id. */
export function nameOfPskIdentity(identity: string): string {
  return identity.endsWith(RECOVERY_SUFFIX) ? identity.slice(0, -RECOVERY_SUFFIX.length) : identity;
}

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
    throw new HawserError("INVALID_ID", `the id has ${id.length} characters; at most ${MAX_ID_LENGTH} are allowed`, "Choose a shorter id.");
  }
  throw new HawserError(
    "INVALID_ID",
    `the id ${JSON.stringify(id)} cannot be a topic level and certificate name`,
    "Use letters, digits, '.', '_' and '-', starting with a letter or digit.",
  );
}
