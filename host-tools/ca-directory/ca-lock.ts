/** One at a time in a CA directory, among the processes of this machine. */
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { lockWithin } from "../../sim/node/files/process-lock.js";
import { FILES } from "./directory-layout.js";

/** How long a change waits for another process to finish its own. */
const LOCK_WAIT_MS = 60_000;

/** Throws `CA_BUSY`. */
export async function locked<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const lock = await lockWithin(join(directory, FILES.lock), LOCK_WAIT_MS, (pid) => busy(directory, pid));
  try {
    return await work();
  } finally {
    lock.release();
  }
}

function busy(directory: string, pid: number | undefined): HawserError {
  return new HawserError(
    "CA_BUSY",
    `another process${pid === undefined ? "" : ` (${pid})`} is changing the CA in ${directory}`,
    "Try again when that process has finished.",
  );
}
