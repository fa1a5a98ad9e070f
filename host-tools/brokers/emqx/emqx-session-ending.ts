/** Shuts a name out at an EMQX: bans its user names, ends all their sessions, and looks whether one came back. */
import { endSessionsByApi } from "../session-ending-by-api.js";
import type { EmqxApi } from "./emqx-api.js";

export interface EmqxShutOut {
  readonly users: readonly string[];
  /** Those of them that may not come back. */
  readonly banned: readonly string[];
  readonly reason: string;
}

/**
 * The ban comes first, so that nobody gets back in while sessions end.
 * @returns how many sessions were ended
 * @throws HawserError `MANAGEMENT_FAILED`; `SESSIONS_NOT_ENDED` when the name connects again and again
 */
export async function shutOutAtEmqx(api: EmqxApi, { users, banned, reason }: EmqxShutOut, lookMs?: number): Promise<number> {
  for (const user of banned) await api.ban(user, reason);
  const sessions = {
    list: async () => (await Promise.all(users.map((user) => api.clientIdsOf(user)))).flat(),
    end: (clientId: string) => api.kick(clientId),
    next: "Check that the name connects to this EMQX, and that it has the new revocation list, then run the command again.",
  };
  return endSessionsByApi(users[0] ?? "", sessions, lookMs);
}
