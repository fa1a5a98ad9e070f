/** Ends every connection of a user at a RabbitMQ, and looks whether one came back. */
import { setTimeout as delay } from "node:timers/promises";
import { HawserError } from "../../../sdk/errors.js";
import type { ManagementApi } from "./management-api.js";

/** RabbitMQ lists a new connection up to five seconds late, and a device that is still let in is back within a second or two. */
const QUIET_LOOKS = 3;
const LOOK_MS = 2000;
/** Who came back this often is let in. */
const MOST_RETURNS = 3;

/**
 * @param reason what the broker's log says of it
 * @returns how many connections were ended
 * @throws HawserError `MANAGEMENT_FAILED`; `SESSIONS_NOT_ENDED` when the user connects again and again
 */
export async function endRabbitmqSessions(api: ManagementApi, users: readonly string[], reason: string, lookMs = LOOK_MS): Promise<number> {
  let ended = 0;
  for (let [quiet, returns] = [0, 0]; quiet < QUIET_LOOKS; quiet += 1) {
    const found = (await Promise.all(users.map((user) => api.connectionsOf(user)))).flat();
    if (found.length > 0) {
      returns += ended > 0 ? 1 : 0;
      if (returns === MOST_RETURNS)
        throw new HawserError(
          "SESSIONS_NOT_ENDED",
          `${users[0] ?? ""} was thrown out ${ended} times and is connected again: the broker still lets it in`,
          "Check that RabbitMQ has the new revocation list, or asks `hawser policy serve`, then run the command again.",
        );
      for (const { name } of found) await api.close(name, reason);
      ended += found.length;
      quiet = -1;
    }
    await delay(lookMs);
  }
  return ended;
}
