/** Ends every connection of a user at a RabbitMQ, and looks whether one came back. */
import { endSessionsByApi } from "../session-ending-by-api.js";
import type { ManagementApi } from "./management-api.js";

/**
 * @param reason what the broker's log says of it
 * @returns how many connections were ended
 * @throws HawserError `MANAGEMENT_FAILED`; `SESSIONS_NOT_ENDED` when the user connects again and again
 */
export function endRabbitmqSessions(api: ManagementApi, users: readonly string[], reason: string, lookMs?: number): Promise<number> {
  const sessions = {
    list: async () => (await Promise.all(users.map((user) => api.connectionsOf(user)))).flat().map(({ name }) => name),
    end: (connection: string) => api.close(connection, reason),
    next: "Check that RabbitMQ has the new revocation list, or asks `hawser policy serve`, then run the command again.",
  };
  return endSessionsByApi(users[0] ?? "", sessions, lookMs);
}
