/** Ends every session of a name by a broker's management API, and looks whether one comes back. */
import { setTimeout as delay } from "node:timers/promises";
import { HawserError } from "../../sdk/errors.js";

/** A broker may list a new connection up to five seconds late, and a device that is still let in is back within a second or two. */
const QUIET_LOOKS = 3;
const LOOK_MS = 2000;
/** Who came back this often is let in. */
const MOST_RETURNS = 3;

export interface SessionsAt {
  /** What sessions there are now, each by the broker's name of it. */
  list(): Promise<readonly string[]>;
  /** Succeeds where it has ended already. */
  end(session: string): Promise<void>;
  /** What to check when they come back. */
  readonly next: string;
}

/**
 * @returns how many sessions were ended
 * @throws HawserError `SESSIONS_NOT_ENDED` when the name connects again and again; as `list` and `end`
 */
export async function endSessionsByApi(name: string, { list, end, next }: SessionsAt, lookMs = LOOK_MS): Promise<number> {
  let ended = 0;
  for (let [quiet, returns] = [0, 0]; quiet < QUIET_LOOKS; quiet += 1) {
    const found = await list();
    if (found.length > 0) {
      returns += ended > 0 ? 1 : 0;
      if (returns === MOST_RETURNS)
        throw new HawserError(
          "SESSIONS_NOT_ENDED",
          `${name} was thrown out ${ended} times and is connected again: the broker still lets it in`,
          next,
        );
      for (const session of found) await end(session);
      ended += found.length;
      quiet = -1;
    }
    await delay(lookMs);
  }
  return ended;
}
